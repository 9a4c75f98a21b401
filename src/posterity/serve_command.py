"""The command `posterity serve`: a page and an endpoint that label images with a trained model."""

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from posterity.errors import UserError
from posterity.serving.hosts import is_loopback
from posterity.serving.limits import MEGABYTE, Limits
from posterity.text import printable

PACKAGES = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart",
            "prometheus_client": "prometheus-client"}  # fmt: skip
DEFAULT = Limits()
EPILOG = """\
examples:
  posterity serve
  posterity serve --port 0 --model elsewhere/model.keras
  curl -F images=@a.jpg -F images=@b.png http://127.0.0.1:8000/predict
  curl -H 'Content-Type: image/jpeg' --data-binary @a.jpg http://127.0.0.1:8000/predict

  GET /              a page on which images are dropped, chosen or pasted
  POST /predict      labels and probabilities of one or many images
  POST /explain      an image and a label: a picture of what speaks for it
  GET /model         labels, thresholds, what images are read, digest of the model file
  GET /healthz       200 as soon as the model is loaded
  GET /metrics       figures for Prometheus
  GET /openapi.json  all of this for programs

There is no password: whoever reaches the address may send images. By default that is this machine alone. To serve
others, put a server before it that checks who they are and encrypts (nginx, Caddy), and give its name by --allow-host.

SIGTERM and Ctrl+C finish what has been accepted and end with exit code 0; a second one ends at once.
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser of `posterity`."""
    command = commands.add_parser(
        "serve",
        help="serve a page and an endpoint that label images",
        description="Serve a page and an endpoint that label images with a trained model. It needs the extra serve: "
        "pip install -c requirements.lock -e '.[serve]'",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    command.add_argument(
        "--port", type=_port, default=8000, help="port; 0 takes a free one and prints it (default: %(default)s)"
    )
    command.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer to this name, too, may be given again; a request for another name than that of this machine is "
        "refused, so that no web page can use its reader's browser to come here",
    )
    command.add_argument("--model", type=Path, default=Path("models/model.keras"), help="model (default: %(default)s)")
    command.add_argument(
        "--engine",
        choices=("auto", "keras", "onnxruntime", "openvino"),
        default="auto",
        help="what runs the network: auto is Keras on a GPU, otherwise ONNX Runtime (default: %(default)s)",
    )
    command.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "int8"),
        default="float32",
        help="as of `posterity predict` (default: %(default)s)",
    )
    command.add_argument(
        "--workers",
        type=_positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="threads that decode images; the network has one more (default: one per core)",
    )
    limits = command.add_argument_group("limits; what is over them is refused with its reason")
    limits.add_argument(
        "--max-request-mb",
        type=_positive,
        default=DEFAULT.request_bytes // MEGABYTE,
        metavar="MB",
        help="longest request (default: %(default)s)",
    )
    limits.add_argument(
        "--max-images", type=_positive, default=DEFAULT.images, metavar="N", help="of a request (default: %(default)s)"
    )
    limits.add_argument(
        "--max-pixels",
        type=_positive,
        metavar="N",
        help="width x height of an image (default: image.max_pixels of the model)",
    )
    limits.add_argument(
        "--queue",
        type=_positive,
        default=DEFAULT.queue,
        metavar="N",
        help="images under way at a time; beyond them the answer is 503, come again (default: %(default)s)",
    )
    limits.add_argument(
        "--read-timeout",
        type=_positive,
        default=round(DEFAULT.read_s),
        metavar="S",
        help="seconds in which a request must have come (default: %(default)s)",
    )
    limits.add_argument(
        "--timeout",
        type=_positive,
        default=round(DEFAULT.answer_s),
        metavar="S",
        help="seconds in which it must be answered (default: %(default)s)",
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run ``posterity serve``."""
    if missing := [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]:
        raise UserError(
            f"posterity serve needs {', '.join(missing)}. Install the extra: pip install -c requirements.lock -e "
            "'.[serve]'"
        )
    limits = _limits(args)

    from posterity.serving import app, server

    with server.bind(args.host, args.port) as taken:
        if not is_loopback(taken.getsockname()[0]):
            print(
                f"WARNING: {printable(args.host)} can be reached from other machines, and there is no password: "
                "whoever reaches it may send images. Leave out --host to serve this machine alone.",
                file=sys.stderr,
            )

        from posterity.serving.loaded import LoadedModel

        model = LoadedModel(args.model, engine=args.engine, precision=args.precision)
        guarded, service = app.create(model, limits, bound=args.host, names=args.allow_host, workers=args.workers)
        ready = f"Serving {printable(args.model)} at {server.address_of(taken)} (Ctrl+C stops it)"
        server.Server(guarded, limits, ready=lambda: print(ready, file=sys.stderr, flush=True)).run([taken])
        service.close()


def _limits(args: argparse.Namespace) -> Limits:
    if args.queue < args.max_images:
        raise UserError(
            f"--queue must be at least --max-images, or a full request is never taken. Got --queue {args.queue} "
            f"--max-images {args.max_images}. Raise the one or lower the other."
        )
    request_bytes = args.max_request_mb * MEGABYTE
    return Limits(
        request_bytes=request_bytes,
        held_bytes=max(DEFAULT.held_bytes, 2 * request_bytes),
        images=args.max_images,
        pixels=args.max_pixels,
        queue=args.queue,
        read_s=args.read_timeout,
        answer_s=args.timeout,
    )


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text}")
    return int(text)

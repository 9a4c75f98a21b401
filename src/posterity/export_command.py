"""The command `posterity export`: a trained model as a file for another runtime, checked against Keras."""

import argparse
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING

from posterity import __version__, files, model_card, model_decisions
from posterity.errors import UserError
from posterity.exporting.formats import FORMATS, MAX_LOSS
from posterity.nn.inference.export_card import PRECISIONS
from posterity.text import printable, shell_word

if TYPE_CHECKING:
    from posterity.exporting.images import Examples
    from posterity.model_card import ModelCard

EPILOG = """\
formats:
  onnx        model.onnx, for ONNX Runtime and many others        precisions float32, int8
  openvino    model.xml and model.bin, for CPUs of Intel          precisions float32, bf16, int8
  litert      model.tflite, for phones and small devices          precisions float32, int8
  savedmodel  a folder for TensorFlow and TensorFlow Serving      precision float32

examples:
  posterity export onnx
  posterity export openvino --precision int8 --output exports/small
  posterity predict --model exports/onnx poster.jpg

The export is loaded by its own runtime and compared with Keras on images of the validation side. If a probability
differs by more than 0.0001, or a decision for no reason, nothing is written.
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser of `posterity`."""
    command = commands.add_parser(
        "export",
        help="write a trained model as ONNX, OpenVINO, LiteRT or SavedModel",
        description="Write a trained model as a file for another runtime: uint8 images in, calibrated probabilities "
        "and decisions out, with labels.json and a README.md beside it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("format", choices=FORMATS, metavar="FORMAT", help="one of those below")
    command.add_argument("--model", type=Path, default=Path("models/model.keras"), help="model (default: %(default)s)")
    command.add_argument("--output", type=Path, metavar="FOLDER", help="folder to write (default: exports/FORMAT)")
    command.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of the arithmetic; a lower one is compared by its figures on the validation side (default: %(default)s)",
    )
    command.add_argument(
        "--max-loss",
        type=_loss,
        default=MAX_LOSS,
        metavar="X",
        help="the most that a lower precision may add to the bce of the validation side (default: %(default)s)",
    )
    command.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        metavar="FOLDER",
        help="folder of the run, with rows, tensors and split.csv (default: %(default)s)",
    )
    command.add_argument(
        "--images", nargs="+", metavar="IMAGE", help="compare on these files and folders, not on the validation side"
    )
    command.add_argument(
        "--benchmark",
        type=_seconds,
        default=2.0,
        metavar="SECONDS",
        help="time for which Keras and the export are each measured; 0 for not at all (default: %(default)s)",
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run ``posterity export``."""
    able = FORMATS[args.format].precisions
    if args.precision not in able:
        others = " or ".join(name for name, form in FORMATS.items() if args.precision in form.precisions)
        raise UserError(
            f"--precision {args.precision}: expected {' or '.join(able)}, which {args.format} has. Choose one of "
            f"these, or the format {others}."
        )
    output = args.output or Path("exports", args.format)
    with model_card.opened(args.model, or_served=True) as opened:
        decisions = model_decisions.of_card(opened.path, opened.card)

        from posterity.exporting import images
        from posterity.nn import device
        from posterity.nn.inference import runtimes

        runtimes.check_installed(args.format)
        files.check_replaceable(output, FORMATS[args.format].files)
        runtimes.check_cpu(f"--precision {args.precision}", args.format, args.precision)
        examples = _examples(args, opened.card)
        opened.stream.seek(0)
        digest = hashlib.file_digest(opened.stream, "sha256").hexdigest()
        data, why = images.data_digest(args.data, args.model)
        if why:
            print(f"The digest of the data is left out: {why}.", flush=True)
        if (backend := device.load_backend()) != "tensorflow":
            raise UserError(f"KERAS_BACKEND is {backend!r}: an export needs tensorflow. Unset it for this command.")

        from posterity.exporting.making import ExportOptions, make
        from posterity.nn.inference import network
        from posterity.nn.inference.export_card import ExportCard

        model = network.load(opened)
    card = ExportCard(opened.card, args.format, args.precision, __version__, digest, data)
    options = ExportOptions(args.max_loss, args.benchmark)
    make(output, model, decisions, card, examples, options)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    print(
        f"Written to {printable(output)} ({size / 1e6:.1f} MB). Next: `posterity predict --model {shell_word(output)} "
        "IMAGE`."
    )


def _examples(args: argparse.Namespace, card: "ModelCard") -> "Examples":
    """The images to compare on; a lower precision needs labels, and so the validation side."""
    from posterity.exporting import images

    if args.images and args.precision == "float32":
        return images.of_files(args.images, card)
    found = images.of_run(args.data, card, images.MOST_COMPARED if args.precision == "float32" else None)
    if not isinstance(found, str):
        return found
    if args.precision != "float32":
        raise UserError(
            f"--precision {args.precision} is judged by its loss on the validation side, and there is none: "
            f"{printable(found)}. Give --data the folder of the run that made the model, or export in float32."
        )
    print(f"The validation side is not compared: {printable(found)}.", flush=True)
    return images.drawn(card)


def _loss(text: str) -> float:
    return _number(text, "a number of at least 0")


def _seconds(text: str) -> float:
    return _number(text, "a number of seconds of at least 0")


def _number(text: str, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text}")
    return value

"""The command `posterity export`: a trained model as a file for another runtime, checked against Keras."""

import argparse
import hashlib
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posterity import __version__, files, model_card, model_decisions, reading
from posterity.errors import UserError
from posterity.exporting.formats import FORMATS, MAX_LOSS, README, TOLERANCE
from posterity.nn.inference.export_card import LABELS, PRECISIONS
from posterity.text import printable, shell_word

if TYPE_CHECKING:
    from posterity.evaluation.decisions import Decisions
    from posterity.exporting.images import Examples
    from posterity.model_card import ModelCard
    from posterity.nn.inference.export_card import ExportCard
    from posterity.nn.inference.runtimes import ExportedModel

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
        from posterity.nn.inference import precision, runtimes

        runtimes.check_installed(args.format)
        files.check_replaceable(output, FORMATS[args.format].files)
        if args.precision != "float32" and args.format != "litert":
            precision.check_cpu("bfloat16" if args.precision == "bf16" else "int8", precision.cpu_flags())
        examples = _examples(args, opened.card)
        opened.stream.seek(0)
        digest = hashlib.file_digest(opened.stream, "sha256").hexdigest()
        data, why = images.data_digest(args.data, args.model)
        if why:
            print(f"The digest of the data is left out: {why}.", flush=True)
        device.load_backend()

        from posterity.nn.inference import network
        from posterity.nn.inference.export_card import ExportCard

        model = network.load(opened)
    card = ExportCard(opened.card, args.format, args.precision, __version__, digest, data)
    _export(args, output, model, decisions, card, examples)


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


def _export(
    args: argparse.Namespace,
    output: Path,
    model: Any,
    decisions: "Decisions",
    card: "ExportCard",
    examples: "Examples",
) -> None:
    """Write, load and compare the export; it appears at ``output`` if it is right."""
    from posterity.exporting import readme
    from posterity.nn.inference import engines, runtimes

    form = FORMATS[args.format]
    by_keras = engines.batch_function(model, "keras", examples.images[:1], announce=False)
    with files.replacing_folder(output, form.files) as folder:
        folder.mkdir()
        print(f"Exporting {printable(args.model)} as {args.format} in {args.precision} ...", flush=True)
        try:
            form.write(folder, model, decisions, card)
        except UserError:
            raise
        except Exception as error:  # converters raise what they like
            raise UserError(
                f"{printable(args.model)}: this network cannot be exported as {args.format}: {type(error).__name__}: "
                f"{printable(reading.one_line(error))}. Try another format."
            ) from None
        (folder / LABELS).write_text(card.to_json(), encoding="utf-8")
        exported = runtimes.opened(folder)
        outcome = _compared(args, exported, decisions, by_keras, examples)
        (folder / README).write_text(readme.text(card, outcome), encoding="utf-8")
        if args.benchmark:
            _benchmark(args, exported, by_keras, examples)
        del exported  # it may hold the files open
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    print(
        f"Written to {printable(output)} ({size / 1e6:.1f} MB). Next: `posterity predict --model {shell_word(output)} "
        "IMAGE`."
    )


def _compared(
    args: argparse.Namespace, exported: "ExportedModel", decisions: "Decisions", by_keras: Any, examples: "Examples"
) -> str:
    """Compare with Keras, say how far they are apart, and return that; a `UserError` if it is too far."""
    import numpy as np
    from tqdm import tqdm

    from posterity.exporting import comparison
    from posterity.nn.inference import runtimes

    parts = [examples.images[k : k + 64] for k in range(0, len(examples.images), 64)]
    scores, found = [], []
    for part in tqdm(parts, "compare", mininterval=1, delay=2):
        scores.append(by_keras(part).clip(0, 1))
        found.append(exported.run(part))
    raw = np.concatenate(scores)
    probabilities, decided = (np.concatenate(column) for column in zip(*found, strict=True))
    agreed = comparison.agreement(decisions, raw, probabilities, decided)
    runtime = runtimes.NAMES[args.format]
    said = (
        f"{runtime} beside Keras on {examples.source}: the largest difference of a probability is "
        f"{agreed.largest:.1e}; {agreed.changed:,} of {agreed.cells:,} decisions differ"
    )
    if agreed.at_steps:
        said += (
            f"; {agreed.at_steps:,} probabilities lie at a step of their isotonic curve, where equal scores round to "
            "either side"
        )
    print(f"{said}.", flush=True)
    if args.precision == "float32":
        if not agreed.largest <= TOLERANCE or agreed.unexplained:
            raise UserError(
                f"{printable(args.model)}: expected {runtime} to agree with Keras to {TOLERANCE:g}, and in "
                f"every decision that is not that near to its threshold. Got {agreed.largest:.1e} and "
                f"{agreed.unexplained:,} such decisions. Nothing is written; try another format."
            )
        return f"{said}."
    assert examples.targets is not None
    before = comparison.loss(examples.targets, decisions.apply(raw)[0])
    after = comparison.loss(examples.targets, probabilities)
    change = after.bce - before.bce
    figures = f"bce {before.bce:.4f} -> {after.bce:.4f} ({change:+.4f})"
    if before.map_macro is not None and after.map_macro is not None:
        moved = after.map_macro - before.map_macro
        figures += f", map_macro {before.map_macro:.4f} -> {after.map_macro:.4f} ({moved:+.4f})"
    figures = f"With {args.precision}, on calibrated probabilities: {figures}."
    print(figures, flush=True)
    if not change <= args.max_loss:
        raise UserError(
            f"--precision {args.precision} adds {change:.4f} to the bce of the validation side; at most "
            f"{args.max_loss:g} are allowed (--max-loss). Nothing is written; raise it, or export in float32."
        )
    return f"{said}. {figures}"


def _benchmark(args: argparse.Namespace, exported: "ExportedModel", by_keras: Any, examples: "Examples") -> None:
    from posterity.exporting import speed
    from posterity.nn.inference import runtimes

    print(f"Measuring for about {2 * args.benchmark:g} s ...", file=sys.stderr, flush=True)
    name = runtimes.NAMES[args.format]
    found = speed.images_per_second({"Keras": by_keras, name: exported.run}, examples.images, args.benchmark)
    ratio = found[name] / found["Keras"]
    print(
        f"Images per second of the network alone: {name} {found[name]:,.0f}, Keras {found['Keras']:,.0f} "
        f"({ratio:.2f} times).",
        flush=True,
    )


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

"""The command `posterity`."""

import argparse
import contextlib
import errno
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from posterity import (
    __version__,
    check_command,
    errors,
    export_command,
    fetch_command,
    files,
    import_command,
    init_command,
    noise_command,
    predictions,
    script,
    search_command,
    serve_command,
    show_command,
    verify_command,
)
from posterity.config.stage_arguments import Parser
from posterity.text import printable

EPILOG = """\
examples:
  posterity predict poster.jpg other.png folder/
  posterity predict 'new/*.jpg' --top-k 5 --threshold 0.2
  posterity predict folder/ --format csv --output predictions.csv

In the table, the labels before the bar are those that the model decides on, those after it the next likeliest. A
folder stands for all images in it and below it. An input that cannot be read is shown with its error, the others are
predicted all the same, and the exit code is 1.
"""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser: argparse.ArgumentParser = Parser(prog="posterity", description="Multi-label image classification.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser(
        "predict",
        help="label images with a trained model",
        description="Label images with a trained model. The model knows its labels and how to prepare an image.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("images", nargs="+", metavar="IMAGE", help="image file, folder or quoted pattern")
    command.add_argument(
        "--engine",
        choices=("auto", "keras", "onnxruntime", "openvino"),
        default="auto",
        help="what runs the network: auto is Keras for a few images and on a GPU, otherwise ONNX Runtime, which takes "
        "seconds to start and then less time an image; the sixth digit may differ (default: %(default)s)",
    )
    command.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "int8"),
        default="float32",
        help="int8 computes many images at twice the speed and more, on CPUs with AVX512_VNNI or AVX_VNNI, and takes "
        "some 20 s to start; bfloat16 is for CPUs that have it, by OpenVINO; the second or third digit may differ "
        "(default: %(default)s)",
    )
    add_output_arguments(command)
    command.add_argument(
        "--excel-safe",
        action="store_true",
        help="csv: put an apostrophe before every text that a spreadsheet would run as a formula (one that begins, "
        "after blanks, with = + - or @, or with a tab or line end) or that begins with an apostrophe; the "
        "probabilities stay numbers",
    )
    command.set_defaults(run=predict)

    for module in (
        show_command,
        export_command,
        serve_command,
        init_command,
        import_command,
        verify_command,
        noise_command,
        search_command,
        fetch_command,
        check_command,
    ):
        module.add_parser(commands)

    command = commands.add_parser(
        "use",
        help="merge a recipe into params.yaml",
        description="Merge a recipe, a small file with some of the keys of params.yaml, into params.yaml. Comments "
        "stay, the changes are shown, and `dvc repro` then runs what they touch.",
        epilog="example:\n  posterity use recipes/frozen_backbone.yaml --dry-run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "recipe", type=Path, metavar="RECIPE", help="recipe file, such as recipes/frozen_backbone.yaml"
    )
    command.add_argument("--params", type=Path, default=Path("params.yaml"), help="file (default: %(default)s)")
    command.add_argument("--dry-run", action="store_true", help="show the changes without writing them")
    command.set_defaults(run=use)
    return parser.parse_args(argv)


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which model predicts, what is shown and where."""
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to FILE instead of the terminal")
    parser.add_argument("--model", type=Path, default=Path("models/model.keras"), help="model (default: %(default)s)")
    parser.add_argument(
        "--top-k", type=_positive, default=3, help="table: labels to show, decided or not (default: %(default)s)"
    )
    parser.add_argument(
        "--threshold", type=_fraction, help="decide on labels from this probability on, instead of by the model's own"
    )
    parser.add_argument(
        "--format",
        choices=predictions.FORMATS,
        default="table",
        help="csv and jsonl hold every probability (default: %(default)s)",
    )


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script; exits with 1 if an input could not be read, with 2 on a user's mistake."""
    args = parse_args(argv)
    script.run(lambda: args.run(args))


def use(args: argparse.Namespace) -> None:
    """Run ``posterity use``."""
    from posterity import recipes

    text, changes = recipes.merge(args.params, args.recipe)
    for change in changes:
        print(printable(f"{change.key}: {recipes.shown(change.old)} -> {recipes.shown(change.new)}"))
    if not changes:
        print(printable(f"{args.params} has all values of {args.recipe} already."))
    elif args.dry_run:
        print(printable(f"{args.params} is not changed (--dry-run)."))
    else:
        with files.replacing(args.params) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
        written = f"{len(changes)} values changed in {printable(args.params)}"
        print(f"{written}. Next: `dvc repro`, which runs what they touch.")


def predict(args: argparse.Namespace) -> None:
    """Run ``posterity predict``."""
    if args.excel_safe and args.format != "csv":
        raise errors.UserError(f"--excel-safe needs --format csv. Got --format {args.format}. Change one of them.")
    paths = predictions.find_images(args.images)

    from posterity.nn.inference.classifier import Classifier

    classifier = Classifier(args.model, engine=args.engine, precision=args.precision)
    with (
        output(args.output) as stream,
        contextlib.closing(classifier.predict(paths, show_progress=True)) as predicted,
    ):
        failures = predictions.write(
            predicted,
            stream,
            form=args.format,
            label_names=classifier.label_names,
            top_k=args.top_k,
            threshold=args.threshold,
            exactly_one=classifier.exactly_one,
            excel_safe=args.excel_safe,
        )
    if failures:
        print(f"{failures} of {len(paths)} inputs could not be read.", file=sys.stderr)
        sys.exit(1)


@contextlib.contextmanager
def output(path: Path | None) -> Iterator[TextIO]:
    """Yield stdout, or a text file that appears at ``path`` when it is whole.

    Raises
    ------
    UserError
        If ``path`` is a folder or nothing can be written there.
    """
    if path is None:
        yield sys.stdout
        return
    with contextlib.ExitStack() as stack:
        try:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            temporary = stack.enter_context(files.replacing(path))
            stream = stack.enter_context(temporary.open("w", encoding="utf-8", newline=""))
        except (OSError, errors.RefusedError) as error:
            raise errors.UserError(
                f"--output {path}: expected a file that can be written. Got: {error.strerror}. Give another path."
            ) from None
        yield stream


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return value


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text}")
    return value

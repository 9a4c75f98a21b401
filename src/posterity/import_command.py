"""The command `posterity import`: annotations of other tools as a table."""

import argparse
import io
import json
from collections import Counter
from pathlib import Path

from posterity import files
from posterity.dataset.csv_table import shown
from posterity.dataset.image_folder import list_folder
from posterity.dataset.image_paths import FolderIndex
from posterity.errors import RefusedError, UserError
from posterity.importing import label_studio
from posterity.importing.formats import FORMATS
from posterity.importing.imported import ImportedTable
from posterity.recipes import shown as as_yaml
from posterity.text import printable, shell_word

SHOWN = 5


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser of `posterity`."""
    formats = "\n".join(f"  {name:13} {found.source}" for name, found in FORMATS.items())
    command = commands.add_parser(
        "import",
        help="make a table of the annotations of another tool",
        description="Turn annotations of another tool into a CSV table that the pipeline reads. The source stays as it "
        "is, and an existing table is written over only with --force.",
        epilog=f"formats and their sources:\n{formats}\n\nexample:\n  posterity import coco instances.json labels.csv",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("format", choices=FORMATS, metavar="FORMAT", help="one of those below")
    command.add_argument("source", type=Path, metavar="SOURCE", help="file or folder to read")
    command.add_argument("table", type=Path, metavar="TABLE", help="CSV file to write")
    command.add_argument(
        "--images", type=Path, metavar="FOLDER", help="folder of the images: look each of them up there"
    )
    command.add_argument(
        "--label-column",
        action="append",
        default=[],
        metavar="NAME",
        help="label-studio: control, or column of its CSV, that holds labels; may be given several times",
    )
    command.add_argument("--force", action="store_true", help="write over TABLE")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run ``posterity import``."""
    if not args.source.exists():
        raise UserError(
            f"{printable(args.source)} does not exist. Expected the {FORMATS[args.format].source}. Correct the path."
        )
    _check_target(args)
    if args.label_column and args.format != "label-studio":
        raise UserError(f"--label-column is for label-studio only. Got the format {args.format}. Remove it.")
    if args.images and not args.images.is_dir():
        raise UserError(f"--images {printable(args.images)}: expected a folder. Got none there. Correct the path.")
    read = FORMATS[args.format].read
    table = label_studio.label_studio(args.source, args.label_column) if args.label_column else read(args.source)
    if not len(table):
        raise UserError(f"{printable(args.source)}: no image is in it." + _listed("Left out", table.left_out))
    _write(args.table, table)
    _tell(args, table)


def _check_target(args: argparse.Namespace) -> None:
    """The table must be neither the source nor, even with --force, a file that lies in it."""
    if args.table.exists():
        if args.table.samefile(args.source):
            raise UserError(f"{printable(args.table)}: is the source itself. Give another path for the table.")
        if args.source.is_dir() and args.table.resolve().is_relative_to(args.source.resolve()):
            raise UserError(
                f"{printable(args.table)}: exists and is in the source, {printable(args.source)}, which stays as "
                f"it is. Give another path."
            )
        if not args.force:
            raise UserError(f"{printable(args.table)} exists already. Give another path, or --force to write over it.")
    if not args.table.parent.is_dir():
        raise UserError(f"{printable(args.table.parent)} does not exist. Make the folder first, or give another path.")


def _write(path: Path, table: ImportedTable) -> None:
    stream = io.StringIO(newline="")
    writer = files.csv_writer(stream)
    writer.writerow(table.columns)
    writer.writerows(zip(*table.columns.values(), strict=True))
    try:
        content = stream.getvalue().encode("utf-8")
    except UnicodeEncodeError as error:
        around = error.object[max(0, error.start - 20) : error.end + 20]
        raise UserError(
            f"{printable(path)}: expected names that UTF-8 can write. Got {around!r}, a file name of another encoding "
            f"or half a character. Rename it in the source."
        ) from None
    try:
        with files.replacing(path) as temporary:
            temporary.write_bytes(content)
    except (OSError, RefusedError) as error:
        raise UserError(f"{printable(path)} cannot be written: {error.strerror}. Give another path.") from None


def _tell(args: argparse.Namespace, table: ImportedTable) -> None:
    rows = "rows" if table.settings.get("data.rows") == "label" else "images"
    print(f"{printable(args.table)}: {len(table):,} {rows}.")
    if counts := _label_counts(table):
        named = [f"{printable(name)} {number:,}" for name, number in counts.most_common()]
        print(f"{len(named)} labels: {shown(named)}.")
    if "side" in table.columns:
        sides = Counter(side or "(none)" for side in table.columns["side"])
        print(printable(f"Sides: {', '.join(f'{side} {number:,}' for side, number in sides.items())}."))
    for note in table.notes:
        print(f"Note: {printable(note)}.")
    if table.left_out:
        print(_listed(f"Left out: {len(table.left_out):,}", table.left_out).lstrip())
    if args.images:
        _look_up(args, table)
    images = args.images or "IMAGES"
    if table.settings:
        print("Settings for params.yaml:")
        for key, value in {"data.labels": args.table.as_posix(), **table.settings}.items():
            print(printable(f"  {key}: {as_yaml(value)}"))
    print(f"Next: `posterity init {shell_word(images)} {shell_word(args.table)}` proposes all settings.")


def _label_counts(table: ImportedTable) -> Counter[str]:
    """How many rows have each label, where the settings tell which columns hold them."""
    list_column = table.settings.get("data.list_column")
    if table.settings.get("data.rows") == "label":
        cells = zip(table.columns["label"], table.columns["present"], strict=True)
        return Counter(name for name, present in cells if present == "1")
    if list_column:
        return Counter(name for cell in table.columns[list_column] for name in json.loads(cell))
    labels = table.settings.get("data.label_columns") or []
    return Counter({name: sum(cell in ("1", "1.0") for cell in table.columns[name]) for name in labels})


def _look_up(args: argparse.Namespace, table: ImportedTable) -> None:
    if "image" not in table.columns:
        print("The images are not looked up: no column is called image.")
        return
    index = FolderIndex(list_folder(args.images).files)
    there = set(index.listing)
    suffix = ".jpg" if table.settings.get("data.image_pattern") == "{id}.jpg" else ""
    wanted = list(dict.fromkeys(name + suffix for name in table.columns["image"]))
    missing = [name + index.hint(name, name, None) for name in wanted if name not in there]
    print(
        f"{len(wanted) - len(missing):,} of {len(wanted):,} images are in {printable(args.images)}."
        + _listed("Missing", missing)
    )


def _listed(title: str, entries: list[str]) -> str:
    if not entries:
        return ""
    more = f"\n  ... and {len(entries) - SHOWN:,} more" if len(entries) > SHOWN else ""
    return f" {title}:\n" + "\n".join(f"  {printable(entry)}" for entry in entries[:SHOWN]) + more

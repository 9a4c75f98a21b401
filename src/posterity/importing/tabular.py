"""Tables in text files: JSON lines, Hugging Face's metadata, Roboflow's and Open Images' CSV."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from posterity.dataset.csv_table import read_table
from posterity.errors import UserError
from posterity.importing.imported import SIDES, ImportedTable, cell_text, read_text, side_settings
from posterity.importing.workbooks import parquet
from posterity.text import printable

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def jsonl(source: Path) -> ImportedTable:
    """JSON lines: a mapping on each line; a key that a line lacks is an empty cell."""
    rows = []
    for number, line in enumerate(read_text(source).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{source}, line {number}: expected JSON. Got: {error}.") from None
        if not isinstance(row, dict):
            raise UserError(f"{source}, line {number}: expected a mapping. Got {row!r:.60}.")
        rows.append(row)
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    if not names:
        raise UserError(f"{source}: expected a mapping on each line. Got nothing.")
    return ImportedTable({name: [cell_text(row.get(name)) for row in rows] for name in names})


def huggingface(source: Path) -> ImportedTable:
    """An image folder of Hugging Face: ``metadata.csv``, ``.jsonl`` or ``.parquet``, also one per split.

    See "Create an image dataset", ImageFolder, in the documentation of `datasets`. ``image`` is ``file_name`` below the
    folder, and a folder that is called like a side gives the side.
    """
    files = [source] if source.is_file() else sorted(path for name in METADATA for path in source.rglob(name))
    if not files:
        raise UserError(f"{source}: expected {' or '.join(METADATA)} in the folder or below it. Got none.")
    folders = [path.parent for path in files]
    if twice := next((folder for folder in folders if folders.count(folder) > 1), None):
        raise UserError(
            f"{printable(twice)}: expected one of {', '.join(METADATA)} in a folder. Got several. Keep one of them."
        )
    root = source.parent if source.is_file() else source
    readers: dict[str, Callable[[Path], ImportedTable]] = {".csv": _csv, ".jsonl": jsonl, ".parquet": parquet}
    parts = []
    for path in files:
        if path.suffix not in readers:
            raise UserError(f"{printable(path)}: expected {', '.join(METADATA)} or their folder. Got another suffix.")
        part = readers[path.suffix](path)
        if "file_name" not in part.columns:
            raise UserError(
                f"{printable(path)}: expected a column 'file_name'. Got {', '.join(map(repr, part.columns))}."
            )
        folder = path.parent.relative_to(root)
        images = [(folder / name.replace("\\", "/")).as_posix() for name in part.columns.pop("file_name")]
        # The names of the table that is written; a column of the source that has one of them gets another.
        part.columns = {
            f"source_{name}" if name in ("image", "side") else name: cells for name, cells in part.columns.items()
        }
        sides = [_side(image) for image in images]
        part.columns = {"image": images, **part.columns, **({"side": sides} if any(sides) else {})}
        parts.append(part)
    joined = _joined(parts)
    if renamed := [name for name in joined.columns if name in ("source_image", "source_side")]:
        joined.notes.append(f"columns of the source are renamed: {', '.join(renamed)}")
    joined.settings = {"data.id_column": "image", "data.image_pattern": "{id}"}
    if "side" in joined.columns:
        joined.settings |= side_settings(joined.columns["side"])
    return joined


def roboflow(source: Path) -> ImportedTable:
    """Roboflow's multi-class CSV: ``_classes.csv`` with 0 and 1, a folder per split (docs.roboflow.com, exports)."""
    files = [source] if source.is_file() else sorted(source.rglob("_classes.csv"))
    if not files:
        raise UserError(f"{source}: expected _classes.csv in the folders train, valid and test. Got none.")
    root = source.parent if source.is_file() else source
    parts = []
    for path in files:
        part = _csv(path)
        name, *classes = part.columns
        if taken := {"image", "side"} & set(classes):
            raise UserError(
                f"{printable(path)}, line 1: a class is called {taken.pop()!r}, as a column of the table. Rename it."
            )
        if odd := [label for label in classes if not {cell.strip() for cell in part.columns[label]} <= {"0", "1"}]:
            raise UserError(
                f"{printable(path)}: expected 0 and 1 in all columns but the first. Got others in {odd[0]!r}."
            )
        folder = path.parent.relative_to(root)
        images = [(folder / image.strip()).as_posix() for image in part.columns.pop(name)]
        part.columns = {"image": images} | {
            label: [cell.strip() for cell in cells] for label, cells in part.columns.items()
        }
        side = SIDES.get(folder.name.casefold(), "")
        part.columns |= {"side": [side] * len(images)} if side else {}
        parts.append(part)
    joined = _joined(parts)
    labels = [name for name in joined.columns if name not in ("image", "side")]
    joined.settings = {
        "data.id_column": "image", "data.list_column": None, "data.label_columns": labels, "data.image_pattern": "{id}",
    }  # fmt: skip
    if "side" in joined.columns:
        joined.settings |= side_settings(joined.columns["side"])
    return joined


def open_images(source: Path) -> ImportedTable:
    """Open Images' image-level labels: ``ImageID,Source,LabelName,Confidence``, one row per image and label.

    Confidence 0 means that people have verified that the label is absent; a label without a row was not verified, and
    is unknown (storage.googleapis.com/openimages, "Data formats"). Where ``*class-descriptions*.csv`` lies beside the
    source, its names take the place of codes such as ``/m/01yrx``.
    """
    table = read_table(source)
    wanted = ("ImageID", "LabelName", "Confidence")
    if missing := [name for name in wanted if name not in table.columns]:
        raise UserError(f"{source}, line 1: expected the columns {', '.join(wanted)}. {', '.join(missing)} is missing.")
    present, left_out, kept = [], [], []
    for row, cell in enumerate(table.columns["Confidence"]):
        if cell.strip() in ("0", "1", "0.0", "1.0"):
            kept.append(row)
            present.append(str(int(float(cell))))
        else:
            left_out.append(f"line {table.lines[row]}: confidence {cell!r}, which nobody has verified")
    columns = {"image": "ImageID", "label": "LabelName"}
    cells = {new: [table.columns[old][row] for row in kept] for new, old in columns.items()} | {"present": present}
    names, notes = _class_names(source.parent)
    if not names and any(code.startswith("/") for code in cells["label"]):
        notes.append("labels are codes; put class-descriptions.csv of Open Images beside the source to get names")
    cells["label"] = [names.get(code, code) for code in cells["label"]]
    settings = {
        "data.rows": "label", "data.id_column": "image", "data.list_column": "label", "data.label_columns": [],
        "data.presence_column": "present", "data.unlisted_labels": "unknown", "data.image_pattern": "{id}.jpg",
    }  # fmt: skip
    return ImportedTable(cells, settings, notes, left_out)


def _class_names(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Names of the codes of classes, by the tables of them in ``folder``, and a note about it."""
    found: dict[str, str] = {}
    files = sorted(folder.glob("*class-descriptions*.csv"))
    for path in files:
        try:
            rows = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
        except csv.Error as error:
            raise UserError(
                f"{printable(path)}: expected a code and a name in each line. Got: {printable(error)}."
            ) from None
        found |= {row[0].strip(): row[1].strip() for row in rows if len(row) == 2 and row[1].strip()}
    if not files:
        return {}, []
    # A few classes share a name: theirs carries the code.
    number = Counter(found.values())
    names = {code: name if number[name] == 1 else f"{name} ({code})" for code, name in found.items()}
    return names, [f"codes of labels are replaced by the names in {', '.join(path.name for path in files)}"]


def _side(image: str) -> str:
    """The side that a folder of the image's path is called after, or ""."""
    return next((SIDES[part.casefold()] for part in image.split("/")[:-1] if part.casefold() in SIDES), "")


def _csv(path: Path) -> ImportedTable:
    return ImportedTable(dict(read_table(path).columns))


def _joined(parts: Sequence[ImportedTable]) -> ImportedTable:
    names = list(dict.fromkeys(name for part in parts for name in part.columns))
    columns: Mapping[str, list[str]] = {
        name: [cell for part in parts for cell in part.columns.get(name, [""] * len(part))] for name in names
    }
    return ImportedTable(dict(columns), {}, [note for part in parts for note in part.notes])

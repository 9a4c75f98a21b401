"""Tables in other files: Excel, Parquet, JSON lines, Hugging Face's metadata, Roboflow's and Open Images' CSV."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from posterity.dataset.csv_table import read_table
from posterity.errors import UserError
from posterity.importing.imported import SIDES, ImportedTable, read_text

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def excel(source: Path) -> ImportedTable:
    """The first sheet of an Excel workbook (.xlsx), every cell as text."""
    pandas = _pandas(source, "openpyxl")
    try:
        sheets = pandas.read_excel(source, sheet_name=None, dtype=object, engine="openpyxl", header=0)
    except (OSError, ValueError, KeyError, _bad_zip()) as error:
        raise UserError(f"{source}: cannot be read as an Excel workbook: {error}.") from None
    names = list(sheets)
    notes = [f"the workbook has {len(names)} sheets; the first one, {names[0]!r}, was read"] if len(names) > 1 else []
    return _of_frame(sheets[names[0]], source, notes)


def parquet(source: Path) -> ImportedTable:
    """A Parquet file; a column of lists becomes one of JSON lists, and columns of bytes are left out."""
    pandas = _pandas(source, "pyarrow")
    try:
        frame = pandas.read_parquet(source, engine="pyarrow")
    except (OSError, ValueError) as error:
        raise UserError(f"{source}: cannot be read as a Parquet file: {error}.") from None
    return _of_frame(frame, source, [])


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
    root = source.parent if source.is_file() else source
    readers: dict[str, Callable[[Path], ImportedTable]] = {".csv": _csv, ".jsonl": jsonl, ".parquet": parquet}
    parts = []
    for path in files:
        part = readers[path.suffix](path)
        if "file_name" not in part.columns:
            raise UserError(f"{path}: expected a column 'file_name'. Got {', '.join(map(repr, part.columns))}.")
        folder = path.parent.relative_to(root)
        images = [(folder / name).as_posix() for name in part.columns.pop("file_name")]
        sides = [SIDES.get((*Path(image).parts, "")[0].casefold(), "") for image in images]
        part.columns = {"image": images, **part.columns, **({"side": sides} if any(sides) else {})}
        parts.append(part)
    joined = _joined(parts)
    joined.settings = {"data.id_column": "image", "data.image_pattern": "{id}"}
    if "side" in joined.columns:
        joined.settings["split.side_column"] = "side"
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
        name = next(iter(part.columns))
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
        joined.settings["split.side_column"] = "side"
    return joined


def open_images(source: Path) -> ImportedTable:
    """Open Images' image-level labels: ``ImageID,Source,LabelName,Confidence``, one row per image and label.

    Confidence 0 means that people have verified that the label is absent; a label without a row was not verified, and
    is unknown (storage.googleapis.com/openimages, "Data formats").
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
    settings = {
        "data.rows": "label", "data.id_column": "image", "data.list_column": "label", "data.label_columns": [],
        "data.presence_column": "present", "data.unlisted_labels": "unknown", "data.image_pattern": "{id}.jpg",
    }  # fmt: skip
    return ImportedTable(cells, settings, [], left_out)


def cell_text(value: Any) -> str:
    """A value as the text of a cell: a list as a JSON list, nothing as "".

    Examples
    --------
    >>> [cell_text(value) for value in (None, 3.0, 2.5, True, ["a", "é"], "x", float("nan"))]
    ['', '3', '2.5', 'true', '["a", "é"]', 'x', '']
    """
    if hasattr(value, "tolist"):  # of NumPy
        value = value.tolist()
    if value is None or (isinstance(value, float) and math.isnan(value)) or str(value) in ("<NA>", "NaT"):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple | set | dict):
        return json.dumps(list(value) if isinstance(value, tuple | set) else value, ensure_ascii=False, default=str)
    return str(value)


def _csv(path: Path) -> ImportedTable:
    return ImportedTable(dict(read_table(path).columns))


def _of_frame(frame: Any, source: Path, notes: Sequence[str]) -> ImportedTable:
    columns = {}
    found = list(notes)
    for name in frame.columns:
        values = frame[name].tolist()
        first = next((value for value in values if value is not None), None)
        if isinstance(first, bytes) or (isinstance(first, dict) and "bytes" in first):
            found.append(f"column {str(name)!r} holds bytes and is left out: a table names image files")
            continue
        columns[str(name).strip()] = [cell_text(value) for value in values]
    if not columns or not len(frame):
        raise UserError(f"{source}: expected a header and one row per image. Got an empty table.")
    return ImportedTable(columns, {}, found)


def _joined(parts: Sequence[ImportedTable]) -> ImportedTable:
    names = list(dict.fromkeys(name for part in parts for name in part.columns))
    columns: Mapping[str, list[str]] = {
        name: [cell for part in parts for cell in part.columns.get(name, [""] * len(part))] for name in names
    }
    return ImportedTable(dict(columns), {}, [note for part in parts for note in part.notes])


def _pandas(source: Path, library: str) -> Any:
    import importlib.util

    if not source.is_file():
        raise UserError(f"{source} does not exist. Correct the path.")
    if importlib.util.find_spec(library) is None:
        raise UserError(f"{source}: reading it needs {library}. Install it: pip install -e '.[import]'.")
    import pandas

    return pandas


def _bad_zip() -> type[Exception]:
    import zipfile

    return zipfile.BadZipFile

"""Tables of other programs: Excel workbooks and Parquet files, by openpyxl and pyarrow (the extra `import`).

pandas is not asked: its `read_excel` takes "N/A", "None" and "null" for empty cells and renames columns that occur
twice, and its `read_parquet` turns whole numbers beside an empty cell into floating point, which loses digits.
"""

import importlib.util
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from posterity.errors import UserError
from posterity.importing.imported import ImportedTable, cell_text
from posterity.text import printable


def excel(source: Path) -> ImportedTable:
    """The first sheet of an Excel workbook (.xlsx), every cell as the text of its value.

    Raises
    ------
    UserError
        If openpyxl is missing, if it is no workbook, if a column that holds something has no name or one that another
        has, or if a cell holds a formula whose result the file does not hold.
    """
    _need(source, "openpyxl")
    import openpyxl

    def sheets(*, data_only: bool) -> dict[str, list[tuple[Any, ...]]]:
        try:
            # Opened here, since openpyxl goes by the suffix of a path and leaves the file open when it fails.
            with source.open("rb") as stream:
                book = openpyxl.load_workbook(stream, read_only=True, data_only=data_only)
                return {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}
        except Exception as error:
            # A damaged file raises whatever zipfile, zlib, the XML parser or openpyxl trips over.
            raise UserError(
                f"{source}: cannot be read as an Excel workbook: {printable(error)}. Save it as .xlsx (or as CSV in "
                "UTF-8)."
            ) from None

    found = {title: rows for title, rows in sheets(data_only=True).items() if any(map(_is_filled, rows))}
    if not found:
        raise UserError(f"{source}: expected a header and one row per image. Got an empty workbook.")
    title, rows = next(iter(found.items()))
    notes = []
    if len(found) > 1:
        others = ", ".join(map(repr, list(found)[1:]))
        notes.append(f"the workbook has {len(found)} sheets; the first one, {title!r}, was read, not {others}")
    for number, cells in enumerate(sheets(data_only=False)[title]):
        for column, cell in enumerate(cells):
            value = rows[number][column] if number < len(rows) and column < len(rows[number]) else None
            if isinstance(cell, str) and cell.startswith("=") and value is None:
                raise UserError(
                    f"{source}, sheet {title!r}, row {number + 1}, column {column + 1}: the file holds the formula "
                    f"{cell!r:.40} without its result. Open it in a spreadsheet program and save it."
                )
    begin = next(number for number, row in enumerate(rows) if _is_filled(row))
    header = [cell_text(cell).strip() for cell in rows[begin]]
    body = [row for row in rows[begin + 1 :] if _is_filled(row)]
    width = max(len(header), *map(len, body)) if body else len(header)
    filled = [row + (None,) * (width - len(row)) for row in body]
    header += [""] * (width - len(header))
    kept = [
        position for position in range(width) if header[position] or any(row[position] is not None for row in filled)
    ]
    place = f"{source}, sheet {title!r}, row {begin + 1}"
    return _table({p: [row[p] for row in filled] for p in kept}, {p: header[p] for p in kept}, place, notes)


def parquet(source: Path) -> ImportedTable:
    """A Parquet file: lists become JSON lists, and class numbers of Hugging Face become names.

    Hugging Face keeps images in a column of ``bytes`` and ``path``: the path is taken. Other bytes are left out.

    Raises
    ------
    UserError
        If pyarrow is missing or if it is no Parquet file.
    """
    _need(source, "pyarrow")
    import pyarrow
    import pyarrow.parquet

    notes = []
    cells: dict[int, list[Any]] = {}
    names: dict[int, str] = {}
    try:
        with pyarrow.parquet.ParquetFile(source) as file:
            features = _features(file.schema_arrow.metadata)
            for position, field in enumerate(file.schema_arrow):
                wanted = field.name
                if pyarrow.types.is_struct(field.type) and {"bytes", "path"} <= {part.name for part in field.type}:
                    wanted = f"{field.name}.path"
                    notes.append(f"column {field.name!r} holds images and their paths: the paths are taken")
                elif pyarrow.types.is_binary(field.type) or pyarrow.types.is_large_binary(field.type):
                    notes.append(f"column {field.name!r} holds bytes and is left out: a table names image files")
                    continue
                values = file.read(columns=[wanted]).column(0).to_pylist()
                if wanted != field.name:
                    values = [value["path"] if value else None for value in values]
                if classes := features.get(field.name):
                    values = [_named(value, classes, f"{source}, column {field.name!r}") for value in values]
                    notes.append(f"column {field.name!r}: the class numbers are replaced by their names")
                cells[position], names[position] = values, field.name
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise UserError(f"{source}: cannot be read as a Parquet file: {printable(error)}.") from None
    return _table(cells, names, str(source), notes)


def _table(cells: dict[int, list[Any]], names: dict[int, str], place: str, notes: Sequence[str]) -> ImportedTable:
    """A table of columns by position."""
    if not any(map(len, cells.values())):
        raise UserError(f"{place}: expected a header and one row per image. Got an empty table.")
    repeated = [
        f"{name!r} {number} times" for name, number in Counter(names.values()).items() if number > 1 or not name
    ]
    if repeated:
        raise UserError(
            f"{place}: every column needs a name of its own. Got {', '.join(repeated)}. Name or remove them."
        )
    columns = {names[position]: [cell_text(value) for value in values] for position, values in cells.items()}
    return ImportedTable(columns, {}, list(notes))


def _features(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Names of classes by column, from what `datasets` of Hugging Face keeps in the schema."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    found = {}
    for name, feature in features.items() if isinstance(features, dict) else ():
        inner = feature
        if isinstance(inner, list) and inner:
            inner = inner[0]
        if isinstance(inner, dict) and isinstance(inner.get("feature"), dict):
            inner = inner["feature"]
        if isinstance(inner, dict) and inner.get("_type") == "ClassLabel" and isinstance(inner.get("names"), list):
            found[name] = [str(one) for one in inner["names"]]
    return found


def _named(value: Any, classes: Sequence[str], place: str) -> Any:
    if isinstance(value, list):
        return [_named(one, classes, place) for one in value]
    if value is None:
        return None
    # Hugging Face writes -1 where a class is not known.
    if not isinstance(value, int) or value >= len(classes) or value < -1:
        raise UserError(f"{place}: expected the number of one of {len(classes)} classes. Got {value!r:.60}.")
    return classes[value] if value >= 0 else None


def _is_filled(row: Sequence[Any]) -> bool:
    return any(cell is not None and str(cell).strip() for cell in row)


def _need(source: Path, library: str) -> None:
    if not source.is_file():
        raise UserError(f"{source} is no file. Correct the path.")
    if importlib.util.find_spec(library) is None:
        raise UserError(f"{source}: reading it needs {library}. Install it: pip install -e '.[import]'.")

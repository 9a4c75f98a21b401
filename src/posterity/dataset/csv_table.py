"""A CSV file as a table of text, and which of its columns hold labels. Errors name the file, the line, the column."""

import codecs
import csv
import difflib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from posterity.errors import UserError

NAMES_SHOWN = 30
PLACES_SHOWN = 5


@dataclass(frozen=True)
class TextTable:
    """A CSV file, every cell as the text that stands there.

    Attributes
    ----------
    path : Path
        Where it was read from, for messages.
    columns : dict of str to list of str
        Cells of every column, in the order of the header; columns without a name share the key ``""``.
    lines : list of int
        Line of the file where each row begins; the header is line 1.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]


def read_table(path: str | Path) -> TextTable:
    """Read a CSV file (UTF-8 with or without a byte-order mark, comma-separated) as text.

    The csv module is used because pandas fills short rows, shifts long ones and does not tell the line.

    Raises
    ------
    UserError
        If the file is missing, empty or not UTF-8, if the header repeats a name, or if a row does not fit the header.
    """
    path = Path(path)
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    begin = 1
    try:
        for cells in reader:
            if not header:
                header = [name.strip() for name in cells]
            elif cells:  # a blank line has none
                rows.append(cells)
                lines.append(begin)
            begin = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}, line {begin}: not valid CSV: {error}. A cell with a comma or a quote must stand in double "
            f"quotes, its own quotes doubled."
        ) from None
    if not rows:
        found = "a header but no row" if header else "nothing"
        raise UserError(
            f"{path}: expected a header and one row per image. Got {found}. Set data.labels in params.yaml."
        )
    repeated = [f"{name!r} {number} times" for name, number in Counter(header).items() if number > 1 and name]
    if repeated:
        raise UserError(f"{path}, line 1: column names must be unique. Got {shown(repeated)}. Rename or remove them.")
    ragged = [
        f"line {line} has {len(cells)}" for line, cells in zip(lines, rows, strict=True) if len(cells) != len(header)
    ]
    if ragged:
        raise UserError(
            f"{path}: every row must have {len(header)} cells, as the header has. Got: {shown(ragged, PLACES_SHOWN)}. "
            f"Put a cell that contains a comma in double quotes."
        )
    return TextTable(path, dict(zip(header, map(list, zip(*rows, strict=True)), strict=True)), lines)


def find_label_columns(
    table: TextTable,
    *,
    id_column: str,
    list_column: str | None,
    label_columns: Sequence[str] | None,
    image_column: str | None,
    group_column: str | None = None,
    side_column: str | None = None,
) -> list[str]:
    """Check that all named columns exist; return the one-hot ones.

    ``label_columns`` None stands for every column that has no other role.

    Raises
    ------
    UserError
        If a column is missing or has two roles, or if no column can hold a label.
    """
    named = {"data.id_column": id_column, "data.list_column": list_column, "data.image_column": image_column}
    named |= {"split.group_column": group_column, "split.side_column": side_column}
    roles = {name: key for key, name in named.items() if name is not None}
    roles_and_labels = [*roles.items(), *((name, "data.label_columns") for name in label_columns or ())]
    absent = [(name, key) for name, key in roles_and_labels if name not in table.columns]
    place = f"{table.path}, line 1"
    there = shown([repr(name) for name in table.columns])
    if absent:
        missing = "; ".join(f"no column {name!r} ({key}){nearest(name, table.columns)}" for name, key in absent)
        hint = " Separate the columns by commas." if len(table.columns) == 1 else ""
        keys = ", ".join(dict.fromkeys(key for _, key in absent))
        nulls = "".join(
            f", or set {key}: null" for _, key in absent if key not in ("data.id_column", "data.label_columns")
        )
        raise UserError(f"{place}: {missing}. Got the columns {there}.{hint} Correct {keys} in params.yaml{nulls}.")
    if label_columns is None:
        label_columns = [name for name in table.columns if name not in roles]
        if "" in label_columns:
            raise UserError(
                f"{place}: every column needs a name, since all without another role are labels. Got one without. "
                f"Remove it (pandas: `to_csv(..., index=False)`) or list the labels in params.yaml: data.label_columns."
            )
    for name in label_columns:
        if name in roles:
            raise UserError(f"params.yaml: data.label_columns names {name!r}, the {roles[name]}. Remove one of them.")
    if list_column is None and not label_columns:
        raise UserError(
            f"{place}: no column holds labels. Got the columns {there}. Name the column with a list in "
            f"data.list_column or the one-hot columns in data.label_columns in params.yaml."
        )
    return list(label_columns)


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; the nearest is 'Drama'"`` for the known name that is most like ``name``, or nothing if none is."""
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"; the nearest is {folded[close[0]]!r}" if close else ""


def shown(items: Sequence[str], limit: int = NAMES_SHOWN) -> str:
    """Join ``items`` by commas, the first ``limit`` of them, and say how many there are in all."""
    more = f", ... ({len(items)} in all)" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. Expected the labels CSV. Set data.labels in params.yaml.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Set data.labels in params.yaml.") from None
    try:
        text = content.decode("utf-8-sig")
        position = content.find(b"\0")  # UTF-16 without a mark passes as UTF-8 with a zero byte after each letter
    except UnicodeDecodeError as error:
        # The codec counts from behind the byte-order mark.
        position = error.start + (3 if content.startswith(codecs.BOM_UTF8) else 0)
    if position >= 0:
        line = content.count(b"\n", 0, position) + 1
        raise UserError(
            f"{path}, line {line}: expected UTF-8 text. Got the byte 0x{content[position]:02x} at position {position}. "
            f"Save it as UTF-8, for instance by `iconv -f latin1 -t utf-8 {path.name} > utf8.csv`."
        )
    return text

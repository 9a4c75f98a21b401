"""A CSV file as a table of text. Errors name the file, the line, the column."""

import csv
import difflib
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from posterity.dataset import text_file
from posterity.errors import UserError
from posterity.text import printable

if TYPE_CHECKING:
    import _csv

NAMES_SHOWN = 30
PLACES_SHOWN = 5
WHITESPACE = "whitespace"
# Delimiters that are tried for the advice in an error message, never to read a table.
KNOWN_DELIMITERS = (",", ";", "\t", "|", WHITESPACE)
NAMELESS_FIRST = "id"


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
        Line of the file where each row begins; the header is line 1, unless lines above it say what the table is.
    header_line : int
        Line of the header.
    other_delimiter : str
        A delimiter by which the header has more columns; "" if the one that was used is the best.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    header_line: int = 1
    other_delimiter: str = ""


def read_table(path: str | Path, delimiter: str = ",") -> TextTable:
    """Read a CSV file (UTF-8, or UTF-16 with a byte-order mark) as text.

    The csv module is used because pandas fills short rows, shifts long ones and does not tell the line. Cells may be of
    any length.

    Parameters
    ----------
    path : path-like
        The file. Excel's line ``sep=;`` above the header is understood, if it names the delimiter that is given. So is
        the number of rows above the header, as in the tables of CelebA, if ``delimiter`` is ``whitespace``.
    delimiter : str
        One character, or ``whitespace`` for runs of blanks and tabs. By whitespace, the header may have no name for
        the first column, which then is called ``id``.

    Raises
    ------
    UserError
        If the file is missing, is no text (see `posterity.dataset.text_file`) or is empty, if the header repeats a
        name, or if a row does not fit the header.
    """
    path = Path(path)
    text = text_file.read(path)
    text, num_above = _without_lines_above(path, text, delimiter)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    reader = _reader(text, delimiter)
    begin = 1 + num_above
    header_line = begin
    try:
        for cells in reader:
            if not header:
                header, header_line = [name.strip() for name in cells], begin
            elif cells:  # a blank line has none
                rows.append(cells)
                lines.append(begin)
            begin = reader.line_num + 1 + num_above
    except csv.Error as error:
        raise UserError(
            f"{path}, line {begin}: not valid CSV: {printable(error)}. A cell with the delimiter {delimiter!r} or a "
            f"quote must stand in double quotes, its own quotes doubled.{_advice(better_delimiter(text, delimiter))}"
        ) from None
    if not rows:
        found = "a header but no row" if header else "nothing"
        raise UserError(
            f"{path}: expected a header and one row per image. Got {found}. Set data.labels in params.yaml."
        )
    if delimiter == WHITESPACE and all(len(cells) == len(header) + 1 for cells in rows):
        header = [NAMELESS_FIRST if NAMELESS_FIRST not in header else "", *header]
    repeated = [f"{name!r} {number} times" for name, number in Counter(header).items() if number > 1 and name]
    if repeated:
        raise UserError(
            f"{path}, line {header_line}: column names must be unique. Got {shown(repeated)}. Rename or remove them."
        )
    other = better_delimiter(text, delimiter)
    ragged = [
        f"line {line} has {len(cells)}" for line, cells in zip(lines, rows, strict=True) if len(cells) != len(header)
    ]
    if ragged:
        fix = _advice(other) or f" Put a cell that contains the delimiter {delimiter!r} in double quotes."
        raise UserError(
            f"{path}: every row must have {len(header)} cells, as the header has. Got: {shown(ragged, PLACES_SHOWN)}."
            f"{fix}"
        )
    columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    return TextTable(path, columns, lines, header_line, other)


def better_delimiter(text: str, delimiter: str) -> str:
    """A delimiter other than ``delimiter`` by which the first lines have more columns, the same number each, or ""."""
    sample = "".join(io.StringIO(text, newline="").readlines(65536)[:20])
    if len(sample) < len(text) and not sample.endswith("\n"):
        sample = sample.rsplit("\n", 1)[0]

    def width(candidate: str) -> int:
        try:
            widths = {len(cells) for cells in _reader(sample, candidate, strict=False) if cells}
        except csv.Error:
            return 0
        return widths.pop() if len(widths) == 1 else 0

    best = max(KNOWN_DELIMITERS[:4], key=width)
    # Words of a name are columns by whitespace, too, so that it counts only if nothing else makes columns.
    best = WHITESPACE if width(best) < 2 and width(WHITESPACE) > 1 else best
    return best if best != delimiter and width(best) > max(1, width(delimiter)) else ""


def delimiter_advice(table: TextTable) -> str:
    """A sentence, with a space before it, that names the delimiter by which the header has more columns, or nothing."""
    return _advice(table.other_delimiter)


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; the nearest is 'Drama'"`` for the known name that is most like ``name``, or nothing if none is."""
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"; the nearest is {folded[close[0]]!r}" if close else ""


def shown(items: Sequence[str], limit: int = NAMES_SHOWN) -> str:
    """Join ``items`` by commas, the first ``limit`` of them, and say how many there are in all."""
    more = f", ... ({len(items)} in all)" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def short(cell: str, limit: int = 60) -> str:
    """A cell in quotes, cut to ``limit`` characters, for messages."""
    return repr(cell if len(cell) <= limit else cell[: limit - 3] + "...")


def yaml_text(delimiter: str) -> str:
    r"""A delimiter as it is written in params.yaml: ``"\t"``."""
    escaped = printable(delimiter.replace("\\", r"\\").replace('"', r"\"")).replace("\xa0", r"\xa0")
    return delimiter if delimiter == WHITESPACE else f'"{escaped}"'


def _advice(delimiter: str) -> str:
    if not delimiter:
        return ""
    return f" The columns seem to be separated by {yaml_text(delimiter)}: set data.delimiter: {yaml_text(delimiter)}."


def _reader(text: str, delimiter: str, *, strict: bool = True) -> "_csv.Reader":
    csv.field_size_limit(2**31 - 1)  # masks and thumbnails in a cell are longer than the default of 131,072
    if delimiter != WHITESPACE:
        return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict)
    lines = (line.replace("\t", " ").strip() for line in io.StringIO(text, newline=""))
    return csv.reader(lines, delimiter=" ", skipinitialspace=True, strict=strict)


def declared_delimiter(text: str) -> str:
    """The delimiter that the first line of a file declares: Excel's ``sep=;``, or CelebA's number of rows; or ""."""
    first, rest = first_line(text)
    if said := re.fullmatch(r'"?sep=(.)"?', first, re.IGNORECASE):
        return said[1]
    return WHITESPACE if first.strip().isdecimal() and len(first_line(rest)[0].split()) > 1 else ""


def first_line(text: str) -> tuple[str, str]:
    """The first line, without its end, and the rest. A line may end as on Windows, or as on old Macs."""
    first, *rest = re.split(r"\r\n|\r|\n", text, maxsplit=1)
    return first, rest[0] if rest else ""


def _without_lines_above(path: Path, text: str, delimiter: str) -> tuple[str, int]:
    """Take off what stands above the header. Return how many lines it was."""
    declared = declared_delimiter(text)
    first, rest = first_line(text)
    if declared and declared != WHITESPACE:
        if declared != delimiter:
            raise UserError(
                f"{path}, line 1: the file says that {yaml_text(declared)} separates its columns "
                f"(sep={printable(declared)}), params.yaml says {yaml_text(delimiter)}. Set "
                f"data.delimiter: {yaml_text(declared)}."
            )
        return rest, 1
    if declared == delimiter == WHITESPACE:
        number = sum(bool(line.strip()) for line in rest.splitlines()) - 1
        if number != int(first):
            raise UserError(
                f"{path}, line 1: the file says that it has {int(first):,} rows. Got {number:,}. Get the whole file, "
                f"or correct the number."
            )
        return rest, 1
    return text, 0

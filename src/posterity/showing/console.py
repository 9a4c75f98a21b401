"""The terminal of `posterity show`: plain text in a pipe, colours where they are wanted, and nothing that data obey."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from posterity.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

PIPE_WIDTH = 120  # of what is no terminal, unless COLUMNS says otherwise
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def open_console(width: int | None = None) -> "Console":
    """A console on stdout: without escape codes in a pipe, and without colours if NO_COLOR is set.

    Parameters
    ----------
    width : int, optional
        Columns; None = those of the terminal, or COLUMNS, or `PIPE_WIDTH`.
    """
    from rich.console import Console

    if width is None and not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdecimal():
        width = PIPE_WIDTH
    # Neither [red] nor :smile: means anything in the text of data, and FORCE_COLOR would put codes into a pipe.
    return Console(highlight=False, markup=False, emoji=False, width=width, force_terminal=sys.stdout.isatty())


def text(value: object, style: str = "") -> "Text":
    """Text from data as a cell or a line: what a terminal obeys is escaped, and nothing is read as markup."""
    from rich.text import Text

    return Text(printable(value), style=style)


def heading(console: "Console", title: str) -> None:
    """Print a title after an empty line."""
    console.print()
    console.print(text(title, "bold"))


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[object]]) -> "Table":
    """A table without lines around it; long texts are broken, not cut off.

    Parameters
    ----------
    columns : sequence of (title, side)
        Titles, and to which side the cells are aligned: left or right.
    rows : iterable of sequences
        Cells: what is no `rich.text.Text` goes through `text`.
    """
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(title for title, _ in columns))
    for title, side in columns:
        made.add_column(text(title, "dim"), justify="right" if side == "right" else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else text(cell) for cell in row))
    return made


def number(value: float | None, digits: int = 3) -> str:
    """A figure with so many digits, or a dash for what is not defined.

    Examples
    --------
    >>> number(0.12345), number(None), number(float("nan"))
    ('0.123', '-', '-')
    """
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def bar(share: float, width: int, *, is_ascii: bool = False) -> str:
    """A bar of ``share`` (0 to 1) of ``width`` columns, in eighths of a column.

    Examples
    --------
    >>> bar(0.5, 4), bar(0.3125, 4), bar(0.5, 4, is_ascii=True)
    ('██  ', '█▎  ', '##  ')
    """
    if is_ascii:
        return ("#" * round(share * width)).ljust(width)
    whole, part = divmod(round(min(max(share, 0.0), 1.0) * width * 8), 8)
    return ("█" * whole + (_EIGHTHS[part] if part else "")).ljust(width)

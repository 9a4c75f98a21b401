"""What the text of a cell in a label column says: the label is present, absent, or nobody knows."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity.choices import CellState
from posterity.dataset.csv_table import PLACES_SHOWN, TextTable, short, shown
from posterity.errors import UserError
from posterity.targets import ABSENT, PRESENT, UNKNOWN, UInt8Array
from posterity.text import json_text, printable

STATES: dict[str, int] = {"absent": ABSENT, "present": PRESENT, "unknown": UNKNOWN}
BAD_CELL = 3
_NUMBER = re.compile(r"[+-]?(\d{1,15}(\.\d*)?|\.\d+)", re.ASCII)

# What needs no word in params.yaml. Anything else, such as an empty cell or -1, means what data.values says.
DEFAULTS: dict[str, CellState] = {"0": "absent", "1": "present", "false": "absent", "true": "present"}


class CellValues:
    """The meaning of cells.

    Parameters
    ----------
    values : mapping of str to {"present", "absent", "unknown"}
        Texts and what they say, beside and before `DEFAULTS`. Upper and lower case are alike, and so are numbers of the
        same value: ``-1`` also stands for ``-1.0``.

    Examples
    --------
    >>> values = CellValues({"": "absent", "-1": "unknown"})
    >>> [values.state(text) for text in ("1.0", "TRUE", "0", "", "-1.0", "2")]
    [1, 1, 0, 0, 2, 3]
    """

    def __init__(self, values: Mapping[str, CellState] = {}) -> None:
        meanings = {_key(text): STATES[state] for text, state in DEFAULTS.items()}
        self._meanings = meanings | {_key(text): STATES[state] for text, state in values.items()}
        # The words for messages: 0 or 1, and what params.yaml names beside them.
        self.expected = " or ".join(["0", "1", *(repr(text) for text in values if text not in DEFAULTS)])

    def state(self, text: str) -> int:
        """`ABSENT`, `PRESENT`, `UNKNOWN`, or `BAD_CELL` for a text that says nothing."""
        return self._meanings.get(_key(text), BAD_CELL)

    def states(self, cells: Sequence[str]) -> tuple[UInt8Array, list[str]]:
        """The states of a column's cells, uint8 (num_rows,), and the distinct texts that are `BAD_CELL`."""
        codes, texts = unique(cells)
        meaning = np.array([self.state(text) for text in texts], np.uint8)
        return meaning[codes], [text for text, state in zip(texts, meaning, strict=True) if state == BAD_CELL]


def read_one_hot(table: TextTable, columns: Sequence[str], values: CellValues) -> UInt8Array:
    """States of the label columns, uint8 (num_rows, len(columns)), with `BAD_CELL` where a text says nothing.

    Raises
    ------
    UserError
        If a column holds no cell that says something.
    """
    states = np.zeros((len(table.lines), len(columns)), np.uint8)
    foreign: list[str] = []
    texts: list[str] = []
    for position, name in enumerate(columns):
        states[:, position], bad = values.states(table.columns[name])
        if bad and (states[:, position] == BAD_CELL).all():
            foreign.append(name)
            texts += bad
    if foreign:
        got = [f"column {name!r} (line {table.lines[0]}: {short(table.columns[name][0])})" for name in foreign]
        labels = shown([printable(name) for name in columns if name not in foreign]) or "..."
        raise UserError(
            f"{table.path}: a one-hot column must hold 0 and 1, or what data.values names. Got neither anywhere in "
            f"{shown(got, PLACES_SHOWN)}. Name only the labels in params.yaml: data.label_columns: [{labels}], or say "
            f"what the texts mean: {_example(texts)}."
        )
    return states


def unique(cells: Sequence[str]) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Index of every cell's text among the distinct texts: 100,000 rows hold a few hundred."""
    codes, texts = pd.factorize(np.array(cells, dtype=object))
    return codes, list(texts)


def _example(texts: Sequence[str]) -> str:
    first = list(dict.fromkeys(text.strip()[:20] for text in texts))[:2]
    states = ("present", "absent")
    pairs = ", ".join(f"{json_text(text)}: {state}" for text, state in zip(first, states, strict=False))
    return f"data.values: {{{pairs}}} (each present, absent or unknown)"


def _key(text: str) -> str | float:
    """What is equal for texts that mean the same."""
    folded = text.strip().casefold()
    # float() also reads "1_0", "nan" and "1e0", none of which a table of labels means as a number of that value.
    return float(folded) if _NUMBER.fullmatch(folded) else folded

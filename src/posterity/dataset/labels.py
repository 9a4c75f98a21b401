"""Labels: from the text of a CSV file to multi-hot vectors over a vocabulary, and back to names."""

import ast
import json
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity.dataset.csv_table import PLACES_SHOWN, TextTable, nearest, shown
from posterity.dataset.issues import Issue
from posterity.errors import UserError

UInt8Array = npt.NDArray[np.uint8]

# pandas writes 0.0 and 1.0 where a column once held a NaN.
ONE_HOT = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
BAD_CELL = 2
HINTS = 100


def parse_list(cell: str, delimiter: str) -> list[str]:
    """Read a cell that lists labels: ``['Comedy', 'Drama']``, ``["Comedy", "Drama"]`` or ``Comedy|Drama``.

    An empty cell is an empty list; a label that is repeated counts once; spaces around a label do not count.

    Raises
    ------
    ValueError
        If it opens a bracket and is no list, or if it holds an empty name or something that is not text.

    Examples
    --------
    >>> parse_list("Drama|Comedy| Drama", "|")
    ['Drama', 'Comedy']
    >>> parse_list("['Comedy', 'N/A']", "|")
    ['Comedy', 'N/A']
    >>> parse_list("", "|")
    []
    """
    text = cell.strip()
    if not text:
        return []
    items: object = text.split(delimiter)
    if text.startswith("["):
        try:
            items = json.loads(text)
        except ValueError:
            try:
                items = ast.literal_eval(text)
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                items = None
    # A list of numbers is as good as `3|7`, where they are text already.
    if not isinstance(items, list) or not all(isinstance(item, str) or type(item) is int for item in items):
        raise ValueError(f"expected a list of labels like ['A', 'B'] or A{delimiter}B, got {_short(cell)}")
    found = list(dict.fromkeys(str(item).strip() for item in items))
    if "" in found:
        raise ValueError(f"expected a name for every label, got an empty one in {_short(cell)}")
    return found


def multi_hot(lists: Sequence[Iterable[str]], vocabulary: Sequence[str]) -> UInt8Array:
    """Turn lists of label names into an array of 0 and 1, uint8 (len(lists), len(vocabulary)).

    Raises
    ------
    ValueError
        If a name is not in the vocabulary.

    Examples
    --------
    >>> multi_hot([["Drama"], [], ["Drama", "Comedy"]], ["Comedy", "Drama"]).tolist()
    [[0, 1], [0, 0], [1, 1]]
    """
    index = {name: position for position, name in enumerate(vocabulary)}
    targets = np.zeros((len(lists), len(vocabulary)), np.uint8)
    for row, labels in enumerate(lists):
        for name in labels:
            if name not in index:
                raise ValueError(f"label {name!r} is not in the vocabulary{nearest(name, vocabulary)}")
            targets[row, index[name]] = 1
    return targets


def names(vector: npt.ArrayLike, vocabulary: Sequence[str]) -> list[str]:
    """Label names of a multi-hot ``vector`` (len(vocabulary),), in the order of the vocabulary.

    Examples
    --------
    >>> names([1, 0, 1], ["Comedy", "Drama", "N/A"])
    ['Comedy', 'N/A']
    """
    return [vocabulary[position] for position in np.flatnonzero(vector).tolist()]


def read_labels(
    table: TextTable, ids: Sequence[str], one_hot_columns: Sequence[str], list_column: str | None, delimiter: str
) -> tuple[UInt8Array, list[str], list[Issue]]:
    """Read the labels of every row.

    Returns
    -------
    targets : ndarray of uint8, shape (num_rows, num_labels)
        Multi-hot; what a bad cell says counts as absent.
    vocabulary : list of str
        The one-hot columns in their order, or all listed labels, sorted, if there are none.
    issues : list of Issue
        ``bad_label_cell`` and ``labels_disagree``.

    Raises
    ------
    UserError
        If a one-hot column holds not a single 0 or 1, or if no row has a label.
    """
    issues: list[Issue] = []

    def note(kind: str, row: int, detail: str) -> None:
        issues.append(Issue(kind, table.lines[row], ids[row], detail))

    vocabulary = list(one_hot_columns)
    values = _read_one_hot(table, one_hot_columns)
    for row, column in np.argwhere(values == BAD_CELL).tolist():
        name = vocabulary[column]
        note("bad_label_cell", row, f"column {name!r}: expected 0 or 1, got {_short(table.columns[name][row])}")
    targets = np.where(values == BAD_CELL, 0, values).astype(np.uint8)

    if list_column is not None:
        codes, texts = _unique(table.columns[list_column])
        lists, complaints = _read_lists(texts, vocabulary, delimiter)
        vocabulary = vocabulary or sorted({name for labels in lists for name in labels})
        listed = multi_hot(lists, vocabulary)[codes]
        is_bad = np.array([complaint != "" for complaint in complaints])[codes]
        for row in np.flatnonzero(is_bad).tolist():
            note("bad_label_cell", row, f"column {list_column!r}: {complaints[codes[row]]}")
        if one_hot_columns:
            is_unclear = is_bad | (values == BAD_CELL).any(axis=1)
            for row in np.flatnonzero((listed != targets).any(axis=1) & ~is_unclear).tolist():
                said, marked = names(listed[row], vocabulary), names(targets[row], vocabulary)
                note("labels_disagree", row, f"column {list_column!r} says {said}, the one-hot columns say {marked}")
        else:
            targets = listed

    if not targets.any() and not issues:
        raise UserError(
            f"{table.path}: no row has a label. Expected a 1 in a one-hot column or a name in the list column. "
            f"Fill them in, or correct data.label_columns and data.list_column in params.yaml."
        )
    return targets, vocabulary, issues


def _unique(cells: Sequence[str]) -> tuple[npt.NDArray[np.intp], list[str]]:
    """Index of every cell's text among the distinct texts: 100,000 rows hold a few hundred."""
    codes, texts = pd.factorize(np.array(cells, dtype=object))
    return codes, list(texts)


def _read_one_hot(table: TextTable, columns: Sequence[str]) -> UInt8Array:
    """Values of the one-hot columns, uint8 (num_rows, len(columns)): 0, 1 or `BAD_CELL`."""
    values = np.zeros((len(table.lines), len(columns)), np.uint8)
    foreign: list[str] = []
    for position, name in enumerate(columns):
        codes, texts = _unique(table.columns[name])
        meaning = np.array([ONE_HOT.get(text.strip(), BAD_CELL) for text in texts], np.uint8)
        values[:, position] = meaning[codes]
        if (meaning == BAD_CELL).all():
            foreign.append(name)
    if foreign:
        got = [f"column {name!r} (line {table.lines[0]}: {_short(table.columns[name][0])})" for name in foreign]
        labels = shown([name for name in columns if name not in foreign]) or "..."
        raise UserError(
            f"{table.path}: a one-hot column must hold 0 and 1. Got neither anywhere in {shown(got, PLACES_SHOWN)}. "
            f"Write 0 and 1, or name only the labels in params.yaml: data.label_columns: [{labels}]."
        )
    return values


def _read_lists(texts: Sequence[str], known: Sequence[str], delimiter: str) -> tuple[list[list[str]], list[str]]:
    """Parse distinct list cells; beside each list what is wrong with its cell, if anything (then the list is empty)."""
    lists: list[list[str]] = []
    complaints: list[str] = []
    hints: dict[str, str] = {}
    for text in texts:
        complaint = ""
        try:
            labels = parse_list(text, delimiter)
        except ValueError as error:
            labels, complaint = [], str(error)
        unknown = [name for name in labels if known and name not in known]
        for name in unknown:
            if name not in hints:  # a search takes 0.1 ms; a column of titles would have thousands
                hints[name] = nearest(name, known) if len(hints) < HINTS else ""
        if unknown:
            labels, complaint = [], "; ".join(f"no column for the label {_short(n)}{hints[n]}" for n in unknown)
        lists.append(labels)
        complaints.append(complaint)
    return lists, complaints


def _short(cell: str, limit: int = 60) -> str:
    return repr(cell if len(cell) <= limit else cell[: limit - 3] + "...")

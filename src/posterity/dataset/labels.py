"""Labels: from the text of a CSV file to targets over a vocabulary, and back to names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from posterity.dataset.cell_values import BAD_CELL, CellValues, read_one_hot, unique
from posterity.dataset.columns import none_columns
from posterity.dataset.csv_table import TextTable, nearest, short, shown
from posterity.dataset.issues import Issue
from posterity.dataset.label_names import metadata_columns, null_labels, similar_labels, unsplit_labels
from posterity.dataset.list_cells import read_cell, vector_length
from posterity.dataset.options import TableForm
from posterity.errors import UserError
from posterity.targets import ABSENT, PRESENT, UNKNOWN, UInt8Array

HINTS = 100


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of a table.

    Attributes
    ----------
    targets : ndarray of uint8, shape (num_rows, num_labels)
        `posterity.targets.ABSENT`, ``PRESENT`` or ``UNKNOWN``; what a bad cell says counts as absent.
    vocabulary : list of str
        The one-hot columns in their order, or all listed labels, sorted, if there are none.
    issues : list of Issue
        ``bad_label_cell`` and ``labels_disagree`` of rows, and what is odd about the names.
    says_none : ndarray of bool, shape (num_rows,)
        Rows that say by a name of ``data.no_label_names`` that they have no label.
    """

    targets: UInt8Array
    vocabulary: list[str]
    issues: list[Issue]
    says_none: npt.NDArray[np.bool_]


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
    """Names of the labels that are present in a row ``vector`` (len(vocabulary),), in the order of the vocabulary.

    Examples
    --------
    >>> names([1, 0, 1], ["Comedy", "Drama", "N/A"])
    ['Comedy', 'N/A']
    """
    return [vocabulary[position] for position in np.flatnonzero(np.asarray(vector) == PRESENT).tolist()]


def read_labels(table: TextTable, ids: Sequence[str], one_hot_columns: Sequence[str], form: TableForm) -> Labels:
    """Read the labels of every row of a table that has one row per image.

    Raises
    ------
    UserError
        If a one-hot column holds not a single cell that says something, if the list column holds vectors of 0 and 1 or
        has nothing to do with the one-hot columns, or if no row has a label.
    """
    issues: list[Issue] = []

    def note(kind: str, row: int, detail: str) -> None:
        issues.append(Issue(kind, table.lines[row], ids[row], detail))

    list_column = form.list_column
    if list_column is not None:
        codes, texts = unique(table.columns[list_column])
        parsed = _read_lists(table, texts, form)
        if form.label_columns is None:
            _check_columns_match(table, one_hot_columns, parsed.lists, list_column)

    values = CellValues(form.values)
    vocabulary = list(one_hot_columns)
    states = read_one_hot(table, one_hot_columns, values)
    for row, column in np.argwhere(states == BAD_CELL).tolist():
        name = vocabulary[column]
        got = short(table.columns[name][row])
        note("bad_label_cell", row, f"column {name!r}: expected {values.expected}, got {got}")
    targets = np.where(states == BAD_CELL, ABSENT, states).astype(np.uint8)
    issues += metadata_columns(one_hot_columns)

    says_none = np.zeros(len(table.lines), bool)
    if list_column is not None:
        if one_hot_columns:
            _check_names(parsed, vocabulary)
        else:
            vocabulary = sorted({name for labels in parsed.lists for name in labels})
            if parsed.is_delimited:
                is_used = any(form.list_delimiter in text for text in texts)
                issues += unsplit_labels(vocabulary, form.list_delimiter, is_used=is_used)
        listed = multi_hot(parsed.lists, vocabulary)[codes]
        is_bad = np.array([complaint != "" for complaint in parsed.complaints])[codes]
        says_none = np.array(parsed.says_none)[codes]
        for row in np.flatnonzero(is_bad).tolist():
            note("bad_label_cell", row, f"column {list_column!r}: {parsed.complaints[codes[row]]}")
        if one_hot_columns:
            is_unclear = is_bad | (states == BAD_CELL).any(axis=1)
            differs = (targets <= PRESENT) & (listed != targets)  # an unknown cell contradicts nothing
            for row in np.flatnonzero(differs.any(axis=1) & ~is_unclear).tolist():
                said, marked = names(listed[row], vocabulary), names(targets[row], vocabulary)
                note("labels_disagree", row, f"column {list_column!r} says {said}, the one-hot columns say {marked}")
        else:
            targets = listed
    issues += [*null_labels(vocabulary), *similar_labels(vocabulary)]
    for name in none_columns(table, form):
        state, _ = values.states(table.columns[name])
        for row in np.flatnonzero(state == BAD_CELL).tolist():
            got = short(table.columns[name][row])
            note("bad_label_cell", row, f"column {name!r}: expected {values.expected}, got {got}")
        says_none |= state == PRESENT
        for row in np.flatnonzero((state == PRESENT) & (targets == PRESENT).any(axis=1)).tolist():
            found = ", ".join(names(targets[row], vocabulary))
            note(
                "bad_label_cell",
                row,
                f"column {name!r} says that there is no label (data.no_label_names), others {found}",
            )
        # Who says that there is none says it of every label.
        targets[(state == PRESENT)[:, None] & (targets == UNKNOWN)] = ABSENT
    if not (targets == PRESENT).any() and not issues:
        raise no_labels(table)
    return Labels(targets, vocabulary, issues, says_none)


def no_labels(table: TextTable) -> UserError:
    """The error of a table in which no row has a label."""
    return UserError(
        f"{table.path}: no row has a label. Expected a 1 in a one-hot column or a name in the list column. Fill them "
        f"in, or correct data.label_columns and data.list_column in params.yaml."
    )


def without_none(labels: Sequence[str], no_label_names: Sequence[str]) -> list[str]:
    """Leave out the names that say that there is no label.

    Raises
    ------
    ValueError
        If such a name stands beside others.
    """
    left = [name for name in labels if name not in no_label_names]
    if left and len(left) < len(labels):
        none = next(name for name in labels if name in no_label_names)
        raise ValueError(f"says {none!r}, which is no label (data.no_label_names), and also {', '.join(left)}")
    return left


@dataclass
class _Lists:
    """Distinct list cells: their names, what is wrong with each (then it has no names), and if it says "none"."""

    lists: list[list[str]]
    complaints: list[str]
    says_none: list[bool]
    is_delimited: bool  # whether the delimiter decided anywhere what a name is


def _read_lists(table: TextTable, texts: Sequence[str], form: TableForm) -> _Lists:
    if length := vector_length(texts):
        raise UserError(
            f"{table.path}: column {form.list_column!r} holds vectors of {length} numbers 0 and 1, such as "
            f"{short(texts[0])}, which do not say what the labels are called. Write one column per label instead, with "
            f"its name in the header (pandas: `table[names] = table[{form.list_column!r}].tolist()` once the cells are "
            f"lists), and set data.list_column: null in params.yaml."
        )
    parsed = _Lists([], [], [], False)
    for text in texts:
        complaint = ""
        found: list[str] = []
        labels: list[str] = []
        try:
            cell = read_cell(text, form.list_delimiter)
            found = cell.names
            labels = without_none(found, form.no_label_names)
            parsed.is_delimited |= cell.is_delimited
        except ValueError as error:
            complaint = str(error)
        parsed.lists.append(labels)
        parsed.complaints.append(complaint)
        parsed.says_none.append(not complaint and len(found) > len(labels))
    return parsed


def _check_names(parsed: _Lists, vocabulary: Sequence[str]) -> None:
    """Where a list names a label without a column, empty it and complain, in place."""
    known = set(vocabulary)
    hints: dict[str, str] = {}
    for position, labels in enumerate(parsed.lists):
        foreign = [name for name in labels if name not in known]
        for name in foreign:
            if name not in hints:  # a search takes 0.1 ms; a column of titles would have thousands
                hints[name] = nearest(name, vocabulary) if len(hints) < HINTS else ""
        if foreign:
            parsed.lists[position] = []
            parsed.complaints[position] = "; ".join(f"no column for the label {short(n)}{hints[n]}" for n in foreign)


def _quoted(names: Sequence[str], limit: int) -> str:
    return shown([repr(name) for name in names], limit)


def _check_columns_match(
    table: TextTable, one_hot_columns: Sequence[str], lists: Sequence[Sequence[str]], list_column: str
) -> None:
    """Refuse one-hot columns of which none is called like a listed label: they say something else."""
    listed = list(dict.fromkeys(name for labels in lists for name in labels))
    if not one_hot_columns or not listed or not set(listed).isdisjoint(one_hot_columns):
        return
    raise UserError(
        f"{table.path}: column {list_column!r} lists labels ({_quoted(listed, 5)}), and no other column is called like "
        f"one of them. Got the columns {_quoted(one_hot_columns, 10)}. Set data.label_columns: [] in params.yaml, "
        f"which says that they hold no labels; or data.list_column: null, if they are the labels."
    )

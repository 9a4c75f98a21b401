"""Checks across rows: ids that come twice, images with the same bytes, labels that too few rows have."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from posterity.dataset.issues import Issue
from posterity.targets import ABSENT, PRESENT, UInt8Array, is_present


@dataclass(frozen=True)
class RareLabels:
    """What `settle_rare_labels` found.

    Attributes
    ----------
    issues : list of Issue
        ``rare_label`` for every label that is rare and was not known to be, and ``no_label`` for every row that is left
        without a label because its labels are dropped.
    is_dropped : ndarray of bool, shape (num_labels,)
        Which labels are left out.
    """

    issues: list[Issue]
    is_dropped: npt.NDArray[np.bool_]


def settle_rare_labels(
    targets: npt.NDArray[np.uint8],
    lines: Sequence[int],
    ids: Sequence[str],
    label_names: Sequence[str],
    *,
    min_positives: int,
    drop: bool,
    known: Iterable[Issue] = (),
) -> RareLabels:
    """Find the labels that too few rows have, and the rows that lose their last label with them.

    One pass settles it: a row that is left without a label had rare labels only, so that to leave it out as well makes
    no other label rare.

    Parameters
    ----------
    targets : ndarray of uint8, shape (num_rows, num_labels)
        Targets of the rows that are kept so far, see `posterity.targets`.
    lines, ids : sequences of int and of str, one item per row
        Where the row begins in the labels CSV, and its id.
    label_names : sequence of str, length num_labels
        Names of the labels.
    min_positives : int
        Rows that a label needs; a label without a row is always rare.
    drop : bool
        Whether rare labels are left out (``data.on_problem.rare_label: drop``).
    known : iterable of Issue
        Problems found before, so that no ``rare_label`` is listed twice.

    Examples
    --------
    >>> targets = np.array([[1, 0], [1, 0], [0, 1]], np.uint8)
    >>> settled = settle_rare_labels(targets, [2, 3, 4], ["a", "b", "c"], ["cat", "dog"], min_positives=2, drop=True)
    >>> [(issue.kind, issue.line, issue.id) for issue in settled.issues]
    [('rare_label', None, 'dog'), ('no_label', 4, 'c')]
    >>> settled.is_dropped.tolist()
    [False, True]
    """
    present = is_present(targets)
    positives = present.sum(axis=0, dtype=np.int64)
    is_rare = positives < max(min_positives, 1)
    listed = {issue.id for issue in known if issue.kind == "rare_label"}
    issues = [
        _rare_label(label_names[label], int(positives[label]), min_positives)
        for label in np.flatnonzero(is_rare).tolist()
        if label_names[label] not in listed
    ]
    is_dropped = is_rare & drop
    if is_dropped.any():
        left_without = present.any(axis=1) & ~present[:, ~is_dropped].any(axis=1)
        for row in np.flatnonzero(left_without).tolist():
            names = ", ".join(label_names[label] for label in np.flatnonzero(present[row]).tolist())
            issues.append(Issue("no_label", int(lines[row]), ids[row], f"no label is left: {names} dropped as rare"))
    return RareLabels(issues, is_dropped)


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """The rows of a table, to be compared.

    Attributes
    ----------
    lines, ids : sequences of int and of str, one item per row
        Where the row begins in the labels CSV, and its id.
    labels : sequence of str
        The present labels of each row as text, for messages.
    targets : ndarray of uint8, shape (num_rows, num_labels)
        See `posterity.targets`.
    """

    lines: Sequence[int]
    ids: Sequence[str]
    labels: Sequence[str]
    targets: UInt8Array

    def contradict(self, row: int, others: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Which of other rows have a label absent that a row has, or the other way round, bool (len(others),).

        An unknown label contradicts nothing.
        """
        mine, theirs = self.targets[row], self.targets[list(others)]
        clash = ((mine == PRESENT) & (theirs == ABSENT)) | ((mine == ABSENT) & (theirs == PRESENT))
        return np.asarray(clash.any(axis=1))

    def exclude(self, row: int, others: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Which of other rows have a label that is absent in a row, while the row has one that is absent in them."""
        mine, theirs = self.targets[row], self.targets[list(others)]
        lacks = ((mine == PRESENT) & (theirs == ABSENT)).any(axis=1)
        return np.asarray(lacks & ((mine == ABSENT) & (theirs == PRESENT)).any(axis=1))


def duplicate_ids(rows: LabelledRows, issues: Iterable[Issue]) -> list[Issue]:
    """Find rows that share an id.

    Parameters
    ----------
    rows : LabelledRows
        The rows.
    issues : iterable of Issue
        What is known so far: the first row without another problem counts as the original, so that dropping "all but
        the first" does not leave the one that is dropped anyway.

    Returns
    -------
    list of Issue
        ``conflicting_duplicate`` for every row of an id whose labels contradict another's, ``duplicate_id`` for every
        row but the original of an id without such. Rows whose labels are in doubt are not compared.
    """
    issues = list(issues)
    unclear = unclear_rows(issues)
    lines, ids, labels = rows.lines, rows.ids, rows.labels
    found = []
    for group in _groups(ids, lines, issues):
        clear = [row for row in group if lines[row] not in unclear]
        conflicts = _conflicts(clear, rows, rows.contradict)
        for row, other in conflicts.items():
            detail = f"{labels[row]} here, {labels[other]} in line {lines[other]}"
            found.append(Issue("conflicting_duplicate", lines[row], ids[row], detail))
        if not conflicts:
            first, *rest = group
            found += [Issue("duplicate_id", lines[row], ids[row], f"same id as line {lines[first]}") for row in rest]
    return found


def identical_images(
    rows: LabelledRows, paths: Sequence[str], digests: Sequence[str], issues: Iterable[Issue]
) -> list[Issue]:
    """Find rows of different ids that have the same image.

    Parameters
    ----------
    rows : LabelledRows
        The rows.
    paths, digests : sequences of str, one item per row
        Path of the image file and digest of its bytes, empty if there is no image.
    issues : iterable of Issue
        As for `duplicate_ids`.

    Returns
    -------
    list of Issue
        ``conflicting_duplicate`` for rows that name the same file with labels that contradict each other, or whose
        files have the same bytes and of which each has a label that is absent in the other; ``identical_image`` for all
        others but the original's. (Two entries of a catalogue may share a picture, and one may list less.)
    """
    issues = list(issues)
    unclear = unclear_rows(issues)
    lines, ids, labels = rows.lines, rows.ids, rows.labels

    found = []
    for group in _groups(digests, lines, issues):
        clear = [row for row in group if lines[row] not in unclear]
        conflicts = _conflicts(clear, rows, rows.exclude, other_ids=True)
        for file in _groups([paths[row] for row in clear], lines, ()):
            conflicts |= _conflicts([clear[place] for place in file], rows, rows.contradict, other_ids=True)
        for row, other in conflicts.items():
            what = "same file as" if paths[row] == paths[other] else "same bytes as"
            detail = f"{labels[row]} here, {labels[other]} in line {lines[other]}, {what} {ids[other]!r}"
            found.append(Issue("conflicting_duplicate", lines[row], ids[row], detail))
        first, *rest = group
        for row in rest:
            if ids[row] != ids[first] and row not in conflicts:
                differs = "" if labels[row] == labels[first] else f": {labels[row]} here, {labels[first]} there"
                detail = f"same bytes as {ids[first]!r} in line {lines[first]}{differs}"
                found.append(Issue("identical_image", lines[row], ids[row], detail))
    return found


def _conflicts(
    group: Sequence[int],
    rows: LabelledRows,
    clash: Callable[[int, Sequence[int]], npt.NDArray[np.bool_]],
    *,
    other_ids: bool = False,
) -> dict[int, int]:
    """Rows of a group that clash with another of it (of another id), and the first that each clashes with.

    Thousands of rows may share a placeholder picture, so that distinct labels are compared, and not rows.
    """
    by_labels: dict[bytes, list[int]] = defaultdict(list)
    for row in group:
        by_labels[rows.targets[row].tobytes()].append(row)
    firsts = [same[0] for same in by_labels.values()]
    if len(firsts) < 2:
        return {}
    # Two rows of different ids stand for all that have the same labels.
    standing = [
        [same[0], *(row for row in same if rows.ids[row] != rows.ids[same[0]])][:2] for same in by_labels.values()
    ]
    found = {}
    for same in by_labels.values():
        clashing = np.flatnonzero(clash(same[0], firsts)).tolist()
        for row in same:
            others = (other for place in clashing for other in standing[place])
            other = next((other for other in others if not other_ids or rows.ids[other] != rows.ids[row]), None)
            if other is not None:
                found[row] = other
    return {row: found[row] for row in group if row in found}


def unclear_rows(issues: Iterable[Issue]) -> set[int | None]:
    """Rows whose labels are in doubt."""
    return {issue.line for issue in issues if issue.kind in ("bad_label_cell", "labels_disagree")}


def _groups(keys: Sequence[str], lines: Sequence[int], issues: Iterable[Issue]) -> list[list[int]]:
    """Positions of the rows that share a key other than "": those without another problem first, then in order."""
    flawed = {issue.line for issue in issues}
    groups: dict[str, list[int]] = defaultdict(list)
    for position, key in enumerate(keys):
        if key:
            groups[key].append(position)
    return [
        sorted(group, key=lambda position: (lines[position] in flawed, position))
        for group in groups.values()
        if len(group) > 1
    ]


def _rare_label(name: str, positives: int, min_positives: int) -> Issue:
    """The issue of a label that ``positives`` rows carry."""
    rows = "no positive row" if positives == 0 else f"{positives} positive row{'s' if positives > 1 else ''}"
    fewer = "" if min_positives < 1 else f", fewer than data.min_positives = {min_positives}"
    return Issue("rare_label", None, name, rows if positives == 0 else rows + fewer)

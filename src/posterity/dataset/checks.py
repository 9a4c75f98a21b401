"""Checks across rows: ids that come twice, images with the same bytes, labels that too few rows have."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from posterity.dataset.issues import Issue


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
        Multi-hot labels of the rows that are kept so far.
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
    positives = targets.sum(axis=0, dtype=np.int64)
    is_rare = positives < max(min_positives, 1)
    listed = {issue.id for issue in known if issue.kind == "rare_label"}
    issues = [
        _rare_label(label_names[label], int(positives[label]), min_positives)
        for label in np.flatnonzero(is_rare).tolist()
        if label_names[label] not in listed
    ]
    is_dropped = is_rare & drop
    if is_dropped.any():
        left_without = targets.any(axis=1) & ~targets[:, ~is_dropped].any(axis=1)
        for row in np.flatnonzero(left_without).tolist():
            names = ", ".join(label_names[label] for label in np.flatnonzero(targets[row]).tolist())
            issues.append(Issue("no_label", int(lines[row]), ids[row], f"no label is left: {names} dropped as rare"))
    return RareLabels(issues, is_dropped)


def duplicate_ids(
    lines: Sequence[int], ids: Sequence[str], labels: Sequence[str], issues: Iterable[Issue]
) -> list[Issue]:
    """Find rows that share an id.

    Parameters
    ----------
    lines, ids, labels : sequences, one item per row
        ``labels`` is any text that is the same for the same labels.
    issues : iterable of Issue
        What is known so far: the first row without another problem counts as the original, so that dropping "all but
        the first" does not leave the one that is dropped anyway.

    Returns
    -------
    list of Issue
        ``conflicting_duplicate`` for every row of an id whose labels differ, ``duplicate_id`` for every row but the
        original of any other id. Rows whose labels are in doubt are not compared.
    """
    issues = list(issues)
    unclear = unclear_rows(issues)
    found = []
    for group in _groups(ids, lines, issues):
        clear = [row for row in group if lines[row] not in unclear]
        if len({labels[row] for row in clear}) > 1:
            for row in clear:
                other = next(other for other in clear if labels[other] != labels[row])
                detail = f"{labels[row]} here, {labels[other]} in line {lines[other]}"
                found.append(Issue("conflicting_duplicate", lines[row], ids[row], detail))
        else:
            first, *rest = group
            found += [Issue("duplicate_id", lines[row], ids[row], f"same id as line {lines[first]}") for row in rest]
    return found


def identical_images(
    lines: Sequence[int], ids: Sequence[str], labels: Sequence[str], digests: Sequence[str], issues: Iterable[Issue]
) -> list[Issue]:
    """Find rows whose image has the bytes of another id's image: ``identical_image`` for all but the original's.

    Parameters are those of `duplicate_ids`, and ``digests``: one text per row, empty if there is no image.
    """
    found = []
    for first, *rest in _groups(digests, lines, issues):
        for row in rest:
            if ids[row] != ids[first]:
                differs = "" if labels[row] == labels[first] else f": {labels[row]} here, {labels[first]} there"
                detail = f"same bytes as {ids[first]!r} in line {lines[first]}{differs}"
                found.append(Issue("identical_image", lines[row], ids[row], detail))
    return found


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

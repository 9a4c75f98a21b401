"""Checks across rows: ids that come twice, images with the same bytes, labels that too few rows have."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from posterity.dataset.issues import Issue


def newly_rare_labels(
    targets: npt.NDArray[np.uint8], label_names: Sequence[str], min_positives: int, issues: Iterable[Issue]
) -> list[Issue]:
    """Labels that are rare among the rows of ``targets`` (N, L) and that ``issues`` does not call so yet."""
    known = {issue.id for issue in issues if issue.kind == "rare_label"}
    return [
        _rare_label(name, positives, min_positives)
        for name, positives in zip(label_names, targets.sum(axis=0, dtype=int).tolist(), strict=True)
        if positives < max(min_positives, 1) and name not in known
    ]


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
    return {issue.row for issue in issues if issue.kind in ("bad_label_cell", "labels_disagree")}


def _groups(keys: Sequence[str], lines: Sequence[int], issues: Iterable[Issue]) -> list[list[int]]:
    """Positions of the rows that share a key other than "": those without another problem first, then in order."""
    flawed = {issue.row for issue in issues}
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

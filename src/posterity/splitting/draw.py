"""The test side and the validation side drawn from the rows that would train, or the message that says why not."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from posterity import choices
from posterity.errors import UserError
from posterity.splitting.assign import assign
from posterity.splitting.exact_count import BoolArray, IntArray
from posterity.splitting.options import SplitOptions
from posterity.splitting.split_file import TEST, TRAIN, VALIDATION, SideArray

# Different images that a side needs. Two validate: thresholds that one of them chooses are judged on the other.
LEAST_GROUPS: dict[choices.Side, int] = {TRAIN: 1, VALIDATION: 2, TEST: 1}
_SAME = "rows with the same id, image bytes, look or group count as one"


def draw(
    ids: Sequence[str],
    groups: IntArray,
    options: SplitOptions,
    *,
    seed: int,
    labels: npt.NDArray[np.uint8] | None = None,
    given: SideArray | None = None,
) -> SideArray:
    """Draw the test side and then the validation side from the training rows, unless they have rows already.

    Fractions are shares of the rows that would train if nothing was drawn. The test rows have the highest ranks and the
    validation rows the lowest (`posterity.splitting.assign.assign`). So the test side is the same for every
    ``validation_fraction``, and a test side that is added later takes none of the rows that have validated until then
    and have had a part in choices. Stratified sides are drawn in the same order: the test side is the same for every
    ``validation_fraction``, but a test side that is added changes the validation side.

    Parameters
    ----------
    ids, groups, seed, labels
        As in `posterity.splitting.assign.assign`.
    options : SplitOptions
        Its fractions.
    given : ndarray of str, shape (N,), or None
        Sides that are settled; None = all rows train so far.

    Returns
    -------
    ndarray of str, shape (N,)
        ``given``, with test and validation rows in the place of some training rows.

    Raises
    ------
    UserError
        If a side would get no row, or validation only copies of one image.

    Examples
    --------
    >>> ids = [f"image{k}" for k in range(10)]
    >>> without = draw(ids, np.arange(10), SplitOptions(validation_fraction=0.2), seed=42)
    >>> sides = draw(ids, np.arange(10), SplitOptions(validation_fraction=0.2, test_fraction=0.3), seed=42)
    >>> int((sides == "test").sum()), bool(((sides == "validation") == (without == "validation")).all())
    (3, True)
    """
    sides = np.full(len(ids), TRAIN, dtype="<U10") if given is None else given.astype("<U10")
    num_rows = int((sides == TRAIN).sum())
    if not num_rows:
        raise UserError(
            f"params.yaml: split.side_column needs rows to train on. Column {options.side_column!r} has none. Correct "
            "split.sides, which says what its texts mean."
        )
    fractions: dict[choices.Side, float] = {TEST: options.test_fraction, VALIDATION: options.validation_fraction}
    waiting = [side for side, fraction in fractions.items() if fraction and not (sides == side).any()]
    while waiting:
        side = waiting.pop(0)
        pool = np.flatnonzero(sides == TRAIN)
        chosen = _draw_side(
            side,
            fractions[side],
            num_rows,
            [ids[row] for row in pool.tolist()],
            groups[pool],
            seed=seed,
            labels=None if labels is None else labels[pool],
            others=[*waiting, TRAIN],
        )
        sides[pool[chosen]] = side
    if len(np.unique(groups[sides == VALIDATION])) < LEAST_GROUPS[VALIDATION]:  # it was given
        raise UserError(
            f"params.yaml: split.side_column needs at least 2 different images to validate on ({_SAME}): thresholds "
            f"that one chooses are judged on the other. Column {options.side_column!r} has 1. Add rows, or map its "
            "texts to another side in split.sides: without validation rows, split.validation_fraction draws them."
        )
    return sides


def _draw_side(
    side: choices.Side,
    fraction: float,
    num_rows: int,
    ids: Sequence[str],
    groups: IntArray,
    *,
    seed: int,
    labels: npt.NDArray[np.uint8] | None,
    others: Sequence[choices.Side],
) -> BoolArray:
    """Choose the rows of ``side``: ``fraction * num_rows`` of the ``ids``, so that enough is left for ``others``."""
    least, left = LEAST_GROUPS[side], sum(LEAST_GROUPS[other] for other in others)
    sizes = np.sort(np.unique(groups, return_counts=True)[1])
    wanted = ", ".join(f"{LEAST_GROUPS[name]} for {name}" for name in (side, *others))
    place = f"params.yaml: split.{side}_fraction"
    if len(sizes) < least + left:
        raise UserError(
            f"{place} needs at least {least + left} different images: {wanted} ({_SAME}). Got {len(sizes)} in "
            f"{len(ids)} row{'s' * (len(ids) != 1)}, for which no value works (it is {fraction:g}). Add rows to the "
            "data."
        )
    target, found = round(fraction * num_rows), 0
    if 0 < target < len(ids):
        share = fraction if num_rows == len(ids) else target / len(ids)
        chosen = assign(ids, groups, fraction=share, seed=seed, labels=labels, from_end=side == TEST)
        found = len(np.unique(groups[chosen]))
        if least <= found <= len(sizes) - left:
            return chosen
    # Whole groups, so that any count between these two leaves enough on either side, whichever groups make it up.
    low, high = _rows_of(sizes, least), len(ids) - _rows_of(sizes, left)
    made = f" and {found} of {len(sizes)} different images" if found else ""
    raise UserError(
        f"{place} must leave enough different images on each side: {wanted} ({_SAME}). Got {fraction:g}, which makes "
        f"{target} of {num_rows} rows{made}. {_values(low, high, num_rows)}"
    )


def _rows_of(sizes: IntArray, count: int) -> int:
    """The least number of rows that can be made up of whole groups, and not of fewer than ``count`` of them.

    ``sizes`` ascend. No ``count - 1`` groups have more rows than the largest ones.
    """
    largest = sizes[len(sizes) - (count - 1) :]
    return int(largest.sum() + sizes[0])


def _values(low: int, high: int, num_rows: int) -> str:
    """The sentence that offers the fractions from ``low`` to ``high`` rows, in digits that read well and still work."""
    digits = 1 - math.floor(math.log10(1 / num_rows))
    smallest = math.ceil(10**digits * low / num_rows) / 10**digits
    greatest = math.floor(10**digits * high / num_rows) / 10**digits
    if greatest <= smallest:
        return f"Use {smallest:.{digits}f}."
    return f"Use a value from {smallest:.{digits}f} to {greatest:.{digits}f}."

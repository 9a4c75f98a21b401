"""Whole groups that make up a number of rows: the first ones, or those that a choice has to change the least for it."""

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


def fill(sizes: IntArray, target: int) -> BoolArray:
    """Take the groups in order, passing over those that would overflow ``target``: (G,)."""
    chosen = np.zeros(len(sizes), dtype=bool)
    room = target
    for group, size in enumerate(sizes.tolist()):
        if size <= room:
            chosen[group] = True
            room -= size
    return chosen


def to_exact_count(chosen: BoolArray, sizes: IntArray, target: int, label_rows: IntArray | None) -> BoolArray:
    """Move as few groups as it takes for the chosen ones to hold ``target`` rows, or the nearest possible number.

    Parameters
    ----------
    chosen : ndarray of bool, shape (G,)
        Validation groups so far.
    sizes : ndarray of int, shape (G,)
        Rows per group.
    target : int
        Rows wanted, in [1, N - 1].
    label_rows : ndarray of int, shape (G, L), or None
        Rows per group and label: move what keeps these in proportion. None: lowest groups in, highest out.
    """
    chosen = chosen.copy()
    class_sizes = np.unique(sizes).tolist()
    available = [int(np.sum(sizes == size)) for size in class_sizes]
    taken = [int(np.sum(chosen[sizes == size])) for size in class_sizes]
    wanted = _groups_per_size(class_sizes, available, taken, target)
    share = sum(size * count for size, count in zip(class_sizes, wanted, strict=True)) / int(sizes.sum())
    for size, now, goal in zip(class_sizes, taken, wanted, strict=True):
        incoming = goal > now
        for _ in range(abs(goal - now)):
            candidates = np.flatnonzero((sizes == size) & (chosen != incoming))
            if label_rows is None:
                group = candidates[0 if incoming else -1]
            else:
                change = label_rows[candidates] if incoming else -label_rows[candidates]
                expected = share * label_rows.sum(axis=0)
                deviations = label_rows[chosen].sum(axis=0) + change - expected
                # A label without a row deviates by 0 whatever is moved: any divisor but 0 will do.
                costs = (deviations**2 / np.where(expected > 0, expected, 1)).sum(axis=1)
                group = candidates[np.argmin(costs)]
            chosen[group] = incoming
    return chosen


def _groups_per_size(sizes: list[int], available: list[int], taken: list[int], target: int) -> list[int]:
    """How many groups of each size to take for the number of rows nearest to ``target``: a bounded subset sum.

    ``sizes`` ascend; of the ways to reach the count, the one that keeps the numbers ``taken`` for the large groups is
    returned, so that the groups of one row make up the difference where there are any.
    """
    # Bit n of sums[i] says whether n rows can be made of groups of the first i sizes.
    sums = [1]
    for size, copies in zip(sizes, available, strict=True):
        reachable, step = sums[-1], 1
        while copies > 0:  # 1, 2, 4, ... copies at once make every number of copies
            reachable |= reachable << min(step, copies) * size
            copies, step = copies - step, 2 * step
        sums.append(reachable)
    num_rows = sum(size * copies for size, copies in zip(sizes, available, strict=True))
    offsets = (sign * distance for distance in range(num_rows) for sign in (-1, 1))
    rows_left = next(
        target + offset for offset in offsets if 0 < target + offset < num_rows and sums[-1] >> target + offset & 1
    )
    wanted = [0] * len(sizes)
    for index in reversed(range(len(sizes))):
        for count in sorted(range(available[index] + 1), key=lambda count: abs(count - taken[index])):
            rest = rows_left - count * sizes[index]
            if rest >= 0 and sums[index] >> rest & 1:
                wanted[index], rows_left = count, rest
                break
    return wanted

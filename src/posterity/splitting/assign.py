"""One side drawn from some rows, without leaks: copies of an image stay together, and the count is exact."""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from posterity.errors import UserError
from posterity.splitting.exact_count import BoolArray, IntArray, fill, to_exact_count
from posterity.targets import is_present

_KEY = "params.yaml: split.validation_fraction"


def assign(
    ids: Sequence[str],
    groups: npt.ArrayLike,
    *,
    fraction: float = 0.1,
    seed: int = 42,
    labels: npt.NDArray[np.uint8] | None = None,
    from_end: bool = False,
) -> BoolArray:
    """Choose the validation rows: whole groups, ``round(fraction * N)`` rows (a half goes to the even number).

    If no set of whole groups has that many rows, the nearest count that one has is taken (of two equally near, the
    lower); while groups of one row are left to fill up with, the count is exact.

    Every group has a rank, the lowest SHA-256 of ``"{seed}:{id}"`` over its ids, and the groups of lowest rank are
    validation; one that would overflow the count is passed over. The rank depends on nothing but seed and ids, so the
    order of the rows does not matter, and when rows are added the old ones keep their side as far as the exact count
    allows. Of k rows added, ``fraction * k`` give or take ``sqrt(k * fraction * (1 - fraction))`` rank among the
    validation rows; that difference (9 for 1,000 rows at 0.1) is the number of old rows that cross, apart from a few
    where large groups are passed over or a new row joins two old groups.

    With ``labels``, the groups are stratified instead, by iterative stratification [1] of the labels that any row of
    the group has; single groups are then moved to reach the count, each time the one that leaves the label counts
    nearest to their expectation (chi-squared). That too is independent of the order of the rows, but *not* stable
    when rows are added: each choice depends on all the labels.

    Parameters
    ----------
    ids : sequence of str, length N
        Row ids; the same id may occur more than once, within one group.
    groups : array-like of int, shape (N,)
        Group of every row, as `posterity.splitting.groups.group_rows` makes them.
    fraction : float
        Share of the rows to validate on, in (0, 1).
    seed : int
        A different seed makes a different split.
    labels : ndarray of uint8, shape (N, L), or None
        Multi-hot labels to stratify by, of which an unknown one counts as absent; None (or L = 0) for the ranked split.
    from_end : bool
        Take the groups of highest rank instead. Two sides that are drawn from the two ends do not get in each other's
        way: neither changes with the size of the other.

    Returns
    -------
    ndarray of bool, shape (N,)
        True = validation.

    Raises
    ------
    UserError
        If there are fewer than two rows, or one group only, or ``fraction`` leaves a side without a row.
    ValueError
        If the lengths differ, or the rows of one id lie in several groups.

    Examples
    --------
    Two of ten rows validate; the copies, rows 0 and 9, stay together.

    >>> from posterity.splitting.groups import group_rows
    >>> ids = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "a"]
    >>> is_validation = assign(ids, group_rows(ids, ids), fraction=0.2, seed=42)
    >>> int(is_validation.sum()), bool(is_validation[0] == is_validation[9])
    (2, True)

    References
    ----------
    [1] Sechidis, Tsoumakas & Vlahavas (2011), On the Stratification of Multi-Label Data, ECML PKDD.
    """
    numbers = np.asarray(groups)
    if numbers.shape != (len(ids),) or (labels is not None and (labels.ndim != 2 or len(labels) != len(ids))):
        shape = None if labels is None else labels.shape
        raise ValueError(f"{len(ids)} ids, groups of shape {numbers.shape} and labels of shape {shape} do not match")
    group_of_row = _rank_groups(ids, numbers, seed)
    if from_end:
        group_of_row = group_of_row.max(initial=0) - group_of_row
    sizes = np.bincount(group_of_row)
    target = _target(fraction, len(ids), len(sizes))
    if labels is None or labels.shape[1] == 0:
        chosen = fill(sizes, target)
        preference = None
    else:
        preference = np.zeros((len(sizes), labels.shape[1]), dtype=np.int64)
        np.add.at(preference, group_of_row, is_present(labels))
        chosen = _stratify(preference > 0, fraction, seed)
    return to_exact_count(chosen, sizes, target, preference)[group_of_row]


def _rank_groups(ids: Sequence[str], groups: npt.NDArray[np.int64], seed: int) -> IntArray:
    """Renumber the groups by rank: (N,), 0 = the group with the lowest hash."""
    group_of_id: dict[str, int] = {}
    ranks: dict[int, bytes] = {}
    for row_id, group in zip(ids, groups.tolist(), strict=True):
        if group_of_id.setdefault(row_id, group) != group:
            raise ValueError(f"id {row_id!r} lies in several groups; make the groups with group_rows")
        rank = hashlib.sha256(f"{seed}:{row_id}".encode()).digest()
        ranks[group] = min(rank, ranks.get(group, rank))
    position = {group: index for index, group in enumerate(sorted(ranks, key=lambda group: ranks[group]))}
    return np.array([position[group] for group in groups.tolist()], dtype=np.int64)


def _target(fraction: float, num_rows: int, num_groups: int) -> int:
    """Number of validation rows, or the `UserError` that says why there is none."""
    if num_rows < 2:
        raise UserError(
            f"{_KEY} needs at least 2 rows, one for each side. Got {num_rows} row(s), for which no value works "
            f"(it is {fraction:g}). Add rows to the data."
        )
    if num_groups < 2:
        raise UserError(
            f"{_KEY} needs at least 2 different images. Got {num_rows} rows that are all copies of one another (same "
            "id, same image bytes or same group) and must stay on one side, for which no value works (it is "
            f"{fraction:g}). Add rows to the data."
        )
    target = round(fraction * num_rows) if math.isfinite(fraction) else -1
    if 0 < target < num_rows:
        return target
    # 1/N, rounded up to two digits so that it reads well and still makes one row.
    digits = 1 - math.floor(math.log10(1 / num_rows))
    smallest = math.ceil(10**digits / num_rows) / 10**digits
    side = "training" if target >= num_rows else "validation"
    raise UserError(
        f"{_KEY} must leave at least one row on each side. Got {fraction:g}, which leaves no {side} row out of "
        f"{num_rows}. Use a value from {smallest:.{digits}f} to {1 - smallest:.{digits}f}."
    )


def _stratify(group_labels: BoolArray, fraction: float, seed: int) -> BoolArray:
    """Iterative stratification of the groups, (G, L) -> (G,): about ``fraction`` of them, labels in proportion."""
    # Imported here: scikit-learn takes a second to load, and the ranked split does not need it.
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    if group_labels.shape[1] == 1:
        # The library takes one column for a binary problem and refuses it; an empty second one changes nothing.
        group_labels = np.hstack([group_labels, np.zeros_like(group_labels)])
    num_groups = len(group_labels)
    test_size = min(max(round(fraction * num_groups), 1), num_groups - 1)
    # An integer random_state makes a private generator: NumPy's global one is neither read nor advanced. The modulus
    # is there because it takes 32 bits only.
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=test_size, random_state=seed % 2**32)
    _, validation = next(splitter.split(np.zeros(num_groups), group_labels))
    chosen = np.zeros(num_groups, dtype=bool)
    chosen[validation] = True
    return chosen

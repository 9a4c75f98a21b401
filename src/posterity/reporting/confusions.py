"""Which labels are decided in the place of which others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posterity.evaluation.scored_rows import BoolArray, ScoredRows


@dataclass(frozen=True)
class Confusion:
    """``count`` rows have label ``true``, which was missed, and were given ``instead``, which they do not have."""

    true: int
    instead: int
    count: int
    missed: int

    @property
    def share(self) -> float:
        """Share of the rows where ``true`` was missed."""
        return self.count / self.missed


def confusions(rows: ScoredRows, decided: BoolArray, *, most: int) -> list[Confusion]:
    """Pairs of a missed label and a wrong one on the same rows, the most frequent first.

    Parameters
    ----------
    rows : ScoredRows of N rows and L labels
        Labels; unknown cells are neither missed nor wrong.
    decided : ndarray of bool, shape (N, L)
        Decided labels.
    most : int
        No more pairs than these; none that occurs once.

    Examples
    --------
    Both rows have the first label and were given the second one instead.

    >>> rows = ScoredRows(np.array([[True, False], [True, False]]), np.zeros((2, 2)))
    >>> confusions(rows, np.array([[False, True], [False, True]]), most=5)
    [Confusion(true=0, instead=1, count=2, missed=2)]
    """
    missed = rows.truth & ~decided
    wrong = rows.only_known(decided & ~rows.truth)
    counts = missed.astype(np.int64).T @ wrong.astype(np.int64)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs: Sequence[tuple[int, int]] = [divmod(int(place), rows.num_labels) for place in order]
    return [
        Confusion(true, instead, int(counts[true, instead]), int(missed[:, true].sum()))
        for true, instead in pairs
        if counts[true, instead] > 1
    ]

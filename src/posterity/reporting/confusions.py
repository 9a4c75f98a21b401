"""Which labels are decided in the place of which others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posterity.evaluation.scored_rows import BoolArray, FloatArray, ScoredRows


@dataclass(frozen=True)
class Confusion:
    """``count`` rows have label ``true``, which was missed, and were given ``instead``, which they do not have.

    ``possible`` is how many it could be: missed rows that are known not to have ``instead``.
    """

    true: int
    instead: int
    count: int
    possible: int

    @property
    def share(self) -> float:
        """Share of the rows where it could be."""
        return self.count / self.possible


@dataclass(frozen=True)
class Missed:
    """What is decided where a label is missed.

    Attributes
    ----------
    missed, support : int
        Rows where the label is missed, of the rows that have it.
    instead : list of Confusion
        Wrong labels that are decided there, the most frequent first.
    usual : list of float
        For each of them, the share of all rows without it on which it is decided: to compare `Confusion.share` with.
    nothing : int
        Missed rows where no wrong label is decided.
    """

    missed: int
    support: int
    instead: list[Confusion]
    usual: list[float]
    nothing: int


def usual(rows: ScoredRows, decided: BoolArray) -> FloatArray:
    """Share of the rows without each label on which it is decided, (L,); rows and decided labels as in `confusions`."""
    absent = rows.only_known(~rows.truth)
    return np.asarray((absent & decided).sum(axis=0) / np.maximum(absent.sum(axis=0), 1))


def missed(rows: ScoredRows, decided: BoolArray, label: int, *, most: int = 3) -> Missed:
    """Say what is decided where ``label`` is missed; rows and decided labels as in `confusions`.

    Examples
    --------
    The first label is missed on the first row, where the second one is decided, which no other row is given.

    >>> rows = ScoredRows(np.array([[True, False], [True, False]]), np.zeros((2, 2)))
    >>> found = missed(rows, np.array([[False, True], [True, False]]), 0)
    >>> found.missed, found.support, found.instead[0].instead, found.usual, found.nothing
    (1, 2, 1, [0.5], 0)
    """
    here = rows.truth[:, label] & ~decided[:, label]
    wrong, absent = rows.only_known(decided & ~rows.truth), rows.only_known(~rows.truth)
    often = usual(rows, decided)
    counts, possible = wrong[here].sum(axis=0), absent[here].sum(axis=0)
    order = [int(other) for other in np.argsort(-counts, kind="stable")[:most] if counts[other]]
    return Missed(
        int(here.sum()),
        int(rows.truth[:, label].sum()),
        [Confusion(label, other, int(counts[other]), int(possible[other])) for other in order],
        [float(often[other]) for other in order],
        int((here & ~wrong.any(axis=1)).sum()),
    )


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
    [Confusion(true=0, instead=1, count=2, possible=2)]
    """
    missed = rows.truth & ~decided
    wrong = rows.only_known(decided & ~rows.truth)
    counts = missed.astype(np.int64).T @ wrong.astype(np.int64)
    possible = missed.astype(np.int64).T @ rows.only_known(~rows.truth).astype(np.int64)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs: Sequence[tuple[int, int]] = [divmod(int(place), rows.num_labels) for place in order]
    return [
        Confusion(true, instead, int(counts[true, instead]), int(possible[true, instead]))
        for true, instead in pairs
        if counts[true, instead] > 1
    ]

"""Labels and scores of the same rows, checked once and then passed on.

The functions of `posterity.evaluation` take plain arrays (`metrics.evaluate(y_true, y_score, ...)`) and check them.
Each has a twin whose name ends in `_checked`, which takes a `ScoredRows` and does the work. Whoever computes several
figures of the same arrays calls `checked` once and then the twins.

A cell that nobody knows (`posterity.targets.UNKNOWN`) is left out of every figure and of every choice. A label then has
fewer rows, and a row fewer labels; each function says what that means for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from posterity.targets import ABSENT, PRESENT, UNKNOWN

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

EPSILON = 1e-7  # Keras clips probabilities to [1e-7, 1 - 1e-7]; the same here, so that the losses agree


@dataclass(frozen=True)
class ScoredRows:
    """Labels and scores of N rows and L labels. `checked` makes it from arrays of unknown origin.

    Attributes
    ----------
    truth : ndarray of bool, shape (N, L)
        Which labels each row is known to have.
    scores : ndarray of float64 in [0, 1], shape (N, L)
        Score of every label on every row.
    known : ndarray of bool, shape (N, L), or None
        Which cells say something; None if all do. Where it is false, ``truth`` is false, too, and means nothing.
    """

    truth: BoolArray
    scores: FloatArray
    known: BoolArray | None = None

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def num_labels(self) -> int:
        """L, the number of columns."""
        return int(self.truth.shape[1])

    @property
    def scored_labels(self) -> BoolArray:
        """Which labels have a positive and a negative row, (L,): only those have an average precision and an AUC."""
        return np.asarray(self.truth.any(axis=0) & self._absent.any(axis=0))

    @property
    def judged_rows(self) -> BoolArray:
        """Which rows have a known cell, (N,): only those can be right or wrong."""
        return np.ones(len(self), dtype=bool) if self.known is None else np.asarray(self.known.any(axis=1))

    def column(self, label: int) -> tuple[BoolArray, FloatArray]:
        """Truth and scores of one label on the rows where it is known, (n,) each."""
        return _known_cells(
            self.truth[:, label], self.scores[:, label], None if self.known is None else self.known[:, label]
        )

    def of_label(self, label: int) -> "ScoredRows":
        """The rows with one label alone, (N, 1)."""
        known = None if self.known is None else self.known[:, [label]]
        return ScoredRows(self.truth[:, [label]], self.scores[:, [label]], known)

    def columns(self) -> Iterator[tuple[BoolArray, FloatArray]]:
        """What `column` returns, for one label after the other."""
        return (self.column(label) for label in range(self.num_labels))

    def cells(self) -> tuple[BoolArray, FloatArray]:
        """Truth and scores of all known cells, row after row, (n,) each."""
        return _known_cells(self.truth.ravel(), self.scores.ravel(), None if self.known is None else self.known.ravel())

    def only_known(self, answers: BoolArray) -> BoolArray:
        """``answers``, (N, L), where they can be right or wrong, and false in unknown cells."""
        return answers if self.known is None else answers & self.known

    def subset(self, rows: BoolArray) -> "ScoredRows":
        """The rows where ``rows``, (N,), is true."""
        return ScoredRows(self.truth[rows], self.scores[rows], None if self.known is None else self.known[rows])

    def joined(self, others: "ScoredRows | None") -> "ScoredRows":
        """These rows, and ``others`` with the same labels after them; None = no others."""
        if others is None:
            return self
        truth = np.concatenate([self.truth, others.truth])
        scores = np.concatenate([self.scores, others.scores])
        if self.known is None and others.known is None:
            return ScoredRows(truth, scores)
        known = [np.ones_like(rows.truth) if rows.known is None else rows.known for rows in (self, others)]
        return ScoredRows(truth, scores, np.concatenate(known))

    def with_scores(self, scores: FloatArray) -> "ScoredRows":
        """The same rows with other scores, which must be of the same shape and in [0, 1]: they are not checked."""
        return ScoredRows(self.truth, scores, self.known)

    @property
    def _absent(self) -> BoolArray:
        return ~self.truth if self.known is None else self.known & ~self.truth


def checked(y_true: npt.ArrayLike, y_score: npt.ArrayLike, label_names: Sequence[str] | None = None) -> ScoredRows:
    """Check labels and scores, and convert them to bool and float64.

    Parameters
    ----------
    y_true : array-like of 0, 1 and 2, shape (N, L)
        Multi-hot labels; 2 = unknown.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.
    label_names : sequence of str, optional
        If given, there must be one name for each of the L columns.

    Raises
    ------
    ValueError
        If shapes do not match, there is no known cell, or a value is out of range.

    Examples
    --------
    >>> rows = checked([[1, 0], [1, 1], [1, 0]], [[0.9, 0.2], [0.4, 0.6], [0.8, 0.1]])
    >>> rows.scored_labels  # every row has the first label
    array([False,  True])
    >>> checked([[1, 2], [1, 1]], [[0.9, 0.2], [0.4, 0.6]]).column(1)  # the first row is left out
    (array([ True]), array([0.6]))
    """
    truth, scores = np.asarray(y_true), np.asarray(y_score, dtype=np.float64)
    if truth.ndim != 2 or truth.size == 0:
        raise ValueError(f"y_true must have shape (num_rows, num_labels), both at least 1. Got {truth.shape}")
    if scores.shape != truth.shape:
        raise ValueError(f"y_score must have the shape of y_true, {truth.shape}. Got {scores.shape}")
    if label_names is not None and len(label_names) != truth.shape[1]:
        raise ValueError(f"label_names must name the {truth.shape[1]} columns of y_true. Got {len(label_names)} names")
    wrong = truth[~np.isin(truth, (ABSENT, PRESENT, UNKNOWN))]
    if wrong.size:
        raise ValueError(f"y_true must be 0, 1 or 2 (unknown) in every cell. Got {wrong[0]}")
    _check_unit_interval("y_score", scores)
    known = truth != UNKNOWN
    if not known.any():
        raise ValueError(f"y_true must be 0 or 1 in at least one cell. Got 2 (unknown) in all {truth.size}")
    return ScoredRows(truth == PRESENT, scores, None if known.all() else known)


def checked_frequencies(train_frequencies: npt.ArrayLike, num_labels: int) -> FloatArray:
    """Return ``train_frequencies`` as float64 (num_labels,); a ValueError says what is wrong with them."""
    frequencies = np.asarray(train_frequencies, dtype=np.float64)
    if frequencies.shape != (num_labels,):
        raise ValueError(f"train_frequencies must have shape ({num_labels},). Got {frequencies.shape}")
    _check_unit_interval("train_frequencies", frequencies)
    return frequencies


def _known_cells(truth: BoolArray, scores: FloatArray, known: BoolArray | None) -> tuple[BoolArray, FloatArray]:
    return (truth, scores) if known is None else (truth[known], scores[known])


def _check_unit_interval(name: str, values: FloatArray) -> None:
    wrong = values[~((values >= 0) & (values <= 1))]  # written so that NaN is wrong, too
    if wrong.size:
        raise ValueError(f"{name} must be finite and lie in [0, 1]. Got {wrong[0]} ({wrong.size} such values)")

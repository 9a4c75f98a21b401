"""The figures of every label for the table of the report, and what they allow to say of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn import metrics

from posterity.evaluation.bootstrap import label_intervals
from posterity.evaluation.scored_rows import BoolArray, FloatArray, IntArray, ScoredRows
from posterity.reporting.figures import FEW_ROWS

ERROR_RATE = 0.05  # of calling any label better than chance that is not


@dataclass(frozen=True)
class LabelFigures:
    """What the validation rows say of one label.

    Attributes
    ----------
    name : str
        The label.
    column : int
        Its place among the labels.
    support, known : int
        Rows that have it, and rows where that is known.
    average_precision, low, high, roc_auc : float or None
        Average precision with its 95 % interval, area under the ROC curve; None where no row has the label or none is
        without it.
    prior : float
        Share of the known rows that have it, which is the average precision of constant scores.
    is_above_chance : bool or None
        Whether rows that have the label score higher than the others by more than chance explains, see `all_labels`;
        None likewise.
    decided, right : int
        Known rows where the label is decided, and those of them that have it.
    threshold : float
        From which calibrated score the model decides on it.
    mean_score : float
        Mean score of the known rows; like ``prior`` if the scores are right on the whole.
    """

    name: str
    column: int
    support: int
    known: int
    average_precision: float | None
    low: float | None
    high: float | None
    prior: float
    roc_auc: float | None
    is_above_chance: bool | None
    decided: int
    right: int
    threshold: float
    mean_score: float

    @property
    def precision(self) -> float:
        """Share of the decided rows that have the label."""
        return self.right / max(1, self.decided)

    @property
    def recall(self) -> float:
        """Share of the rows that have the label on which it is decided."""
        return self.right / max(1, self.support)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.right / max(1, self.decided + self.support)

    @property
    def lift(self) -> float:
        """By how much the average precision exceeds that of constant scores; 0 if it is not known."""
        return 0.0 if self.average_precision is None else self.average_precision - self.prior

    @property
    def trust(self) -> str:
        """Whether the label is told apart better than by chance, in a few words."""
        if self.is_above_chance is None:
            return "cannot be judged"
        if not self.is_above_chance:
            return "not shown"
        return "yes, few rows" if self.support < FEW_ROWS else "yes"


def all_labels(
    rows: ScoredRows,
    decided: BoolArray,
    thresholds: Sequence[float],
    names: Sequence[str],
    *,
    groups: IntArray,
    num_samples: int,
    seed: int,
) -> list[LabelFigures]:
    """Compute the figures of every label, in the order of ``names``.

    Whether a label is above chance is asked by the one-sided rank test of Mann & Whitney (1947), at a level of
    `ERROR_RATE` divided by the number of labels that can be judged (Bonferroni). Its intervals of the average precision
    are too wide for that question where few rows have a label.

    Parameters
    ----------
    rows : ScoredRows of N rows and L labels
        Validation rows with the network's own scores.
    decided : ndarray of bool, shape (N, L)
        What is decided by thresholds that the row had no part in.
    thresholds : sequence of float, length L
        Of the finished model.
    names : sequence of str, length L
        Names of the labels.
    groups : ndarray of int64, shape (N,)
        Copies of an image, which are drawn together.
    num_samples, seed : int
        Resamples for the intervals, and their seed.
    """
    intervals = label_intervals(rows, num_samples=num_samples, seed=seed, groups=groups)
    level = ERROR_RATE / max(1, int(rows.scored_labels.sum()))
    found = []
    for column, name in enumerate(names):
        truth, score = rows.column(column)
        known = slice(None) if rows.known is None else rows.known[:, column]
        answer = decided[known, column]
        is_scored = bool(rows.scored_labels[column])
        low, high = (None, None) if not is_scored else (float(value) for value in intervals[:, column])
        found.append(
            LabelFigures(
                name=name,
                column=column,
                support=int(truth.sum()),
                known=len(truth),
                average_precision=float(metrics.average_precision_score(truth, score)) if is_scored else None,
                low=low,
                high=high,
                prior=_share(truth),
                roc_auc=float(metrics.roc_auc_score(truth, score)) if is_scored else None,
                is_above_chance=_is_above_chance(truth, score, level) if is_scored else None,
                decided=int(answer.sum()),
                right=int((truth & answer).sum()),
                threshold=float(thresholds[column]),
                mean_score=_share(score),
            )
        )
    return found


def worst_first(labels: Sequence[LabelFigures]) -> list[LabelFigures]:
    """The labels that can be judged, the one with the least gain over constant scores first."""
    return sorted((label for label in labels if label.average_precision is not None), key=lambda label: label.lift)


def _is_above_chance(truth: BoolArray, score: FloatArray, level: float) -> bool:
    found = stats.mannwhitneyu(score[truth], score[~truth], alternative="greater")
    return bool(found.pvalue < level)


def _share(values: BoolArray | FloatArray) -> float:
    return float(np.mean(values)) if len(values) else 0.0

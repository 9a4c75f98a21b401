"""Figures of each label on its own: the table of one line per label, and the precision-recall curves."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity.evaluation.scored_rows import ScoredRows, checked

PER_LABEL_COLUMNS = [
    "label", "support", "average_precision", "average_precision_prior", "roc_auc", "precision", "recall", "f1",
]  # fmt: skip
CURVE_COLUMNS = ["label", "recall", "precision"]


def per_label(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, label_names: Sequence[str], threshold: float = 0.5
) -> pd.DataFrame:
    """Score each label on its own.

    Parameters
    ----------
    y_true : array-like of 0, 1 and 2, shape (N, L)
        Multi-hot labels; 2 = unknown.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.
    label_names : sequence of str, length L
        Names of the columns.
    threshold : float
        For precision, recall and F1; all three are 0 where nothing is predicted.

    Returns
    -------
    DataFrame
        `PER_LABEL_COLUMNS`, one line per label, highest average precision first, each about the rows in which the label
        is known. ``support`` is the number of positive rows and ``average_precision_prior`` their share, the average
        precision of constant scores. A label without a positive or without a negative row is not scored: it has empty
        cells (NaN) after its support and comes last. Ties keep the order of ``label_names``.

    Raises
    ------
    ValueError
        If shapes do not match, there is no known cell, or a value is out of range.

    See Also
    --------
    posterity.evaluation.metrics.evaluate : all rows and labels at once.

    Examples
    --------
    From the highest score down, the rows of Comedy are yes, no, yes: its average precision is (1/1 + 2/3) / 2.

    >>> y_true = [[1, 0], [0, 0], [1, 1]]
    >>> y_score = [[0.9, 0.2], [0.4, 0.6], [0.3, 0.8]]
    >>> table = per_label(y_true, y_score, ["Comedy", "Western"])
    >>> table[["label", "support", "average_precision", "precision", "recall"]].round(4)
         label  support  average_precision  precision  recall
    0  Western        1             1.0000        0.5     1.0
    1   Comedy        2             0.8333        1.0     0.5
    """
    return per_label_checked(checked(y_true, y_score, label_names), label_names, threshold)


def per_label_checked(rows: ScoredRows, label_names: Sequence[str], threshold: float) -> pd.DataFrame:
    """Do the work of `per_label` on rows that are checked."""
    from sklearn import metrics  # takes most of a second, and a training needs none of it

    scored = rows.scored_labels
    lines = []
    for column, name in enumerate(label_names):
        positive, score = rows.column(column)
        line: dict[str, object] = {"label": name, "support": int(positive.sum())}
        if scored[column]:
            precision, recall, f1, _ = metrics.precision_recall_fscore_support(
                positive, score >= threshold, average="binary", zero_division=0
            )
            line |= {
                "average_precision": metrics.average_precision_score(positive, score),
                "average_precision_prior": positive.mean(),
                "roc_auc": metrics.roc_auc_score(positive, score),
                "precision": precision,
                "recall": recall,
                "f1": f1,
            }
        lines.append(line)
    table = pd.DataFrame(lines, columns=PER_LABEL_COLUMNS)
    table = table.astype(dict.fromkeys(PER_LABEL_COLUMNS[2:], "float64"))
    return table.sort_values("average_precision", ascending=False, kind="stable", na_position="last", ignore_index=True)


def precision_recall_points(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, label_names: Sequence[str], max_points: int = 100
) -> pd.DataFrame:
    """Compute the precision-recall curve of every scored label, thinned for a plot.

    Parameters
    ----------
    y_true : array-like of 0, 1 and 2, shape (N, L)
        Multi-hot labels; 2 = unknown.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.
    label_names : sequence of str, length L
        Names of the columns.
    max_points : int, at least 2
        Points kept per label: evenly spaced in recall, both ends of the curve among them.

    Returns
    -------
    DataFrame
        ``label``, ``recall``, ``precision``; labels in the order of ``label_names``, recall ascending from 0 (where
        scikit-learn sets precision to 1) to 1 (all rows predicted in which the label is known). Labels without a
        positive or without a negative row have no curve.

    Raises
    ------
    ValueError
        If shapes do not match, there is no known cell, a value is out of range or ``max_points`` is below 2.

    Examples
    --------
    >>> precision_recall_points([[1], [0], [1]], [[0.9], [0.4], [0.3]], ["Comedy"]).round(4)
        label  recall  precision
    0  Comedy     0.0     1.0000
    1  Comedy     0.5     1.0000
    2  Comedy     0.5     0.5000
    3  Comedy     1.0     0.6667
    """
    return precision_recall_points_checked(checked(y_true, y_score, label_names), label_names, max_points)


def precision_recall_points_checked(
    rows: ScoredRows, label_names: Sequence[str], max_points: int = 100
) -> pd.DataFrame:
    """Do the work of `precision_recall_points` on rows that are checked."""
    from sklearn import metrics

    if max_points < 2:
        raise ValueError(f"max_points must be at least 2, got {max_points}")
    curves = []
    for column in np.flatnonzero(rows.scored_labels).tolist():
        precision, recall, _ = metrics.precision_recall_curve(*rows.column(column))
        precision, recall = precision[::-1], recall[::-1]
        if len(recall) > max_points:
            # The first point to reach a recall is the one with the highest precision at it.
            kept = np.searchsorted(recall, np.linspace(0, 1, max_points - 1))
            kept = np.unique(np.append(kept, len(recall) - 1))
            precision, recall = precision[kept], recall[kept]
        curves.append(pd.DataFrame({"label": label_names[column], "recall": recall, "precision": precision}))
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=CURVE_COLUMNS)

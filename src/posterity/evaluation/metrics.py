"""How good scores are, beside how good it would be to know nothing: multi-label metrics and their baselines.

The baseline, *prior*, answers every row with each label's frequency on the train side. A macro mean is taken over the
*scored* labels, those with a positive and a negative row: average precision needs the first, ROC AUC both, and
one set for all of them keeps the means comparable. Labels that are not scored are counted, not averaged.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import metrics

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

EPSILON = 1e-7  # Keras clips probabilities to [1e-7, 1 - 1e-7]; the same here, so that the losses agree
PER_LABEL_COLUMNS = [
    "label", "support", "average_precision", "average_precision_prior", "roc_auc", "precision", "recall", "f1",
]  # fmt: skip


def label_frequencies(targets: npt.NDArray[np.uint8]) -> FloatArray:
    """Share of the rows of ``targets`` (N, L) that carry each label, (L,), pulled just inside (0, 1).

    Half a row is added to either side (Krichevsky & Trofimov 1981), so that a label that training never saw, or always
    saw, has a finite log-odds and does not hand the prior an infinite loss.
    """
    return np.asarray((targets.sum(axis=0) + 0.5) / (len(targets) + 1.0), dtype=np.float64)


def prior_scores(train_frequencies: npt.ArrayLike, num_rows: int) -> FloatArray:
    """The scores of the baseline that ignores the image: ``train_frequencies`` (L,) on each of ``num_rows`` rows.

    Returns
    -------
    ndarray of float64, shape (num_rows, L)
    """
    frequencies = np.asarray(train_frequencies, dtype=np.float64)
    return np.tile(frequencies, (num_rows, 1))


def binary_cross_entropy(y_true: npt.ArrayLike, y_score: npt.ArrayLike) -> float:
    """Mean of ``-log p`` over all cells, p the score given to what was the case; the lower the better.

    Scores are clipped to [1e-7, 1 - 1e-7] as Keras does, and summed in float64, which Keras does not: the two agree to
    about six digits.

    Parameters
    ----------
    y_true : array-like of 0 and 1, shape (N, L)
        Multi-hot labels.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.

    Raises
    ------
    ValueError
        If shapes do not match, there is no cell, or a value is out of range.
    """
    return float(row_losses(*checked(y_true, y_score)).mean())


def evaluate(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, train_frequencies: npt.ArrayLike, *, threshold: float = 0.5
) -> dict[str, float | int]:
    """Score all rows and labels, next to the prior (``*_prior``).

    =====================  ===========================================================================================
    bce, bce_prior         binary cross-entropy (lower is better)
    skill                  1 - bce / bce_prior: 0 = no better than the prior, 1 = perfect, below 0 = worse
    map_macro              average precision [1]_, mean over the scored labels
    map_macro_prior        the same for constant scores, which is the mean of those labels' frequencies among these rows
    map_micro, *_prior     average precision over all cells at once
    roc_auc_macro          area under the ROC curve, mean over the scored labels; knowing nothing gives 0.5
    f1_macro, f1_micro     F1 at ``threshold``, mean over the scored labels / over all cells; 0 if nothing is predicted
    hamming_loss           share of cells on the wrong side of ``threshold`` (lower is better)
    subset_accuracy        share of rows with every label on the right side of ``threshold``
    lrap                   label ranking average precision; a row without or with every label counts as 1 (scikit-learn)
    coverage_error         how far down the ranking the last true label is (lower is better); a row without any: 0
    hit_at_1, *_prior      share of rows whose highest score is a true label; a row without any is a miss
    precision_at_3, ...    share of true labels among the three highest scores (all, if there are fewer than three)
    labels_scored          number of labels with a positive and a negative row
    rows_scored            number of rows
    =====================  ===========================================================================================

    Of equal scores in a row, the earlier column ranks higher in hit_at_1 and precision_at_3; lrap and coverage_error
    give the whole tie its worst rank.

    Parameters
    ----------
    y_true : array-like of 0 and 1, shape (N, L)
        Multi-hot labels.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.
    train_frequencies : array-like of float in [0, 1], shape (L,)
        Share of the *training* rows that have each label.
    threshold : float
        Scores from here on are predicted positive.

    Returns
    -------
    dict
        Finite numbers. What is undefined is left out: the macro means if no label is scored, map_micro if all cells are
        the same, lrap and coverage_error for a single label.

    Raises
    ------
    ValueError
        If shapes do not match, there is no cell, or a value is out of range.

    References
    ----------
    .. [1] ``sum (R_n - R_{n-1}) P_n`` over the distinct thresholds, without interpolation, as in scikit-learn.
    """
    truth, scores = checked(y_true, y_score)
    prior = prior_scores(checked_frequencies(train_frequencies, truth.shape[1]), len(truth))
    predicted = scores >= threshold
    bce, bce_prior = float(row_losses(truth, scores).mean()), float(row_losses(truth, prior).mean())
    found: dict[str, float | int] = {
        "bce": bce,
        "bce_prior": bce_prior,
        "skill": 1 - bce / bce_prior,
        "f1_micro": metrics.f1_score(truth.ravel(), predicted.ravel(), zero_division=0),
        "hamming_loss": metrics.hamming_loss(truth, predicted),
        "subset_accuracy": metrics.accuracy_score(truth, predicted),
        "hit_at_1": _precision_at(truth, scores, 1),
        "hit_at_1_prior": _precision_at(truth, prior, 1),
        "precision_at_3": _precision_at(truth, scores, 3),
        "precision_at_3_prior": _precision_at(truth, prior, 3),
        "labels_scored": int(scored_labels(truth).sum()),
        "rows_scored": len(truth),
    }
    if truth.any() and not truth.all():
        found["map_micro"] = metrics.average_precision_score(truth.ravel(), scores.ravel())
        found["map_micro_prior"] = metrics.average_precision_score(truth.ravel(), prior.ravel())
    if truth.shape[1] > 1:
        found["lrap"] = metrics.label_ranking_average_precision_score(truth, scores)
        found["coverage_error"] = metrics.coverage_error(truth, scores)
    if found["labels_scored"]:
        table = per_label(truth, scores, [str(column) for column in range(truth.shape[1])], threshold)
        found["map_macro"] = table["average_precision"].mean()  # pandas passes over the empty cells
        found["map_macro_prior"] = table["average_precision_prior"].mean()
        found["roc_auc_macro"] = table["roc_auc"].mean()
        found["f1_macro"] = table["f1"].mean()
    return {name: value if isinstance(value, int) else float(value) for name, value in found.items()}


def per_label(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, label_names: Sequence[str], threshold: float = 0.5
) -> pd.DataFrame:
    """Score each label on its own.

    Parameters
    ----------
    y_true : array-like of 0 and 1, shape (N, L)
        Multi-hot labels.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.
    label_names : sequence of str, length L
        Names of the columns.
    threshold : float
        For precision, recall and F1; all three are 0 where nothing is predicted.

    Returns
    -------
    DataFrame
        `PER_LABEL_COLUMNS`, one line per label, highest average precision first. ``support`` is the number of positive
        rows and ``average_precision_prior`` their share, the average precision of constant scores. A label that is not
        scored has empty cells (NaN) after its support and comes last. Ties keep the order of ``label_names``.

    Raises
    ------
    ValueError
        If shapes do not match, there is no cell, or a value is out of range.
    """
    truth, scores = checked(y_true, y_score, label_names)
    scored = scored_labels(truth)
    lines = []
    for column, name in enumerate(label_names):
        positive, score = truth[:, column], scores[:, column]
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
    """The precision-recall curve of every scored label, thinned for a plot.

    Parameters
    ----------
    y_true : array-like of 0 and 1, shape (N, L)
        Multi-hot labels.
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
        scikit-learn sets precision to 1) to 1 (all rows predicted).

    Raises
    ------
    ValueError
        If shapes do not match, there is no cell, a value is out of range or ``max_points`` is below 2.
    """
    if max_points < 2:
        raise ValueError(f"max_points must be at least 2, got {max_points}")
    truth, scores = checked(y_true, y_score, label_names)
    curves = []
    for column in np.flatnonzero(scored_labels(truth)).tolist():
        precision, recall, _ = metrics.precision_recall_curve(truth[:, column], scores[:, column])
        precision, recall = precision[::-1], recall[::-1]
        if len(recall) > max_points:
            # The first point to reach a recall is the one with the highest precision at it.
            kept = np.searchsorted(recall, np.linspace(0, 1, max_points - 1))
            kept = np.unique(np.append(kept, len(recall) - 1))
            precision, recall = precision[kept], recall[kept]
        curves.append(pd.DataFrame({"label": label_names[column], "recall": recall, "precision": precision}))
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=["label", "recall", "precision"])


def checked(
    y_true: npt.ArrayLike, y_score: npt.ArrayLike, label_names: Sequence[str] | None = None
) -> tuple[BoolArray, FloatArray]:
    """Return ``y_true`` as bool and ``y_score`` as float64, both (N, L); a ValueError says what is wrong with them."""
    truth, scores = np.asarray(y_true), np.asarray(y_score, dtype=np.float64)
    if truth.ndim != 2 or truth.size == 0:
        raise ValueError(f"y_true must have shape (num_rows, num_labels), both at least 1. Got {truth.shape}")
    if scores.shape != truth.shape:
        raise ValueError(f"y_score must have the shape of y_true, {truth.shape}. Got {scores.shape}")
    if label_names is not None and len(label_names) != truth.shape[1]:
        raise ValueError(f"label_names must name the {truth.shape[1]} columns of y_true. Got {len(label_names)} names")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError(f"y_true must be 0 or 1 in every cell. Got {truth[~np.isin(truth, (0, 1))][0]}")
    _check_unit_interval("y_score", scores)
    return truth.astype(bool), scores


def checked_frequencies(train_frequencies: npt.ArrayLike, num_labels: int) -> FloatArray:
    """Return ``train_frequencies`` as float64 (num_labels,); a ValueError says what is wrong with them."""
    frequencies = np.asarray(train_frequencies, dtype=np.float64)
    if frequencies.shape != (num_labels,):
        raise ValueError(f"train_frequencies must have shape ({num_labels},). Got {frequencies.shape}")
    _check_unit_interval("train_frequencies", frequencies)
    return frequencies


def row_losses(truth: BoolArray, scores: FloatArray) -> FloatArray:
    """Binary cross-entropy of every row, (N, L) -> (N,): mean over its labels, scores clipped as Keras does."""
    clipped = np.clip(scores, EPSILON, 1 - EPSILON)
    return np.asarray(-np.log(np.where(truth, clipped, 1 - clipped)).mean(axis=1))


def scored_labels(truth: BoolArray) -> BoolArray:
    """Which columns have a positive and a negative row: (N, L) -> (L,)."""
    return np.asarray(truth.any(axis=0) & ~truth.all(axis=0))


def _precision_at(truth: BoolArray, scores: FloatArray, count: int) -> float:
    """Share of true labels among the ``count`` highest scores of each row (all, if there are fewer)."""
    highest = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return float(np.take_along_axis(truth, highest, axis=1).mean())


def _check_unit_interval(name: str, values: FloatArray) -> None:
    wrong = values[~((values >= 0) & (values <= 1))]  # written so that NaN is wrong, too
    if wrong.size:
        raise ValueError(f"{name} must be finite and lie in [0, 1]. Got {wrong[0]} ({wrong.size} such values)")

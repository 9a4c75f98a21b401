"""How far the main figures would move with another draw of validation rows: bootstrap intervals."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from posterity.evaluation.metrics import prior_scores, row_losses
from posterity.evaluation.scored_rows import (
    BoolArray,
    FloatArray,
    IntArray,
    ScoredRows,
    checked,
    checked_frequencies,
)

_CELLS_PER_CHUNK = 2_000_000  # rows x resamples held at a time, about 16 MB each for a handful of arrays


def bootstrap_intervals(
    y_true: npt.ArrayLike,
    y_score: npt.ArrayLike,
    train_frequencies: npt.ArrayLike,
    *,
    num_samples: int = 1000,
    seed: int,
    level: float = 0.95,
    groups: npt.ArrayLike | None = None,
) -> dict[str, float]:
    """Percentile bootstrap intervals [1] of ``skill`` and ``map_macro`` as `evaluation.metrics.evaluate` defines them.

    Rows are drawn with replacement and the figures are computed anew, ``num_samples`` times. The model and the prior
    stay as they are, so the interval is about the choice of validation rows, not about another training run. A label
    without a positive (or without a negative) row in a resample is left out of that resample's mean. With few positives
    per label the average precision of resamples lies a little above that of the data, since a row drawn twice counts as
    another one of the same score: read the interval of map_macro as a width.

    A row that is drawn brings its known cells along. A resample without any is left out.

    Parameters
    ----------
    y_true : array-like of 0, 1 and 2, shape (N, L)
        Multi-hot labels; 2 = unknown.
    y_score : array-like of float in [0, 1], shape (N, L)
        Score of every label on every row.
    train_frequencies : array-like of float in [0, 1], shape (L,)
        Share of the training rows that have each label.
    num_samples : int
        Number of resamples.
    seed : int
        The same seed gives the same interval.
    level : float
        Share of the resamples inside the interval, in (0, 1).
    groups : array-like of int, shape (N,), or None
        Draw whole groups, as many as there are, so that copies of an image do not count as independent rows.

    Returns
    -------
    dict
        ``skill_low``, ``skill_high`` unless no resample has a known cell, and ``map_macro_low``, ``map_macro_high``
        unless none has a scored label.

    Raises
    ------
    ValueError
        If shapes do not match, there is no known cell, or a value is out of range.

    References
    ----------
    [1] Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.

    Examples
    --------
    The prior is 1/2. On the first row the model does no better (skill 0); on the second one it gives sqrt(1/2) to what
    is the case and saves half of the loss (skill 0.5). Of two rows a quarter of the resamples hold the first one twice,
    and a quarter the second one twice. Average precision is 1 where a resample holds both.

    >>> found = bootstrap_intervals([[1], [0]], [[0.5], [1 - 0.5**0.5]], train_frequencies=[0.5], seed=0)
    >>> {name: round(value, 4) for name, value in found.items()}
    {'skill_low': 0.0, 'skill_high': 0.5, 'map_macro_low': 1.0, 'map_macro_high': 1.0}
    """
    rows = checked(y_true, y_score)
    frequencies = checked_frequencies(train_frequencies, rows.num_labels)
    return bootstrap_intervals_checked(
        rows, frequencies, num_samples=num_samples, seed=seed, level=level, groups=groups
    )


def bootstrap_intervals_checked(
    rows: ScoredRows,
    train_frequencies: FloatArray,
    *,
    num_samples: int,
    seed: int,
    level: float = 0.95,
    groups: npt.ArrayLike | None = None,
) -> dict[str, float]:
    """Do the work of `bootstrap_intervals` on rows that are checked."""
    if num_samples < 1 or not 0 < level < 1:
        raise ValueError(f"num_samples must be >= 1 and level in (0, 1). Got {num_samples} and {level}")
    units = np.arange(len(rows)) if groups is None else np.asarray(groups)
    if units.shape != (len(rows),):
        raise ValueError(f"groups must have shape ({len(rows)},). Got {units.shape}")
    units = np.unique(units, return_inverse=True)[1]

    prior = rows.with_scores(prior_scores(train_frequencies, len(rows)))
    losses = np.stack([row_losses(rows), row_losses(prior)])
    skills, map_macros = [], []
    for counts in _resamples(units, num_samples, np.random.default_rng(seed)):
        model_loss, prior_loss = losses @ counts  # sums over the same rows: their ratio is that of the means
        # Without a known cell both are 0; otherwise that of the prior is not, since its scores lie inside (0, 1).
        skills.append(1 - model_loss / np.where(prior_loss > 0, prior_loss, np.nan))
        precisions = [
            average_precisions(*rows.column(label), counts if rows.known is None else counts[rows.known[:, label]])
            for label in range(rows.num_labels)
        ]
        map_macros.append(_mean_of_defined(np.stack(precisions)))
    return _interval("skill", np.concatenate(skills), level) | _interval("map_macro", np.concatenate(map_macros), level)


def average_precisions(positive: BoolArray, score: FloatArray, counts: IntArray) -> FloatArray:
    """Average precision of one label in many resamples, from a single sort.

    Equal to scikit-learn's ``average_precision_score`` on rows repeated ``counts`` times: ``sum (R_n - R_{n-1}) P_n``
    over the distinct scores, equal scores being one step.

    Parameters
    ----------
    positive : ndarray of bool, shape (N,)
        Which rows have the label.
    score : ndarray of float, shape (N,)
        Score of the label on every row.
    counts : ndarray of int, shape (N, B)
        How often each row occurs in each resample.

    Returns
    -------
    ndarray of float64, shape (B,)
        NaN where a resample has no positive or no negative row.
    """
    num_resamples = counts.shape[1]
    if not positive.any() or positive.all():
        return np.full(num_resamples, np.nan)
    # Only the scores of positive rows are steps: recall does not change at the others. Rank every row by the first of
    # those scores, going down, that it reaches; rows below them all (rank = number of steps) are never counted.
    steps = -np.unique(-score[positive])
    rank = np.searchsorted(-steps, -score)
    order = np.argsort(rank, kind="stable")
    starts = np.searchsorted(rank[order], np.arange(len(steps)))
    reached = order[: np.searchsorted(rank[order], len(steps))]
    rows_per_step = np.add.reduceat(counts[reached], starts, axis=0)

    order = np.flatnonzero(positive)[np.argsort(rank[positive], kind="stable")]
    starts = np.searchsorted(rank[order], np.arange(len(steps)))
    positives_per_step = np.add.reduceat(counts[order], starts, axis=0)

    true_positives, predicted = positives_per_step.cumsum(axis=0), rows_per_step.cumsum(axis=0)
    # Where nothing has been predicted yet no positive has been found either, and the term is 0 whatever the divisor.
    terms = positives_per_step * true_positives / np.maximum(predicted, 1)
    num_positive, num_rows = true_positives[-1], counts.sum(axis=0)
    defined = (num_positive > 0) & (num_positive < num_rows)
    return np.where(defined, terms.sum(axis=0) / np.maximum(num_positive, 1), np.nan)


def _resamples(units: IntArray, num_samples: int, generator: np.random.Generator) -> Iterator[IntArray]:
    """Yield, a chunk of resamples at a time, how often each row occurs in each: (N, B)."""
    num_units = int(units.max()) + 1
    chunk = max(1, _CELLS_PER_CHUNK // len(units))
    for start in range(0, num_samples, chunk):
        size = min(chunk, num_samples - start)
        # One resample after the other from the generator, so that the chunk length does not change the draw.
        drawn = generator.integers(num_units, size=(size, num_units))
        counts = np.bincount((drawn * size + np.arange(size)[:, None]).ravel(), minlength=num_units * size)
        yield counts.reshape(num_units, size)[units]


def _mean_of_defined(values: FloatArray) -> FloatArray:
    """Mean over axis 0 of what is not NaN; NaN where nothing is."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0).sum(axis=0)
    return np.where(defined.any(axis=0), total / np.maximum(defined.sum(axis=0), 1), np.nan)


def _interval(name: str, values: FloatArray, level: float) -> dict[str, float]:
    values = values[~np.isnan(values)]
    if not values.size:
        return {}
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return {f"{name}_low": float(low), f"{name}_high": float(high)}

"""How far the main figures would move with another draw of validation rows: bootstrap intervals."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

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
    """Bootstrap intervals [1] of ``skill`` and ``map_macro`` as `evaluation.metrics.evaluate` defines them.

    Rows are drawn with replacement and the figures are computed anew, ``num_samples`` times. The model and the prior
    stay as they are, so the interval is about the choice of validation rows, not about another training run. A row that
    is drawn brings its known cells along. A label without a positive (or without a negative) row in a resample is left
    out of that resample's mean, and a resample without a known cell is left out.

    Percentiles of resamples make too narrow an interval if there are few rows (or groups): they spread by the standard
    deviation that is divided by n, and as a normal distribution, where Student's is due. So the percentiles are taken
    further out, as Hesterberg's "expanded percentiles" [3] are. Nothing makes up for fewer than some ten of them.

    An interval always holds the figure of the data. That of ``skill`` lies between percentiles of the resamples, which
    are shifted so that their mean is the figure: a shift takes away their bias [1, chapter 10].

    ``map_macro`` has two biases, both upward. Resamples exceed the data, since a positive row that is drawn twice
    counts as another one of the same score; the shift corrects that. And the data exceed what endless data would show,
    since each positive row is among the rows that its precision is taken over: a label with a single positive row at
    rank r has average precision 1 / r even if its scores are random. So the upper end is that of the shifted
    percentiles, and the lower one comes from the same figure with each positive row (and its group) left out of its own
    precision. For k positive and n negative rows down to a positive one this is (k - 1) / (k - 1 + n), which is
    unbiased where precision does not depend on the score [2]. Its lower end is that of the shifted percentiles or of
    the pivotal interval, ``2 * figure - upper percentile``, whichever is lower. The interval of ``map_macro`` therefore
    reaches further down than up. It covers two things: what data sets of this size show on average, and what endless
    data would show of the labels that are scored in these data. docs/comparing.md has the simulated coverages.

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
        Coverage that the interval aims at, in (0, 1).
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
    [1] Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapters 10 and 13.
    [2] Haldane (1945), On a method of estimating frequencies, Biometrika 33, 222-225.
    [3] Hesterberg (2015), What Teachers Should Know About the Bootstrap, The American Statistician 69, 371-386.

    Examples
    --------
    The prior is 1/2. On the first row the model does no better (skill 0); on the second one it gives sqrt(1/2) to what
    is the case and saves half of the loss (skill 0.5). Of two rows a quarter of the resamples hold the first one twice,
    and a quarter the second one twice. Average precision is 1 where a resample holds both, also without the positive
    row: no negative one is above it. The mean of the drawn skills is 0.26 instead of 0.25, and the shift corrects that.

    >>> found = bootstrap_intervals([[1], [0]], [[0.5], [1 - 0.5**0.5]], train_frequencies=[0.5], seed=0)
    >>> {name: round(value, 2) for name, value in found.items()}
    {'skill_low': -0.01, 'skill_high': 0.49, 'map_macro_low': 1.0, 'map_macro_high': 1.0}
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
    level_taken = expanded(level, _number(units))

    prior = rows.with_scores(prior_scores(train_frequencies, len(rows)))
    losses = np.stack([row_losses(rows), row_losses(prior)])
    ones = np.ones((len(rows), 1), dtype=np.int64)
    parts = [_figures(rows, units, losses, counts) for counts in _resamples(units, num_samples, seed)]
    of_data, of_resamples = _figures(rows, units, losses, ones)[:, 0], np.concatenate(parts, axis=1)
    skill, map_macro, left_out = (
        _Resampled(float(figure), values[~np.isnan(values)], level_taken)
        for figure, values in zip(of_data, of_resamples, strict=True)
    )
    found: dict[str, float] = {}
    if skill.values.size:
        low, high = skill.shifted()
        found |= {"skill_low": low, "skill_high": min(high, 1.0)}
    if map_macro.values.size:
        found["map_macro_low"], found["map_macro_high"] = _of_precision(map_macro, left_out)
    return found


def label_intervals(
    rows: ScoredRows, *, num_samples: int, seed: int, level: float = 0.95, groups: npt.ArrayLike | None = None
) -> FloatArray:
    """Bootstrap interval of the average precision of every label, as `bootstrap_intervals` has that of ``map_macro``.

    Parameters
    ----------
    rows : ScoredRows of N rows and L labels
        Labels and scores.
    num_samples, seed, level, groups
        As in `bootstrap_intervals`.

    Returns
    -------
    ndarray of float64 in [0, 1], shape (2, L)
        Lower and upper ends; NaN for a label without a positive or without a negative row.

    Examples
    --------
    Every positive row is above every negative one, also without itself: no draw of rows changes that.

    >>> rows = checked([[1], [1], [0], [0]], [[0.9], [0.8], [0.2], [0.1]])
    >>> label_intervals(rows, num_samples=20, seed=0).ravel().tolist()
    [1.0, 1.0]
    """
    units = np.unique(np.arange(len(rows)) if groups is None else np.asarray(groups), return_inverse=True)[1]
    draws = np.concatenate(list(_resamples(units, num_samples, seed)), axis=1)
    level_taken = expanded(level, _number(units))
    ones = np.ones((len(rows), 1), dtype=np.int64)
    ends = np.full((2, rows.num_labels), np.nan)
    for label in np.flatnonzero(rows.scored_labels).tolist():
        here = slice(None) if rows.known is None else rows.known[:, label]
        cells = (*rows.column(label), units[here])
        figures, values = _average_precisions(*cells, ones[here])[:, 0], _average_precisions(*cells, draws[here])
        whole, left_out = (
            _Resampled(float(figure), found[~np.isnan(found)], level_taken)
            for figure, found in zip(figures, values, strict=True)
        )
        if whole.values.size:
            ends[:, label] = _of_precision(whole, left_out)
    return ends


def loss_difference(
    before: ScoredRows,
    after: ScoredRows,
    *,
    num_samples: int,
    seed: int,
    level: float = 0.95,
    groups: npt.ArrayLike | None = None,
) -> tuple[float, float, float]:
    """How much lower the binary cross-entropy is with other scores of the same rows, and a bootstrap interval of that.

    Both scores of a row are drawn together [1]: how hard an image is cancels out of the difference. The interval is
    about the choice of images, not about another training run.

    Parameters
    ----------
    before, after : ScoredRows
        The same N rows and labels with two scores.
    num_samples, seed, level, groups
        As in `bootstrap_intervals`.

    Returns
    -------
    difference, low, high : float
        Above 0 if ``after`` is better. A resample without a known cell is left out.

    References
    ----------
    [1] Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 8.

    Examples
    --------
    On each of two rows the score of what is the case rises from 1/4 to 1/2: log 4 - log 2 = 0.6931 in every resample.

    >>> before, after = checked([[1], [0]], [[0.25], [0.75]]), checked([[1], [0]], [[0.5], [0.5]])
    >>> [round(value, 4) for value in loss_difference(before, after, num_samples=10, seed=0)]
    [0.6931, 0.6931, 0.6931]
    """
    units = np.unique(np.arange(len(before)) if groups is None else np.asarray(groups), return_inverse=True)[1]
    losses = row_losses(before) - row_losses(after)
    # The losses of rows are sums over their known cells if there is an unknown one, and means over all labels if not.
    cells = np.ones(len(before)) if before.known is None else before.known.sum(axis=1)

    def differences(counts: IntArray) -> FloatArray:
        number = cells @ counts
        return np.asarray((losses @ counts) / np.where(number > 0, number, np.nan))

    parts = np.concatenate([differences(counts) for counts in _resamples(units, num_samples, seed)])
    figure = float(differences(np.ones((len(before), 1), dtype=np.int64))[0])
    return (figure, *_Resampled(figure, parts[~np.isnan(parts)], expanded(level, _number(units))).shifted())


def expanded(level: float, number: int) -> float:
    """The level at which percentiles of resamples of ``number`` rows make an interval of ``level`` [3].

    >>> [round(expanded(0.95, number), 4) for number in (2, 5, 10, 30, 725)]
    [1.0, 0.9981, 0.9829, 0.9625, 0.9505]
    """
    if number < 2:
        return level
    distance = (number / (number - 1)) ** 0.5 * stats.t.ppf((1 + level) / 2, number - 1)
    return float(1 - 2 * stats.norm.cdf(-distance))


def _number(units: IntArray) -> int:
    """How many there are, numbered from 0."""
    return int(units.max()) + 1


@dataclass(frozen=True, eq=False)
class _Resampled:
    """A figure of the data, what it is in the resamples, shape (B,), and the level of `expanded`."""

    figure: float
    values: FloatArray
    level: float

    def shifted(self) -> tuple[float, float]:
        """Percentiles of the resamples, shifted so that their mean is the figure; the figure lies between them."""
        low, high = self._percentiles() - self.values.mean() + self.figure
        return min(float(low), self.figure), max(float(high), self.figure)

    def pivotal_low(self) -> float:
        """Lower end of the interval that takes ``resample - figure`` to be spread like ``figure - truth``."""
        return 2 * self.figure - float(self._percentiles()[1])

    def _percentiles(self) -> FloatArray:
        # Of B values the k-th one counts as the quantile k / (B + 1): otherwise few resamples make it too narrow.
        ends = [(1 - self.level) / 2, (1 + self.level) / 2]
        return np.asarray(np.quantile(self.values, ends, method="weibull"))


def _of_precision(whole: _Resampled, left_out: _Resampled) -> tuple[float, float]:
    """Ends of the interval of an average precision, from it and from that with positive rows left out of their own."""
    low = min(left_out.shifted()[0], left_out.pivotal_low(), whole.figure)
    return max(low, 0.0), min(whole.shifted()[1], 1.0)


def _figures(rows: ScoredRows, units: IntArray, losses: FloatArray, counts: IntArray) -> FloatArray:
    """Skill, map_macro, and map_macro with positive rows left out of their own precision: (3, B), NaN = undefined."""
    model_loss, prior_loss = losses @ counts  # sums over the same rows: their ratio is that of the means
    # Without a known cell both are 0; otherwise that of the prior is not, since its scores lie inside (0, 1).
    skills = 1 - model_loss / np.where(prior_loss > 0, prior_loss, np.nan)
    precisions = []
    for label in range(rows.num_labels):
        here = slice(None) if rows.known is None else rows.known[:, label]
        precisions.append(_average_precisions(*rows.column(label), units[here], counts[here]))
    return np.vstack([skills, *(_mean_of_defined(values) for values in np.stack(precisions, axis=1))])


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

    Examples
    --------
    From the highest score down, the rows are yes, no, yes; then the first one is drawn twice and the second one never.

    >>> score, counts = np.array([0.9, 0.5, 0.1]), np.array([[1, 2], [1, 0], [1, 1]])
    >>> average_precisions(np.array([True, False, True]), score, counts).round(4)
    array([0.8333,    nan])
    """
    return np.asarray(_average_precisions(positive, score, np.arange(len(score)), counts)[0])


def _average_precisions(positive: BoolArray, score: FloatArray, units: IntArray, counts: IntArray) -> FloatArray:
    """`average_precisions`, and the same with every positive row's unit left out of its own precision: (2, B).

    ``units``, (n,), says which rows are drawn together, as often as each other. What is left out are the positive rows
    of a row's unit that score at least as high as it does, once for each time they are drawn.
    """
    num_resamples = counts.shape[1]
    if not positive.any() or positive.all():
        return np.full((2, num_resamples), np.nan)
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
    drawn, step = counts[order], rank[order]
    positives_per_step = np.add.reduceat(drawn, starts, axis=0)

    true_positives, predicted = positives_per_step.cumsum(axis=0), rows_per_step.cumsum(axis=0)
    # Where nothing has been predicted yet no positive has been found either, and the term is 0 whatever the divisor.
    total = (positives_per_step * true_positives / np.maximum(predicted, 1)).sum(axis=0)
    own = drawn * _number_in_own_unit(units[order], step)[:, None]
    others, others_predicted = true_positives[step] - own, predicted[step] - own
    # Without any other row down to here there is no negative one: the precision is 1, as Haldane has it.
    left_out_total = (drawn * np.where(others_predicted > 0, others / np.maximum(others_predicted, 1), 1)).sum(axis=0)
    num_positive, num_rows = true_positives[-1], counts.sum(axis=0)
    defined = (num_positive > 0) & (num_positive < num_rows)
    both = np.stack([total, left_out_total]) / np.maximum(num_positive, 1)
    return np.asarray(np.where(defined, both, np.nan))


def _number_in_own_unit(units: IntArray, step: IntArray) -> IntArray:
    """For rows in ascending order of their step: how many of the same unit there are down to the end of the step."""
    _, unit = np.unique(units, return_inverse=True)
    order = np.lexsort((step, unit))
    # Pairs of unit and step in ascending order: the last equal one, counted from the first of the unit.
    pair = unit[order] * (int(step.max()) + 1) + step[order]
    number = np.empty(len(step), dtype=np.int64)
    number[order] = np.searchsorted(pair, pair, side="right") - np.searchsorted(unit[order], unit[order], side="left")
    return number


def _resamples(units: IntArray, num_samples: int, seed: int) -> Iterator[IntArray]:
    """Yield, a chunk of resamples at a time, how often each row occurs in each: (N, B)."""
    generator = np.random.default_rng(seed)
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

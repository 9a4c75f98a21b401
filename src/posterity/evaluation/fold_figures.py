"""What out-of-fold scores say: figures of every fold, their spread, and figures of all training rows together."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity.evaluation import bootstrap, label_figures, metrics
from posterity.evaluation.scored_rows import FloatArray, IntArray, ScoredRows, checked

COLUMNS = ["part", "repeat", "rows", "bce", "bce_prior", "skill", "map_macro", "labels_scored"]
SPREAD = ("bce", "skill", "map_macro")  # given as mean and standard deviation over the folds


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """The training rows with scores of networks that were trained without them.

    Attributes
    ----------
    targets : ndarray of uint8, shape (N, L)
        Their labels, see `posterity.targets`.
    scores : ndarray of float32 in [0, 1], shape (repeats, N, L)
        Scores of every repeat.
    folds : ndarray of int, shape (repeats, N)
        The part of every row, as `posterity.evaluation.folds.training_folds` deals them.
    groups : ndarray of int, shape (N,)
        Rows of one group are copies of each other.
    index : DataFrame
        ``line`` and ``id`` of the N rows.
    """

    targets: npt.NDArray[np.uint8]
    scores: npt.NDArray[np.float32]
    folds: IntArray
    groups: IntArray
    index: pd.DataFrame

    def rows(self) -> ScoredRows:
        """All rows, with the means of their scores over the repeats."""
        return checked(self.targets, self.scores.mean(axis=0, dtype=np.float64))


def fold_figures(
    found: OutOfFold, frequencies: FloatArray, *, num_samples: int, seed: int
) -> tuple[dict[str, float], pd.DataFrame]:
    """Score out-of-fold scores.

    Parameters
    ----------
    found : OutOfFold
        The scores.
    frequencies : ndarray of float64 in (0, 1), shape (L,)
        Share of all training rows that have each label: the baseline of the figures of all rows. That of a fold is the
        share of the rows of the other folds.
    num_samples, seed : int
        As in `bootstrap.bootstrap_intervals`.

    Returns
    -------
    figures : dict of str to float
        ``rows_scored``, ``folds``, ``repeats``; ``bce``, ``bce_prior``, ``skill``, ``map_macro`` and
        ``labels_scored`` of all rows, with intervals; and ``bce_mean``, ``bce_std``, ... over the folds of all repeats:
        networks of different folds share most of their training rows, so that this spread is no standard error.
        ``labels_scored`` and ``labels_scored_mean`` are the numbers of labels with a positive and a negative row, which
        ``map_macro`` is taken over: where a fold has fewer of them than all rows, ``map_macro`` and ``map_macro_mean``
        are not of the same labels.
    table : DataFrame
        `COLUMNS`, one line per fold of each repeat; ``part`` is its name.
    """
    lines = []
    for repeat, (scores, folds) in enumerate(zip(found.scores, found.folds, strict=True), start=1):
        for fold in range(int(folds.max()) + 1):
            held_out = folds == fold
            rows = checked(found.targets[held_out], scores[held_out])
            others = metrics.label_frequencies(found.targets[~held_out])
            lines.append(_line(f"fold {fold + 1}", repeat, rows, others))
    table = pd.DataFrame(lines, columns=COLUMNS)

    rows = found.rows()
    figures: dict[str, float] = {
        "rows_scored": int(rows.judged_rows.sum()),
        "folds": int(found.folds.max()) + 1,
        "repeats": len(found.scores),
    } | main_figures(rows, frequencies)
    figures |= bootstrap.bootstrap_intervals_checked(
        rows, frequencies, num_samples=num_samples, seed=seed, groups=found.groups
    )
    for name in SPREAD:
        values = table[name].dropna()
        if len(values) > 1:
            figures |= {f"{name}_mean": float(values.mean()), f"{name}_std": float(values.std(ddof=1))}
    figures["labels_scored_mean"] = float(table["labels_scored"].mean())
    return figures, table


def validation_line(rows: ScoredRows, frequencies: FloatArray) -> pd.DataFrame:
    """The validation rows as a line of the table of `fold_figures`, to compare the folds with."""
    return pd.DataFrame([_line("validation", 1, rows, frequencies)], columns=COLUMNS)


def _line(part: str, repeat: int, rows: ScoredRows, frequencies: FloatArray) -> dict[str, str | float]:
    return {"part": part, "repeat": repeat, "rows": len(rows), **main_figures(rows, frequencies)}


def main_figures(rows: ScoredRows, frequencies: FloatArray) -> dict[str, float]:
    """``bce``, ``bce_prior``, ``skill``, ``labels_scored`` and, unless that is 0, ``map_macro`` of rows.

    ``frequencies``, (L,), are the shares of the training rows that have each label: the baseline of ``skill``.
    """
    prior = rows.with_scores(metrics.prior_scores(frequencies, len(rows)))
    bce, bce_prior = metrics.binary_cross_entropy_checked(rows), metrics.binary_cross_entropy_checked(prior)
    found = {"bce": bce, "bce_prior": bce_prior, "skill": 1 - bce / bce_prior}
    found["labels_scored"] = int(rows.scored_labels.sum())
    if rows.scored_labels.any():
        table = label_figures.per_label_checked(rows, [str(column) for column in range(rows.num_labels)], 0.5)
        found["map_macro"] = float(table["average_precision"].mean())
    return found

"""What the validation rows say of one label: figures, examples, and what it is taken for."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from posterity.evaluation import bootstrap, label_figures
from posterity.evaluation.calibration import reliability_points_checked
from posterity.evaluation.fold_figures import main_figures
from posterity.evaluation.scored_rows import BoolArray, FloatArray, IntArray, ScoredRows

BINS = 5


@dataclass(frozen=True)
class LabelFacts:
    """The facts. Rows are numbered from 0 in the order of the scores; a list of them is ranked.

    Attributes
    ----------
    support, known : int
        Rows that have the label, and rows in which it is known.
    figures : dict of str to float
        ``average_precision`` with ``_prior``, ``roc_auc``, ``precision``, ``recall`` and ``f1`` at a score of
        ``threshold``; ``map_macro_low``, ``map_macro_high``: the interval of the average precision; ``skill`` with
        its interval. What is undefined is left out.
    decided : dict of str to float
        ``right``, ``wrong``, ``missed`` rows, ``precision``, ``recall`` and ``f1`` of the decisions; empty without.
    reliability : list of (mean score, observed frequency, rows)
        Of scores in bins of equal width.
    best, missed, wrong : list of int
        Rows with the label, highest score first; rows with it, lowest score first; rows without it, highest first.
    truly, instead : list of (label, rows)
        What the rows have that are wrongly decided to have the label, and what is wrongly decided in its place.
    """

    support: int
    known: int
    figures: dict[str, float]
    decided: dict[str, float]
    reliability: list[tuple[float, float, int]]
    best: list[int]
    missed: list[int]
    wrong: list[int]
    truly: list[tuple[int, int]]
    instead: list[tuple[int, int]]


def facts(
    rows: ScoredRows,
    label: int,
    frequencies: FloatArray,
    groups: IntArray,
    decided: BoolArray | None,
    *,
    threshold: float,
    num_samples: int,
    seed: int,
    examples: int = 5,
) -> LabelFacts:
    """Gather the facts about column ``label``.

    Parameters
    ----------
    rows : ScoredRows of N rows and L labels
        Labels and scores.
    label : int
        The column.
    frequencies : ndarray of float64 in (0, 1), shape (L,)
        Share of the training rows that have each label.
    groups : ndarray of int64, shape (N,)
        Rows of one group are copies of each other.
    decided : ndarray of bool, shape (N, L), or None
        What is decided.
    threshold : float in [0, 1]
        Score from which the label counts as predicted in precision, recall and F1.
    num_samples, seed : int
        As in `bootstrap.bootstrap_intervals`: the interval of a mean over one label is that of the label.
    examples : int
        Longest list of rows and of labels.
    """
    known = np.ones(len(rows), dtype=bool) if rows.known is None else rows.known[:, label]
    truth, scores = rows.truth[:, label], rows.scores[:, label]
    one = ScoredRows(truth[known][:, None], scores[known][:, None])
    figures: dict[str, float] = {}
    reliability: list[tuple[float, float, int]] = []
    if known.any():
        line = label_figures.per_label_checked(one, ["one"], threshold).iloc[0]
        figures = {str(name): float(value) for name, value in line.items() if name not in ("label", "support")}
        figures = {name: value for name, value in figures.items() if value == value}
        figures["skill"] = main_figures(one, frequencies[[label]])["skill"]
        figures |= bootstrap.bootstrap_intervals_checked(
            one, frequencies[[label]], num_samples=num_samples, seed=seed, groups=groups[known]
        )
        points = reliability_points_checked(one, BINS)
        reliability = list(zip(points["mean_score"], points["observed_frequency"], points["count"], strict=True))
    return LabelFacts(
        int(truth.sum()),
        int(known.sum()),
        figures,
        {} if decided is None else _decisions(truth[known], decided[known, label]),
        [(float(score), float(share), int(count)) for score, share, count in reliability],
        _ranked(-scores, truth, examples),
        _ranked(scores, truth, examples),
        _ranked(-scores, known & ~truth, examples),
        *_confusions(rows, label, decided, examples),
    )


def _decisions(truth: BoolArray, decided: BoolArray) -> dict[str, float]:
    right, wrong, missed = (int(cells.sum()) for cells in (truth & decided, ~truth & decided, truth & ~decided))
    counts = {"right": right, "wrong": wrong, "missed": missed}
    return counts | {
        "precision": right / (right + wrong) if right + wrong else 0.0,
        "recall": right / (right + missed) if right + missed else 0.0,
        "f1": 2 * right / (2 * right + wrong + missed) if right + wrong + missed else 0.0,
    }


def _ranked(keys: FloatArray, chosen: BoolArray, most: int) -> list[int]:
    """Rows that are ``chosen``, lowest key first; of equal keys the earlier row first."""
    order = np.argsort(keys, kind="stable")
    return [int(row) for row in order[chosen[order]][:most]]


def _confusions(
    rows: ScoredRows, label: int, decided: BoolArray | None, most: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    if decided is None:
        return [], []
    judged = rows.only_known(decided)
    wrongly = judged[:, label] & ~rows.truth[:, label]
    missed = rows.truth[:, label] & ~decided[:, label]
    truly, instead = Counter[int](), Counter[int]()
    for row in np.flatnonzero(wrongly):  # what the image has and did not get: most likely taken for the label
        truly.update(np.flatnonzero(rows.truth[row] & ~decided[row]).tolist())
    for row in np.flatnonzero(missed):
        instead.update(np.flatnonzero(judged[row] & ~rows.truth[row]).tolist())
    return tuple(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:most] for found in (truly, instead))  # type: ignore[return-value]

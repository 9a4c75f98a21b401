"""All that is said of a model by its scores of the validation rows: figures, decisions and the tables of the plots.

Stage `evaluate` writes it, and `posterity verify` computes it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from posterity.evaluation import bootstrap, calibration, cross_fitting, decisions, label_figures, metrics
from posterity.evaluation.fold_figures import OutOfFold, fold_figures, validation_line
from posterity.evaluation.score_table import score_table
from posterity.evaluation.scored_rows import FloatArray, IntArray, ScoredRows
from posterity.evaluation.suspects import COLUMNS as SUSPECT_COLUMNS
from posterity.evaluation.suspects import suspect_cells


@dataclass(frozen=True)
class ScoringOptions:
    """How a model is scored.

    Attributes
    ----------
    threshold : float in [0, 1]
        Score from which a label counts as predicted in the figures that are not tuned.
    num_samples : int, at least 1
        Resamples for the confidence intervals.
    folds : int, at least 2
        Parts the rows are cut into, each judged by the decisions that the others choose.
    seed : int
        Of the resamples and the folds.
    decisions : DecisionOptions
        How calibration and thresholds are chosen.
    """

    threshold: float
    num_samples: int
    folds: int
    seed: int
    decisions: decisions.DecisionOptions


@dataclass(frozen=True, eq=False)
class Validation:
    """What the validation rows say of a model.

    Attributes
    ----------
    figures : dict of str to float
        Content of metrics/evaluate.json.
    fold_figures : dict of str to float
        Content of metrics/folds.json.
    decisions : Decisions
        What all rows choose together, for the model; those with out-of-fold scores, too.
    table : DataFrame
        True labels, decided labels and scores of every row.
    suspects : DataFrame
        Label cells of the training rows that are likely to be wrong; none without out-of-fold scores.
    plots : dict of str to DataFrame
        The tables of the plots by the name of their file.
    """

    figures: dict[str, float]
    fold_figures: dict[str, float]
    decisions: decisions.Decisions
    table: pd.DataFrame
    suspects: pd.DataFrame
    plots: dict[str, pd.DataFrame]


def validate_checked(
    rows: ScoredRows,
    index: pd.DataFrame,
    label_names: Sequence[str],
    frequencies: FloatArray,
    groups: IntArray,
    options: ScoringOptions,
    out_of_fold: OutOfFold | None = None,
) -> Validation:
    """Score rows that are checked.

    Parameters
    ----------
    rows : ScoredRows of N rows and L labels
        Labels, and the network's own scores.
    index : DataFrame
        ``line`` and ``id`` of the N rows.
    label_names : sequence of str, length L
        Names of the labels.
    frequencies : ndarray of float64 in (0, 1), shape (L,)
        Share of the training rows that have each label: the baseline.
    groups : ndarray of int64, shape (N,)
        Rows of one group are copies of each other, and are neither separated by a fold nor counted as independent.
    options : ScoringOptions
        How they are scored.
    out_of_fold : OutOfFold, optional
        Training rows, which have a part in all decisions but those of the objective ``recall``.

    Raises
    ------
    UserError
        If there are fewer groups than folds.
    """
    names = list(label_names)
    # How good the scores are, and how far the figures would move with other validation rows.
    per_label = label_figures.per_label_checked(rows, names, options.threshold)
    figures = metrics.evaluate_checked(rows, frequencies, per_label, threshold=options.threshold)
    figures |= bootstrap.bootstrap_intervals_checked(
        rows, frequencies, num_samples=options.num_samples, seed=options.seed, groups=groups
    )

    # How good decisions are on rows that had no part in choosing them.
    folds, seed = options.folds, options.seed
    others = prior_others = None
    of_folds: dict[str, float] = {"rows_scored": 0}
    parts = [validation_line(rows, frequencies)]
    suspects = pd.DataFrame(columns=SUSPECT_COLUMNS)
    if out_of_fold is not None:
        others = out_of_fold.rows()
        suspects = suspect_cells(others, out_of_fold.index, names)
        prior_others = others.with_scores(metrics.prior_scores(frequencies, len(others)))
        of_folds, table = fold_figures(out_of_fold, frequencies, num_samples=options.num_samples, seed=seed)
        parts.append(table)
    if options.decisions.objective == "recall":
        others = prior_others = None  # its promise takes rows that are scored as new images are, by the whole model
    prior = rows.with_scores(metrics.prior_scores(frequencies, len(rows)))
    calibrated, decided = cross_fitting.cross_fit_checked(
        rows, groups, options.decisions, folds=folds, seed=seed, others=others
    )
    _, prior_decided = cross_fitting.cross_fit_checked(
        prior, groups, options.decisions, folds=folds, seed=seed, others=prior_others
    )
    figures |= cross_fitting.tuned_scores_checked(rows, calibrated, decided, prior_decided)

    # The model gets the decisions that all these rows choose together.
    final = decisions.fit_checked(rows.joined(others), options.decisions)
    thresholds = pd.DataFrame({"label": names, "decide_threshold": final.thresholds})
    reliability = {"raw": rows, "calibrated": rows.with_scores(calibrated)}
    points = [calibration.reliability_points_checked(cells).assign(scores=name) for name, cells in reliability.items()]
    plots = {
        "per_label.csv": per_label.merge(thresholds, on="label"),
        "pr_curves.csv": label_figures.precision_recall_points_checked(rows, names),
        "reliability.csv": pd.concat(points),
        "folds.csv": pd.concat(parts),
    }
    return Validation(figures, of_folds, final, score_table(index, rows, decided, names), suspects, plots)

"""Stage `evaluate`: score the validation side beside the label frequencies, and give the model its thresholds."""

from posterity import script

if __name__ == "__main__":
    script.begin()

import argparse
import dataclasses

import pandas as pd

from posterity import errors, files, model_card
from posterity.cache import rows as cached_rows
from posterity.config import stage_arguments
from posterity.config.load import load_params
from posterity.evaluation import bootstrap, calibration, cross_fitting, decisions, label_figures, metrics
from posterity.evaluation.outcome import print_outcome
from posterity.evaluation.score_file import read_scores
from posterity.evaluation.score_table import score_table
from posterity.evaluation.scored_rows import checked, checked_frequencies
from posterity.splitting import split_file
from posterity.splitting.groups import groups_of, possible_folds


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    return stage_arguments.parser(
        __doc__,
        "Read `skill` first: 0 is the loss of always answering the label frequencies, 1 is perfect. Calibration and "
        "thresholds are chosen on the validation side: the figures are those of rows that were left out of the choice, "
        "and the model gets the choice of all rows.",
        reads=["rows", "split", "trained", "scores"],
        writes=["model", "served", "table", "metrics", "plots"],
    ).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    cached = cached_rows.read(args.rows)
    _, validation, _ = split_file.read(args.split, cached.index)
    trained = model_card.read(args.trained, is_recorded=True)
    model_card.check_labels(args.trained, trained, cached.label_names, args.rows)

    index, names, seed = cached.index.iloc[validation], cached.label_names, params.seed
    targets, scores = cached.targets[validation], read_scores(args.scores)
    if scores.shape != targets.shape:
        raise errors.UserError(
            f"{args.scores}: expected scores of {len(validation)} validation rows and {len(names)} labels. "
            f"Got {scores.shape}. Run `dvc repro train`."
        )
    rows = checked(targets, scores)
    frequencies = checked_frequencies(trained.label_frequencies, rows.num_labels)
    groups = groups_of(index)

    # How good the scores are, and how far the figures would move with other validation rows.
    threshold, num_samples = params.evaluate.threshold, params.evaluate.bootstrap_samples
    per_label = label_figures.per_label_checked(rows, names, threshold)
    figures = metrics.evaluate_checked(rows, frequencies, per_label, threshold=threshold)
    figures |= bootstrap.bootstrap_intervals_checked(
        rows, frequencies, num_samples=num_samples, seed=seed, groups=groups
    )

    # How good decisions are on rows that had no part in choosing them.
    options = decisions.DecisionOptions(
        calibration=params.decide.calibration,
        objective=params.decide.thresholds,
        target_precision=params.decide.target_precision,
        min_positives=params.decide.min_positives,
        at_least_one=params.decide.at_least_one,
    )
    folds = possible_folds(groups, wanted=params.decide.folds)
    prior = rows.with_scores(metrics.prior_scores(frequencies, len(rows)))
    calibrated, decided = cross_fitting.cross_fit_checked(rows, groups, options, folds=folds, seed=seed)
    _, prior_decided = cross_fitting.cross_fit_checked(prior, groups, options, folds=folds, seed=seed)
    figures |= cross_fitting.tuned_scores_checked(rows, calibrated, decided, prior_decided)

    # The model gets the decisions that all validation rows choose together.
    final = decisions.fit_checked(rows, options)
    decided_card = dataclasses.replace(trained, decisions=dataclasses.asdict(final))
    model_card.copy_with(args.trained, args.model, decided_card)
    files.write_csv(args.table, score_table(index, rows, decided, names))
    thresholds = pd.DataFrame({"label": names, "decide_threshold": final.thresholds})
    files.write_plot(args.plots / "per_label.csv", per_label.merge(thresholds, on="label"))
    files.write_plot(args.plots / "pr_curves.csv", label_figures.precision_recall_points_checked(rows, names))
    reliability = {"raw": rows, "calibrated": rows.with_scores(calibrated)}
    points = [calibration.reliability_points_checked(cells).assign(scores=name) for name, cells in reliability.items()]
    files.write_plot(args.plots / "reliability.csv", pd.concat(points))
    files.write_json(args.metrics, figures)
    # Last: a copy of a model whose run has finished, for those who read it while DVC has deleted the model. It is no
    # output of DVC's, which would delete it, too, and no hard link, through which DVC could change it.
    model_card.copy_with(args.model, args.served or args.model.with_name(model_card.SERVED), decided_card)
    print_outcome(figures, args.metrics)


if __name__ == "__main__":
    script.run(main)

"""Stage `evaluate`: score the validation side beside the label frequencies, and give the model its thresholds."""

from posterity import script

if __name__ == "__main__":
    script.begin()

import argparse
import dataclasses

from posterity import files, model_card
from posterity.cache import rows as cached_rows
from posterity.config import stage_arguments
from posterity.config.load import load_params
from posterity.evaluation.decision_checks import check_rows
from posterity.evaluation.decisions import DecisionOptions
from posterity.evaluation.outcome import print_outcome
from posterity.evaluation.score_file import scored_training_rows, scored_validation_rows
from posterity.evaluation.scored_rows import checked_frequencies
from posterity.evaluation.validation import ScoringOptions, validate_checked
from posterity.splitting import split_file
from posterity.splitting.groups import groups_of, possible_folds, warn_of_few


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    return stage_arguments.parser(
        __doc__,
        "Read `skill` first: 0 is the loss of always answering the label frequencies, 1 is perfect. Calibration and "
        "thresholds are chosen on the validation side: the figures are those of rows that were left out of the choice, "
        "and the model gets the choice of all rows. With train.folds, training rows have a part in it, too.",
        reads=["rows", "split", "trained", "scores", "out-of-fold"],
        writes=["model", "served", "table", "suspects", "metrics", "folds", "plots"],
    ).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    cached = cached_rows.read(args.rows)
    train, validation, _ = split_file.read(args.split, cached.index)
    trained = model_card.read(args.trained, is_recorded=True)
    model_card.check_labels(args.trained, trained, cached.label_names, args.rows)

    index, names = cached.index.iloc[validation], cached.label_names
    rows = scored_validation_rows(args.scores, cached.targets[validation])
    out_of_fold = scored_training_rows(
        args.out_of_fold,
        cached.index.iloc[train],
        cached.targets[train],
        groups_of(cached.index.iloc[train]),
        folds=params.train.folds,
        repeats=params.train.repeats,
        seed=params.seed,
    )
    frequencies = checked_frequencies(trained.label_frequencies, rows.num_labels)
    groups = groups_of(index)
    warn_of_few(groups)

    options = ScoringOptions(
        threshold=params.evaluate.threshold,
        num_samples=params.evaluate.bootstrap_samples,
        folds=possible_folds(groups, wanted=params.decide.folds),
        seed=params.seed,
        decisions=DecisionOptions(
            calibration=params.decide.calibration,
            objective=params.decide.thresholds,
            target_precision=params.decide.target_precision,
            target_recall=params.decide.target_recall,
            min_positives=params.decide.min_positives,
            at_least_one=params.decide.at_least_one,
            exactly_one=params.decide.exactly_one,
        ),
    )
    check_rows(rows, index, options.decisions)
    found = validate_checked(rows, index, names, frequencies, groups, options, out_of_fold)
    # The model gets the decisions that all of them choose together.
    card = dataclasses.replace(trained, decisions=dataclasses.asdict(found.decisions))
    model_card.copy_with(args.trained, args.model, card)
    files.write_csv(args.table, found.table)
    files.write_csv(args.suspects, found.suspects)
    for name, table in found.plots.items():
        files.write_plot(args.plots / name, table)
    files.write_json(args.metrics, found.figures)
    files.write_json(args.folds, found.fold_figures)
    # Last: a copy of a model whose run has finished, for those who read it while DVC has deleted the model. It is no
    # output of DVC's, which would delete it, too, and no hard link, through which DVC could change it.
    model_card.copy_with(args.model, args.served or args.model.with_name(model_card.SERVED), card)
    print_outcome(found.figures, args.metrics, exactly_one=params.decide.exactly_one)


if __name__ == "__main__":
    script.run(main)

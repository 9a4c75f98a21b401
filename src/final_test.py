"""Stage `final_test`: score the test side, which had no part in the model, with the finished model."""

from posterity import script

if __name__ == "__main__":
    script.begin()

import argparse

import numpy as np
from tqdm import tqdm

from posterity import errors, files, model_card, model_decisions
from posterity.cache import rows as cached_rows
from posterity.cache.tensors import TensorCache
from posterity.config import stage_arguments
from posterity.config.load import load_params
from posterity.splitting import split_file
from posterity.splitting.groups import groups_of
from posterity.workers.threads import chunks

BATCH_SIZE = 64


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    return stage_arguments.parser(
        __doc__,
        "The figures are those of `evaluate`, with labels decided by the thresholds that the model carries. Look at "
        "them once, when all choices are made: they flatter a model that was chosen by them.",
        reads=["rows", "tensors", "split", "model"],
        writes=["test-metrics"],
    ).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    cached = cached_rows.read(args.rows)
    train, validation, test = split_file.read(args.split, cached.index)
    if not test.size:
        files.write_json(args.test_metrics, {"rows_scored": 0})
        print("No row is kept for the test (split.test_fraction, split.side_column): nothing to score.")
        return
    cache = TensorCache(args.tensors)
    if len(cache) != len(cached):
        raise errors.UserError(
            f"{args.tensors}: expected {len(cached):,} images, the rows of {args.rows}. Got {len(cache):,}. "
            "Run `dvc repro preprocess`."
        )
    # Open once: what is checked here and what is loaded below is one model.
    with model_card.opened(args.model, is_recorded=True) as model_file:
        card = model_file.card
        model_card.check_labels(args.model, card, cached.label_names, args.rows)
        model_card.check_image(args.model, card, cache.spec, args.tensors)
        chosen = model_decisions.of_card(args.model, card)

        # Here, since scikit-learn and TensorFlow take seconds to load, and most runs have no test rows.
        from posterity.evaluation import bootstrap, cross_fitting, decisions, label_figures, metrics
        from posterity.evaluation.scored_rows import checked, checked_frequencies
        from posterity.nn import device

        settings = params.machine.device
        device.configure(settings, seed=params.seed)

        from posterity.nn.inference import engines, fixed_batches, network

        model, engine = network.load(model_file), settings.inference_engine
    examples = cache.images(test[: fixed_batches.BATCH_SIZE])
    compute = engines.batch_function(model, engine, examples, cpu_threads=settings.cpu_threads)
    parts = tqdm(chunks(test.tolist(), BATCH_SIZE), "test", -(-len(test) // BATCH_SIZE), mininterval=1, delay=2)
    scores = np.concatenate([compute(cache.images(part)) for part in parts]).clip(0, 1)

    rows, names = checked(cached.targets[test], scores), cached.label_names
    frequencies = checked_frequencies(card.label_frequencies, rows.num_labels)
    threshold, num_samples = params.evaluate.threshold, params.evaluate.bootstrap_samples
    per_label = label_figures.per_label_checked(rows, names, threshold)
    figures = metrics.evaluate_checked(rows, frequencies, per_label, threshold=threshold)
    figures |= bootstrap.bootstrap_intervals_checked(
        rows, frequencies, num_samples=num_samples, seed=params.seed, groups=groups_of(cached.index.iloc[test])
    )

    # The baseline decides as the model does: by thresholds that the same rows choose for it.
    has_part = params.train.folds > 1 and params.decide.thresholds != "recall"
    choosing = np.concatenate([train, validation]) if has_part else validation
    options = decisions.DecisionOptions(
        calibration=params.decide.calibration,
        objective=params.decide.thresholds,
        target_precision=params.decide.target_precision,
        target_recall=params.decide.target_recall,
        min_positives=params.decide.min_positives,
        at_least_one=params.decide.at_least_one,
        exactly_one=params.decide.exactly_one,
    )
    chosen_on = checked(cached.targets[choosing], metrics.prior_scores(frequencies, len(choosing)))
    prior = metrics.prior_scores(frequencies, len(test))
    _, prior_decided = decisions.fit_checked(chosen_on, options).apply_checked(prior)
    calibrated, decided = chosen.apply_checked(rows.scores)
    figures |= cross_fitting.tuned_scores_checked(rows, calibrated, decided, prior_decided)
    files.write_json(args.test_metrics, figures)
    # Without the figures: who sees them after every run chooses by them sooner or later.
    print(f"{len(test):,} test rows scored. Look at {args.test_metrics} once, when all choices are made.")


if __name__ == "__main__":
    script.run(main)

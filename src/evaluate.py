"""Stage `evaluate`: score the validation side beside the label frequencies, and give the model its thresholds."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from posterity import errors, files, model_card
from posterity.cache.tensors import TensorCache
from posterity.config.load import load_params
from posterity.evaluation import bootstrap, calibration, decisions, metrics
from posterity.splitting import assign, split_file


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Read `skill` first: 0 is the loss of always answering the label frequencies, 1 is perfect. Calibration "
        "and thresholds are chosen on the validation side: the figures are those of rows that were left out of the "
        "choice, and the model gets the choice of all rows.",
    )
    parser.add_argument("--params", type=Path, default="params.yaml", help="parameters (default: %(default)s)")
    parser.add_argument("--tensors", type=Path, default="data/tensors", help="tensor cache, for its labels")
    parser.add_argument("--split", type=Path, default="data/split.csv", help="split to read")
    parser.add_argument("--trained", type=Path, default="models/trained.keras", help="model to read")
    parser.add_argument("--scores", type=Path, default="data/scores.npy", help="its scores of the validation side")
    parser.add_argument("--model", type=Path, default="models/model.keras", help="model with thresholds, to write")
    parser.add_argument("--table", type=Path, default="data/scores.csv", help="CSV to write: scores of every row")
    parser.add_argument("--metrics", type=Path, default="metrics/evaluate.json", help="JSON to write")
    parser.add_argument("--plots", type=Path, default="metrics/plots", help="folder for the plots' CSV files")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    cache = TensorCache(args.tensors)
    _, rows = split_file.read(args.split, cache.index)
    trained = model_card.read(args.trained)

    index, names = cache.index.iloc[rows], cache.label_names
    y_true, y_score = cache.targets[rows], files.read_array(args.scores).astype(np.float64)
    if y_score.shape != y_true.shape:
        raise errors.UserError(
            f"{args.scores}: expected scores of {len(rows)} validation rows and {len(names)} labels. "
            f"Got {y_score.shape}. Run `dvc repro train`."
        )
    frequencies = np.asarray(trained.label_frequencies)
    groups = assign.group_rows(index["id"].tolist(), index["sha256"].tolist())

    how: dict[str, Any] = {
        "calibration": params.decide.calibration,
        "objective": params.decide.thresholds,
        "target_precision": params.decide.target_precision,
        "min_positives": params.decide.min_positives,
        "at_least_one": params.decide.at_least_one,
    }
    folds = params.decide.folds
    calibrated, decided = decisions.cross_fit(y_true, y_score, groups, folds=folds, seed=params.seed, **how)
    prior = metrics.prior_scores(frequencies, len(rows))
    _, prior_decided = decisions.cross_fit(y_true, prior, groups, folds=folds, seed=params.seed, **how)

    figures = metrics.evaluate(y_true, y_score, frequencies, threshold=params.evaluate.threshold)
    figures |= decisions.tuned_scores(y_true, y_score, calibrated, decided, prior_decided)
    figures |= bootstrap.bootstrap_intervals(
        y_true,
        y_score,
        frequencies,
        num_samples=params.evaluate.bootstrap_samples,
        seed=params.seed,
        groups=groups,
    )

    final = decisions.fit(y_true, y_score, **how)
    model_card.copy_with(args.trained, args.model, dataclasses.replace(trained, decisions=final))
    files.write_csv(args.table, score_table(index, y_true, y_score, decided, names))
    per_label = metrics.per_label(y_true, y_score, names, params.evaluate.threshold)
    per_label = per_label.merge(pd.DataFrame({"label": names, "decide_threshold": final.thresholds}), on="label")
    files.write_csv(args.plots / "per_label.csv", per_label)
    files.write_csv(args.plots / "pr_curves.csv", metrics.precision_recall_points(y_true, y_score, names))
    reliability = {"raw": y_score, "calibrated": calibrated}
    points = [calibration.reliability_points(y_true, cells).assign(scores=name) for name, cells in reliability.items()]
    files.write_csv(args.plots / "reliability.csv", pd.concat(points))
    files.write_json(args.metrics, figures)
    print_outcome(figures, args.metrics)


def score_table(
    index: pd.DataFrame, y_true: np.ndarray, y_score: np.ndarray, decided: np.ndarray, label_names: list[str]
) -> pd.DataFrame:
    """One row an image: ``row``, ``id``, ``true`` and ``decided`` (JSON lists of names), and a score column per label.

    Scores are the network's own, before calibration. What is decided is what is scored: on calibrated scores, by
    thresholds that this row had no part in.
    """
    names = np.asarray(label_names, dtype=object)

    def listed(cells: np.ndarray) -> list[str]:
        return [json.dumps(names[carried > 0].tolist(), ensure_ascii=False) for carried in cells]

    table = index[["row", "id"]].reset_index(drop=True).assign(true=listed(y_true), decided=listed(decided))
    return pd.concat([table, pd.DataFrame(y_score, columns=[f"score:{name}" for name in label_names])], axis=1)


def print_outcome(metrics: dict[str, float], path: Path) -> None:
    """Say on stdout what came out and where to look next; warn on stderr of a model that learned nothing."""
    print(f"\nValidation, {metrics['rows_scored']:,} rows, beside always answering the label frequencies:")
    print(f"  binary cross-entropy {metrics['bce']:.4f}   frequencies {metrics['bce_prior']:.4f}")
    print(
        f"  skill                {metrics['skill']:.4f}   95 % interval {metrics['skill_low']:.4f} to "
        f"{metrics['skill_high']:.4f}"
    )
    if "map_macro" in metrics:
        print(f"  macro mAP            {metrics['map_macro']:.4f}   frequencies {metrics['map_macro_prior']:.4f}")
    if "f1_macro_tuned" in metrics:
        tuned, prior = metrics["f1_macro_tuned"], metrics["f1_macro_tuned_prior"]
        print(f"  macro F1             {tuned:.4f}   frequencies {prior:.4f}   (a threshold per label)")
    if metrics["skill_low"] <= 0:
        print(
            f"WARNING: skill is {metrics['skill']:.4f}, its 95 % interval includes or lies below 0: this model has "
            "learned nothing beyond the label frequencies.",
            file=sys.stderr,
        )
    print(
        f"Next: all figures are in {path}, curves in a page by `dvc plots show`. Label new images by "
        "`posterity predict FILE_OR_FOLDER`.\nAfter a change of params.yaml, `dvc repro` runs what it touches; "
        "`dvc metrics diff` and `dvc plots diff` compare with the last commit."
    )


if __name__ == "__main__":
    errors.run(main)

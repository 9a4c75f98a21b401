"""Stage `evaluate`: score the validation side and set each figure beside that of knowing only the label frequencies."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from posterity import bootstrap, errors, files, scores, sides, splits
from posterity.params import load_params
from posterity.tensors import TensorCache


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Read `skill` first: 0 is the loss of always answering the label frequencies, 1 is perfect.",
    )
    parser.add_argument("--params", type=Path, default="params.yaml", help="parameters (default: %(default)s)")
    parser.add_argument("--tensors", type=Path, default="data/tensors", help="tensor cache to read")
    parser.add_argument("--split", type=Path, default="data/split.csv", help="split to read")
    parser.add_argument("--model", type=Path, default="models/model.keras", help="model to read")
    parser.add_argument("--scores", type=Path, default="data/scores.csv", help="CSV to write: scores of every row")
    parser.add_argument("--metrics", type=Path, default="metrics/evaluate.json", help="JSON to write")
    parser.add_argument(
        "--plots", type=Path, default="metrics/plots", help="folder for per_label.csv and pr_curves.csv"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    cache = TensorCache(args.tensors)
    _, rows = sides.read(args.split, cache.index)

    from posterity.nn import runtime

    runtime.configure(params.gpu, seed=params.seed)

    from posterity.nn import batches, predict, store

    model, card = store.load(args.model)
    y_true = cache.targets[rows]
    y_score = predict.predict_batches(model, batches.Batches(cache, rows, predict.BATCH_SIZE)).astype(np.float64)
    frequencies = np.asarray(card.label_frequencies)

    index = cache.index.iloc[rows]
    metrics = scores.evaluate(y_true, y_score, frequencies, threshold=params.evaluate.threshold)
    metrics |= bootstrap.bootstrap_intervals(
        y_true,
        y_score,
        frequencies,
        num_samples=params.evaluate.bootstrap_samples,
        seed=params.seed,
        groups=splits.group_rows(index["id"].tolist(), index["sha256"].tolist()),
    )
    files.write_csv(args.scores, score_table(index, y_true, y_score, cache.label_names))
    per_label = scores.per_label(y_true, y_score, cache.label_names, params.evaluate.threshold)
    files.write_csv(args.plots / "per_label.csv", per_label)
    curves = scores.precision_recall_points(y_true, y_score, cache.label_names)
    files.write_csv(args.plots / "pr_curves.csv", curves)
    files.write_json(args.metrics, metrics)
    print_outcome(metrics, args.metrics)


def score_table(index: pd.DataFrame, y_true: np.ndarray, y_score: np.ndarray, label_names: list[str]) -> pd.DataFrame:
    """One row an image: ``row``, ``id``, ``true`` (JSON list of names) and a score column per label."""
    names = np.asarray(label_names, dtype=object)
    true = [json.dumps(names[carried > 0].tolist(), ensure_ascii=False) for carried in y_true]
    table = index[["row", "id"]].reset_index(drop=True).assign(true=true)
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

"""Is the data set learnable, and is the network worth its time? Baselines beside the trained model, on its split.

    dvc repro && python benchmarks/baselines.py

Prints a Markdown table: always answering the label frequencies, a logistic regression on the mean colour of the image
and, with model.name: backbone, on the cached features, and the model of the last `dvc repro` (from data/scores.csv). On
the sample they have to come out in that order. The strength of the regression's regularisation is tried at some values,
all of which are shown: the best of them, chosen on the validation side, is a line that is hard to beat.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from posterity import files
from posterity.cache import rows as cached_rows
from posterity.cache.features import FeatureCache
from posterity.cache.tensors import TensorCache
from posterity.evaluation import metrics
from posterity.script import run
from posterity.splitting import split_file


def mean_colours(cache: TensorCache) -> npt.NDArray[np.float64]:
    """Mean red, green and blue of every cached image, (N, 3), 0 to 1."""
    rows = np.arange(len(cache))
    chunks = [cache.images(rows[start : start + 256]).mean(axis=(1, 2)) for start in range(0, len(rows), 256)]
    return np.concatenate(chunks) / 255


def logistic_regression(
    features: npt.NDArray[np.floating],
    targets: npt.NDArray[np.uint8],
    train: npt.NDArray[np.int64],
    validation: npt.NDArray[np.int64],
    c: float = 1.0,
) -> npt.NDArray[np.float64]:
    """Validation scores (n, L) of a logistic regression per label, at scikit-learn's C, on standardised (N, F)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frequencies = metrics.label_frequencies(targets[train])
    predicted = metrics.prior_scores(frequencies, len(validation)).copy()
    for label, target in enumerate(targets[train].T):
        if 0 < target.sum() < len(target):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
            predicted[:, label] = model.fit(features[train], target).predict_proba(features[validation])[:, 1]
    return predicted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="data/rows", help="index and targets (default: %(default)s)")
    parser.add_argument("--tensors", default="data/tensors", help="tensor cache (default: %(default)s)")
    parser.add_argument("--features", default="data/features", help="feature cache (default: %(default)s)")
    parser.add_argument("--split", default="data/split.csv", help="split (default: %(default)s)")
    parser.add_argument("--scores", default="data/scores.csv", help="scores of the model (default: %(default)s)")
    args = parser.parse_args()

    rows, cache = cached_rows.read(args.rows), TensorCache(args.tensors)
    targets = rows.targets
    train, validation, _ = split_file.read(args.split, rows.index)
    frequencies = metrics.label_frequencies(targets[train])
    model = files.read_csv(args.scores)[[f"score:{name}" for name in rows.label_names]].to_numpy(dtype=np.float64)
    contenders = {
        "label frequencies": metrics.prior_scores(frequencies, len(validation)),
        "logistic regression on mean colour": logistic_regression(mean_colours(cache), targets, train, validation),
    }
    cached = FeatureCache(args.features)
    if cached.backbones:
        vectors = cached.vectors(np.arange(len(cache)))
        for c in (1e-4, 3e-4, 1e-3, 3e-3):
            name = f"logistic regression (C={c:g}) on {' + '.join(cached.backbones)}"
            contenders[name] = logistic_regression(vectors, targets, train, validation, c)
    contenders["the trained model"] = model
    print("| model | bce | skill | map_macro |\n|---|---:|---:|---:|")
    for name, y_score in contenders.items():
        found = metrics.evaluate(targets[validation], y_score, frequencies)
        print(f"| {name} | {found['bce']:.4f} | {found['skill']:.3f} | {found['map_macro']:.3f} |")


if __name__ == "__main__":
    run(main)

"""How much faster are features at a lower precision, how far off are they, and does a classifier on them lose anything?

    dvc repro && python benchmarks/inference_precision.py --backbone data/backbones/efficientnet_lite0_imagenet.keras

Takes images from the tensor cache of the last `dvc repro` and runs every engine and precision that this machine has, in
one process and in turns, so that other load touches all of them. A ratio is taken within a round. Then, on the images
of the table, a logistic regression per label is fitted to the features of each kind, on four fifths of the rows at a
time, and judged by its binary cross-entropy on the fifth: on features of the same kind, and on those in float32, which
is what the saved model computes.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # this checkout, not an installed copy

import numpy as np
import numpy.typing as npt
from baselines import logistic_regression
from rounds import measure, ratio

from posterity import choices
from posterity.cache import rows as cached_rows
from posterity.cache.tensors import TensorCache
from posterity.errors import UserError
from posterity.evaluation import metrics
from posterity.script import run

CONTENDERS: tuple[tuple[choices.InferenceEngine, choices.InferencePrecision], ...] = (
    ("onnxruntime", "float32"),
    ("keras", "float32"),
    ("onnxruntime", "int8"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("openvino", "int8"),
)
FOLDS = 5
Floats = npt.NDArray[np.floating]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", type=Path, required=True, help=".keras file of a backbone")
    parser.add_argument("--tensors", default="data/tensors", help="tensor cache (default: %(default)s)")
    parser.add_argument("--rows", default="data/rows", help="index and targets (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=1000, metavar="N", help="images for the regression")
    parser.add_argument("--timed", type=int, default=128, metavar="N", help="images of a round (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--c", type=float, default=1e-3, help="of scikit-learn's regression (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: one per core)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    cache, targets = TensorCache(args.tensors), cached_rows.read(args.rows).targets
    rows = np.arange(min(args.limit, len(cache)))

    from posterity.nn import device

    device.load_backend()

    from posterity.nn.inference import engines, fixed_batches
    from posterity.nn.networks import backbones, extractor

    loaded = backbones.load(
        args.backbone.name,
        folder=args.backbone.parent,
        weights=None,
        height=cache.spec.height,
        width=cache.spec.width,
    )
    model = extractor.feature_model([loaded])
    examples = cache.images(rows[: fixed_batches.BATCH_SIZE])
    functions: dict[str, Callable[[npt.NDArray[np.uint8]], Floats]] = {}
    for engine, precision in CONTENDERS:
        try:
            functions[f"{engine} {precision}"] = engines.batch_function(
                model, engine, examples, at=precision, cpu_threads=args.threads
            )
        except UserError as error:
            print(f"{engine} {precision} is left out: {error}", file=sys.stderr)
    images = cache.images(rows[: args.timed])
    passes = {name: partial(function, images) for name, function in functions.items()}
    timings = measure(passes, len(images), args.repeats)

    def features(name: str) -> Floats:
        parts = [functions[name](cache.images(rows[start : start + 64])) for start in range(0, len(rows), 64)]
        return np.concatenate(parts)

    base = "onnxruntime float32"
    exact = features(base)
    print(f"\n{args.backbone.stem}, {len(images)} images timed, regressions on {len(rows)} images\n")
    print("| engine, precision | images/s | times as fast | mean difference | bce | bce, judged on float32 |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, timed in timings.items():
        found = exact if name == base else features(name)
        off = np.abs(found - exact).mean() / np.abs(exact).mean()
        own, on_float32 = (cross_fitted(found, judged, targets[rows], args.c) for judged in (found, exact))
        rate = statistics.median(timing.images_per_s for timing in timed)
        print(f"| {name} | {rate:.0f} | {ratio(timed, timings[base])} | {off:.1%} | {own:.5f} | {on_float32:.5f} |")


def cross_fitted(fitted: Floats, judged: Floats, targets: npt.NDArray[np.uint8], c: float) -> float:
    """Binary cross-entropy on ``judged`` of regressions that were fitted to the other rows of ``fitted``."""
    order = np.random.default_rng(0).permutation(len(fitted))
    scores = np.empty(targets.shape)
    for fold in range(FOLDS):
        validation = order[fold::FOLDS]
        train = np.setdiff1d(order, validation)
        both = np.concatenate([fitted, judged[validation]])
        rows = np.arange(len(fitted), len(both))
        scores[validation] = logistic_regression(both, np.concatenate([targets, targets[validation]]), train, rows, c)
    return float(metrics.binary_cross_entropy(targets, scores))


if __name__ == "__main__":
    run(main)

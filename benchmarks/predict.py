"""Compare `posterity predict` with the loops that most programs write: `load_img`, then `model.predict`.

    python benchmarks/predict.py --quick
    python benchmarks/predict.py --images ../posters/Images --limit 300 --backbone data/backbones/some.keras

The model is a pretrained backbone with an untrained head, or without a backbone file `compact_cnn` untrained: the time
is that of a trained one. All contenders run in one process, in turns, on files that have been read before. Figures are
medians over the rounds. A ratio is taken within a round, so other load on the machine touches both of its sides; CPU
time per image depends on that load least. The first call, on one image, traces the network, and exports it for ONNX
Runtime; it stands in a column of its own.
"""

import argparse
import dataclasses
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # this checkout, not an installed copy

import numpy as np
from rounds import Timing, measure, ratio

from posterity import predictions
from posterity.evaluation.calibration import Calibration
from posterity.evaluation.decisions import Decisions
from posterity.model_card import ModelCard
from posterity.pixels.spec import ImageSpec
from posterity.script import run
from posterity.workers.threads import chunks

SPEC = ImageSpec()  # the defaults of params.yaml: 400 x 300
NUM_LABELS = 25
QUICK_LIMIT = 64
LOOP = "loop: `load_img`, `model.predict`, one image each"
LOOP_32 = "the same with 32 images each"

Pass = Callable[[Sequence[str]], None]
"""Predicts files and forgets what came out."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="data/sample/images", help="folder of images (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=300, metavar="N", help="take N files (default: %(default)s)")
    parser.add_argument("--backbone", type=Path, help=".keras file (default: the first in data/backbones, if any)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_LIMIT} files, one round")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    limit, repeats = (QUICK_LIMIT, 1) if args.quick else (args.limit, args.repeats)
    found = predictions.find_images([args.images])
    limit = min(limit, len(found))
    paths = [found[index * len(found) // limit] for index in range(limit)]  # names may be in the order of size
    backbone = args.backbone or next(iter(sorted(Path("data/backbones").glob("*.keras"))), None)

    from posterity.nn import device

    device.load_backend()

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        save_model(backbone, file)
        passes = build_passes(file)
        first_calls = {name: clocked(one, paths[:1]) for name, one in passes.items()}
        for one in passes.values():
            one(paths[:32])  # Keras traces once more for another number of images
        passes[LOOP_32](paths)  # brings all files into the page cache
        whole = {name: partial(one, paths) for name, one in passes.items()}
        timings = measure(whole, len(paths), repeats)
    network = backbone.stem if backbone else "compact_cnn"
    title = f"{limit} images of {Path(args.images).name}, {network} at {SPEC.height} x {SPEC.width}"
    print(f"\n### {title}, {os.cpu_count()} CPU cores\n\n{markdown(timings, first_calls)}")


def save_model(backbone: Path | None, path: Path) -> None:
    """Write a model file as stage `evaluate` leaves it."""
    from posterity.nn import keras_file
    from posterity.nn.networks import backbones, extractor, scratch
    from posterity.nn.networks.assemble import with_head
    from posterity.nn.networks.head import build_head

    frequencies = np.full(NUM_LABELS, 0.1)
    if backbone is None:
        model = scratch.build("compact_cnn", height=SPEC.height, width=SPEC.width, label_frequencies=frequencies).model
    else:
        loaded = backbones.load(
            backbone.name, folder=backbone.parent, weights=None, height=SPEC.height, width=SPEC.width
        )
        features = extractor.feature_model([loaded])
        length = features.output_shape[1]
        head = build_head(np.zeros(length), np.ones(length), frequencies, hidden_units=512, dropout=0.5)
        model = with_head(features, head)
    decisions = Decisions(Calibration("off", ((),) * NUM_LABELS), (0.5,) * NUM_LABELS, at_least_one=False)
    names = tuple(f"label {number}" for number in range(NUM_LABELS))
    keras_file.save(model, path, ModelCard(names, tuple(frequencies), SPEC, dataclasses.asdict(decisions)).as_member())


def build_passes(path: Path) -> dict[str, Pass]:
    """The contenders, by name."""
    import keras

    from posterity.nn.inference.classifier import Classifier

    def loop(model: keras.Model, batch_size: int, paths: Sequence[str]) -> None:
        for some in chunks(paths, batch_size):
            images = [keras.utils.load_img(path, target_size=(SPEC.height, SPEC.width)) for path in some]
            model.predict(np.stack([keras.utils.img_to_array(image) for image in images]), verbose=0)

    def classify(classifier: Classifier, paths: Sequence[str]) -> None:
        for _ in classifier.predict(paths):
            pass

    return {
        LOOP: partial(loop, keras.saving.load_model(path), 1),
        LOOP_32: partial(loop, keras.saving.load_model(path), 32),
        "`posterity predict --engine keras`": partial(classify, Classifier(path, engine="keras")),
        "`posterity predict --engine onnxruntime`": partial(classify, Classifier(path, engine="onnxruntime")),
    }


def clocked(one: Pass, paths: Sequence[str]) -> float:
    """Seconds that one pass takes."""
    start = time.perf_counter()
    one(paths)
    return time.perf_counter() - start


def markdown(timings: dict[str, list[Timing]], first_calls: dict[str, float]) -> str:
    lines = [
        "| contender | images/s | faster than the loop by | CPU ms/image | first call, s |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, rounds in timings.items():
        rate = statistics.median(timing.images_per_s for timing in rounds)
        cpu_ms = statistics.median(timing.cpu_ms_per_image for timing in rounds)
        lines.append(
            f"| {name} | {rate:.1f} | {ratio(rounds, timings[LOOP])} | {cpu_ms:.1f} | {first_calls[name]:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)

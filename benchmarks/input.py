"""What the input costs a training step: steps on one constant batch beside steps on batches read from the cache.

    dvc repro preprocess && python benchmarks/input.py

Both train the same network in one process, in turns; every round times a pass of each. A ratio is taken within a round,
so that other load on the machine touches both of its sides; single rounds differ by more than what is measured.
"""

import argparse
import functools
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # this checkout, not an installed copy

from rounds import measure

from posterity.cache import rows as cached_rows
from posterity.cache.tensors import TensorCache
from posterity.config.load import load_params
from posterity.script import run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default="params.yaml", help="recipe and device (default: %(default)s)")
    parser.add_argument("--rows", type=Path, default="data/rows", help="targets to read (default: %(default)s)")
    parser.add_argument("--tensors", type=Path, default="data/tensors", help="cache to read (default: %(default)s)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 64], metavar="N", help="default: 32 64")
    parser.add_argument("--images", type=int, default=2048, metavar="N", help="images a pass (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=8, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="256 images a pass, 3 rounds")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    num_images, repeats = (256, 3) if args.quick else (args.images, args.repeats)
    params = load_params(args.params)
    cache, targets = TensorCache(args.tensors), cached_rows.read(args.rows).targets

    from posterity.nn import device

    device.configure(params.machine.device, seed=params.seed)

    import keras
    import tensorflow as tf

    from posterity.nn.networks import augment, scratch
    from posterity.nn.training import streams
    from posterity.nn.training.batches import Batches, images_of

    network = scratch.build(
        "compact_cnn",
        height=cache.spec.height,
        width=cache.spec.width,
        label_frequencies=np.full(targets.shape[1], 0.1),
        augmentation=lambda value_range: augment.layers(
            **params.train.augment.model_dump(), seed=params.seed, value_range=value_range
        ),
    )
    network.training.compile("adamw", keras.losses.BinaryCrossentropy())

    def step_through(data: Any) -> None:
        network.training.fit(data, epochs=1, shuffle=False, verbose=0)

    print(f"compact_cnn, {cache.spec.height} x {cache.spec.width}, {num_images} images a pass, {repeats} rounds.\n")
    print("| batch | ms a step, constant batch | ms, from the cache | cost in time (quartiles) | in CPU time |")
    print("|---:|---:|---:|---:|---:|")
    for size in args.batch_sizes:
        rows = np.random.default_rng(0).integers(len(cache), size=num_images // size * size)
        real = Batches(images_of(cache), targets, rows, size, shuffle_seed=0)
        passes = {
            "constant": functools.partial(step_through, tf.data.Dataset.from_tensors(real[0]).repeat(len(real))),
            "read": functools.partial(step_through, streams.stream(real)),
        }
        for run_through in passes.values():
            run_through()  # compiles, and brings the rows into the page cache
        timings = measure(passes, len(rows), repeats)
        pairs = list(zip(timings["read"], timings["constant"], strict=True))
        time_costs = [constant.images_per_s / read.images_per_s - 1 for read, constant in pairs]
        cpu_costs = [read.cpu_ms_per_image / constant.cpu_ms_per_image - 1 for read, constant in pairs]
        steps = [
            1000 * size / statistics.median(timing.images_per_s for timing in timings[name])
            for name in ("constant", "read")
        ]
        print(f"| {size} | {steps[0]:.0f} | {steps[1]:.0f} | {middle(time_costs)} | {middle(cpu_costs)} |", flush=True)


def middle(costs: Sequence[float]) -> str:
    """Median and quartiles: single rounds are hit by whatever else the machine does."""
    low, median, high = np.quantile(costs, [0.25, 0.5, 0.75])
    return f"{median:.1%} ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    run(main)

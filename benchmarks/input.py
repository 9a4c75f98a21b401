"""What the input costs a training step: steps on one constant batch beside steps on batches read from the cache.

    dvc repro preprocess && python benchmarks/input.py

Both train the same network in one process, in turns; every round times each of them once. A ratio is taken within a
round, so that other load on the machine touches both of its sides.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # this checkout, not an installed copy

from posterity.errors import run
from posterity.params import load_params
from posterity.tensors import TensorCache


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default="params.yaml", help="recipe and device (default: %(default)s)")
    parser.add_argument("--tensors", type=Path, default="data/tensors", help="cache to read (default: %(default)s)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 64], metavar="N", help="default: 32 64")
    parser.add_argument("--images", type=int, default=2048, metavar="N", help="images a pass (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="512 images a pass, 3 rounds")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    num_images, repeats = (512, 3) if args.quick else (args.images, args.repeats)
    params = load_params(args.params)
    cache = TensorCache(args.tensors)

    from posterity.nn import runtime

    runtime.configure(params.gpu, seed=params.seed)

    import keras

    from posterity.nn import augment, models
    from posterity.nn.batches import Batches, images_of

    network = models.build(
        "compact_cnn",
        height=cache.spec.height,
        width=cache.spec.width,
        label_frequencies=np.full(len(cache.label_names), 0.1),
        augmentation=lambda value_range: augment.layers(
            **params.train.augment.model_dump(), seed=params.seed, value_range=value_range
        ),
    )
    network.training.compile("adam", keras.losses.BinaryCrossentropy())

    class Constant(keras.utils.PyDataset):
        """The same batch again and again, out of memory."""

        def __init__(self, batches: Batches) -> None:
            super().__init__()
            self.batch, self.length = batches[0], len(batches)

        def __len__(self) -> int:
            return self.length

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return self.batch

    def timed(data: keras.utils.PyDataset) -> float:
        start = time.perf_counter()
        network.training.fit(data, epochs=1, shuffle=False, verbose=0)
        return time.perf_counter() - start

    print(f"compact_cnn, {cache.spec.height} x {cache.spec.width}, {num_images} images a pass, {repeats} rounds.\n")
    print("| batch | images/s, constant batch | images/s, from the cache | cost of the input (lowest, highest) |")
    print("|---:|---:|---:|---:|")
    for size in args.batch_sizes:
        rows = np.random.default_rng(0).integers(len(cache), size=num_images // size * size)
        real = Batches(images_of(cache), cache.targets, rows, size, shuffle_seed=0)
        contenders = (Constant(real), real)
        for contender in contenders:
            timed(contender)  # compiles, and brings the rows into the page cache
        rounds = []
        for number in range(repeats):
            times = [0.0, 0.0]
            for index in (0, 1) if number % 2 else (1, 0):
                times[index] = timed(contenders[index])
            rounds.append(times)
        costs = [read / constant - 1 for constant, read in rounds]
        speeds = [len(rows) / statistics.median(times) for times in zip(*rounds, strict=True)]
        cost = f"{statistics.median(costs):.1%} ({min(costs):.1%}, {max(costs):.1%})"
        print(f"| {size} | {speeds[0]:.0f} | {speeds[1]:.0f} | {cost} |", flush=True)


if __name__ == "__main__":
    run(main)

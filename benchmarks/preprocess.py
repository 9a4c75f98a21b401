"""Compare the decoding of stage `preprocess` with other ways to turn JPEG files into uint8 arrays of 400 x 300.

    python benchmarks/preprocess.py --quick
    python benchmarks/preprocess.py --images ../posters/Images --limit 1500

A last table is for photos of 2000 x 3000, drawn for the purpose. Their decoding is scaled in the stage and in full in
the others, as plain calls of these libraries do it.

All contenders run in one process, in turns: every round times each of them once, on the same files, which have been
read before. Figures are medians over the rounds. A ratio is taken within a round, so other load on the machine touches
both of its sides; CPU time per image depends on that load least. Compare ratios, not images/s, between machines.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # this checkout, not an installed copy

from rounds import Timing, measure, ratio

from posterity.errors import UserError
from posterity.pixels.decode import ImageArray, ImageProblem, decode_all
from posterity.pixels.spec import ImageSpec
from posterity.script import run
from posterity.workers.threads import threads as local_threads

SPEC = ImageSpec()  # the defaults of params.yaml: 400 x 300, area, stretch
SIZE = (SPEC.width, SPEC.height)
STAGE = "stage `preprocess` (`decode_all`)"
QUICK_LIMIT = 200
QUALITY_IMAGES = 100
LARGE_SIZE = (2000, 3000)
QUICK_LARGE = 16  # two tasks of `decode_all`: with fewer, one of two threads has nothing to do
JPEG_QUALITY = 90

Pass = Callable[[], Iterable[ImageArray]]
"""One run over all files, yielding their arrays in order."""


@dataclass(frozen=True)
class Contender:
    """One way to decode.

    Attributes
    ----------
    name : str
        As shown in the table.
    build : callable
        Takes paths and a number of threads and returns a `Pass`; what is done once (graphs, imports) is done here.
    module : str
        The package that it needs, as imported.
    resizes : bool
        Whether the arrays have the size of `SPEC`, so that they can be compared.
    """

    name: str
    build: Callable[[Sequence[Path], int], Pass]
    module: str = "PIL"
    resizes: bool = True

    @property
    def installed(self) -> bool:
        return find_spec(self.module) is not None


def build_stage(paths: Sequence[Path], threads: int) -> Pass:
    """What src/preprocess.py calls; `usable` has left out the files for which it yields an `ImageProblem`."""
    return lambda: cast(Iterable[ImageArray], decode_all(paths, SPEC, local_threads(threads)))


def build_pillow(paths: Sequence[Path], threads: int) -> Pass:
    """Pillow as most programs call it: its antialiased resize, no ``draft``, no checks."""

    def decode(path: Path) -> ImageArray:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize(SIZE, Image.Resampling.BILINEAR))

    return partial(threaded, decode, paths, threads)


def build_tf_data(paths: Sequence[Path], threads: int) -> Pass:
    """The usual `tf.data` input pipeline, on the CPU."""
    from posterity.nn.device import load_backend

    load_backend()  # keeps TensorFlow's log lines back
    tf: Any = import_module("tensorflow")
    tf.config.set_visible_devices([], "GPU")

    def decode(path: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        resized = tf.image.resize(image, (SPEC.height, SPEC.width), method="bilinear", antialias=True)
        return tf.cast(tf.round(resized), tf.uint8)  # a bare cast cuts the fraction off: half a grey level darker

    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    dataset = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE).with_options(options)
    return cast(Pass, dataset.as_numpy_iterator)


def build_opencv(paths: Sequence[Path], threads: int) -> Pass:
    """OpenCV's own codec and its resize by area as they come: without Intel's kernels (see `pixels.resize`)."""
    cv2: Any = import_module("cv2")
    cv2.setNumThreads(1)  # the pool has the threads

    def decode(path: Path) -> ImageArray:
        rgb = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return cast(ImageArray, cv2.resize(rgb, SIZE, interpolation=cv2.INTER_AREA))

    return partial(threaded, decode, paths, threads)


def build_decode_only(paths: Sequence[Path], threads: int) -> Pass:
    """libjpeg-turbo with next to nothing around it: what every pipeline pays before it resizes."""
    simplejpeg: Any = import_module("simplejpeg")

    def decode(path: Path) -> ImageArray:
        return cast(ImageArray, simplejpeg.decode_jpeg(path.read_bytes(), colorspace="RGB", strict=False))

    return partial(threaded, decode, paths, threads)


CONTENDERS = (
    Contender(STAGE, build_stage),
    Contender("Pillow, thread pool", build_pillow),
    Contender("`tf.data`", build_tf_data, "tensorflow"),
    Contender("OpenCV, INTER_AREA", build_opencv, "cv2"),
    Contender("decode only (simplejpeg): the limit", build_decode_only, "simplejpeg", resizes=False),
)


def threaded(decode: Callable[[Path], ImageArray], paths: Sequence[Path], threads: int) -> Iterable[ImageArray]:
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(decode, paths)


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1. Got {text!r}.")
    return value


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--images",
        type=Path,
        default="data/sample/images",
        metavar="FOLDER",
        help="folder of JPEG files (default: %(default)s)",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="take N files, evenly spaced (default: all)")
    parser.add_argument(
        "--threads",
        type=positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="threads of each contender (default: one per core, here %(default)s); a second table is for one thread",
    )
    parser.add_argument(
        "--large", type=int, default=24, metavar="N", help="large images to draw; 0 for none (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=positive, default=3, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help=f"at most {QUICK_LIMIT} files, {QUICK_LARGE} large")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    limits = [args.limit, QUICK_LIMIT if args.quick else None]
    paths = usable(find_jpegs(args.images, min(filter(None, limits), default=None)), args.threads)
    contenders = [contender for contender in CONTENDERS if contender.installed]
    print(f"Medians of {args.repeats} interleaved rounds, {os.cpu_count()} CPU cores; lowest and highest in brackets.")
    for threads in sorted({args.threads, 1}, reverse=True):
        compare(f"{len(paths)} files of {args.images.name}", contenders, paths, threads, args.repeats)
    if args.large > 0:
        with tempfile.TemporaryDirectory() as folder:
            large = draw_large(Path(folder), min(args.large, QUICK_LARGE) if args.quick else args.large)
            compare("Drawn, {} x {}".format(*LARGE_SIZE), contenders, large, args.threads, args.repeats)


def compare(title: str, contenders: Sequence[Contender], paths: Sequence[Path], threads: int, repeats: int) -> None:
    """Print one table."""
    quality = differences(contenders, evenly_spaced(paths, QUALITY_IMAGES), threads)
    passes = {contender.name: partial(exhaust, contender.build(paths, threads)) for contender in contenders}
    timings = measure(passes, len(paths), repeats)
    size = f"{SPEC.height} x {SPEC.width}, {threads} thread{'s' if threads > 1 else ''}"
    print(f"\n### {title} to {size}\n\n{markdown(timings, quality)}", flush=True)


def draw_large(folder: Path, count: int) -> list[Path]:
    """Write ``count`` JPEG files with detail of every size, as photos have: 1.2 MB each."""
    paths = []
    for seed in range(count):
        paths.append(folder / f"{seed}.jpg")
        draw_noise(seed, *LARGE_SIZE).save(paths[-1], quality=JPEG_QUALITY)
    return paths


def draw_noise(seed: int, width: int, height: int) -> Image.Image:
    """The sum of blurred noise of several grains, the coarser the stronger."""
    rng = np.random.default_rng(seed)
    total = np.full((height, width, 3), 128, np.float32)
    for grain, strength in ((512, 40), (128, 25), (32, 14), (8, 8), (2, 5)):
        cells = rng.normal(0, strength, (3, -(-height // grain), -(-width // grain))).astype(np.float32)
        for channel, values in enumerate(cells):
            total[..., channel] += np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def find_jpegs(folder: Path, limit: int | None) -> list[Path]:
    """Paths of the ``.jpg`` and ``.jpeg`` files in ``folder``, sorted; at most ``limit``, evenly spaced."""
    if not folder.is_dir():
        raise UserError(
            f"--images: expected a folder of JPEG files. Got {folder}, which is no folder. "
            "Draw the sample with `python src/sample.py`, or name another folder."
        )
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg"})
    return evenly_spaced(paths, limit)


def evenly_spaced(paths: Sequence[Path], limit: int | None) -> list[Path]:
    """At most ``limit`` of ``paths``: names may be in the order of age or size, so the first ones may be special."""
    count = len(paths) if limit is None else min(limit, len(paths))
    return [paths[index * len(paths) // count] for index in range(count)]


def usable(paths: Sequence[Path], threads: int) -> list[Path]:
    """The files that every contender can read. Decoding all of them also brings them into the page cache.

    Raises
    ------
    UserError
        If there is none.
    """
    decoded = zip(paths, decode_all(paths, SPEC, local_threads(threads)), strict=True)
    kept = [path for path, result in decoded if not isinstance(result, ImageProblem) and is_plain_jpeg(path)]
    if not kept:
        raise UserError("--images: expected JPEG files, RGB or grey. Got a folder without any. Name another folder.")
    if left_out := len(paths) - len(kept):
        print(f"{left_out} files left out: damaged, or not an RGB or grey JPEG.", file=sys.stderr)
    return kept


def is_plain_jpeg(path: Path) -> bool:
    """Whether the file is an RGB or grey JPEG: simplejpeg has no CMYK to RGB, and a ``.jpg`` may hold a PNG."""
    with Image.open(path) as image:
        return image.format == "JPEG" and image.mode in {"RGB", "L"}


def differences(contenders: Sequence[Contender], paths: Sequence[Path], threads: int) -> dict[str, float]:
    """Mean absolute pixel difference (0 to 255) to plain Pillow, by name. As a side effect, every contender is warm."""
    reference = build_pillow(paths, threads)
    return {
        contender.name: statistics.fmean(
            np.abs(ours.astype(np.int16) - wanted).mean()
            for ours, wanted in zip(contender.build(paths, threads)(), reference(), strict=True)
        )
        for contender in contenders
        if contender.resizes
    }


def exhaust(run_once: Pass) -> None:
    for _ in run_once():
        pass


def markdown(timings: dict[str, list[Timing]], quality: dict[str, float]) -> str:
    """A table of all contenders, the missing ones included."""
    lines = [
        "| contender | images/s | stage is faster by | CPU ms/image | mean abs. difference to Pillow (of 255) |",
        "|---|---:|---:|---:|---:|",
    ]
    for contender in CONTENDERS:
        cells = [contender.name, "not installed", "", "", ""]
        if rounds := timings.get(contender.name):
            rate = statistics.median(timing.images_per_s for timing in rounds)
            cpu_ms = statistics.median(timing.cpu_ms_per_image for timing in rounds)
            difference = f"{quality[contender.name]:.2f}" if contender.resizes else ""
            cells[1:] = [
                f"{rate:.0f}",
                "1" if contender.name == STAGE else ratio(timings[STAGE], rounds),
                f"{cpu_ms:.2f}",
                difference,
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)

"""Damaged and hostile image files: thousands of mutants of small pictures, read in child processes with a limit.

    python tests/faults/fuzz_images.py --number 5000 --seed 0
    python tests/faults/fuzz_images.py --number 500 --formats tiff gif --keep /tmp/mutants

Every mutant has its header read and is decoded, as the stages `validate` and `preprocess` do it. It must be read, or
refused with a message, within the limits of time and memory. Exit code 0 = all were. The table on stdout has a row for
each format; below it stands each mutant that went wrong, which ``--keep`` writes into a folder. The same seed makes the
same mutants.
"""

import argparse
import collections
import io
import json
import math
import os
import random
import resource
import selectors
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

import numpy as np
from PIL import Image

from posterity.pixels.formats import PILLOW_NAMES
from posterity.pixels.image_names import SUFFIXES
from posterity.pixels.spec import Limits

MB = 2**20
ADDRESS_SPACE = 6 * 2**30  # of a child: what asks for more gets a MemoryError instead of the machine's last page
MOST_MEMORY = 2**31  # bytes that one file may take: 89 million pixels are 268 MB, and some are held a few times
MOST_TIME_S = 20.0
BATCH = 200  # files that a child reads before it is replaced
READ, REFUSED, TRACEBACK, CRASH, OVER_TIME, OVER_MEMORY = (
    "read", "refused", "traceback", "crash", "over time", "over memory",
)  # fmt: skip
# Pillow writes no such files, or (AVIF, WebP, icons) none of that size.
UNWRITTEN = ("psd", "ico", "icns", "avif", "webp")
OUTCOMES = (READ, REFUSED, TRACEBACK, CRASH, OVER_TIME, OVER_MEMORY)


@dataclass(frozen=True)
class Result:
    """What came of one mutant.

    Attributes
    ----------
    format, what : str
        The format and the mutation in words.
    outcome : str
        One of `OUTCOMES`.
    detail : str
        The message, the traceback, or how the child ended.
    seconds, memory : float, int
        Time, and bytes by which the process grew at most while it read the file.
    """

    format: str
    what: str
    outcome: str
    detail: str
    seconds: float
    memory: int


def originals(formats: Sequence[str]) -> dict[str, list[bytes]]:
    """Small sound files of each format, in the variants whose decoders differ."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (12, 10, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    rgb = Image.fromarray(pixels)
    rgba, grey, palette, cmyk = rgb.convert("RGBA"), rgb.convert("L"), rgb.quantize(16), rgb.convert("CMYK")
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    real = Image.fromarray(pixels[..., 0].astype(np.float32))
    turned = Image.Exif()
    turned[0x0112] = 6

    def saved(image: Image.Image, name: str, **options: object) -> bytes:
        stream = io.BytesIO()
        image.save(stream, name, **options)
        return stream.getvalue()

    makers: dict[str, Callable[[], list[bytes]]] = {
        "jpeg": lambda: [
            saved(rgb, "JPEG"), saved(rgb, "JPEG", progressive=True), saved(cmyk, "JPEG"), saved(grey, "JPEG"),
            saved(rgb, "JPEG", exif=turned, restart_marker_blocks=2), saved(rgb, "MPO", save_all=True,
            append_images=[rgb]),
        ],
        "png": lambda: [
            saved(rgb, "PNG"), saved(rgba, "PNG"), saved(palette, "PNG", transparency=3), saved(deep, "PNG"),
            saved(grey.convert("1"), "PNG"), saved(rgb, "PNG", save_all=True, append_images=[rgb.rotate(90)]),
        ],
        "webp": lambda: [
            saved(rgb, "WEBP"), saved(rgba, "WEBP", lossless=True), saved(rgb, "WEBP", exif=turned),
            saved(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(90)]),
        ],
        "avif": lambda: [saved(rgb, "AVIF"), saved(rgba, "AVIF", exif=turned)],
        "gif": lambda: [
            saved(palette, "GIF"), saved(palette, "GIF", transparency=2),
            saved(palette, "GIF", save_all=True, append_images=[rgb.rotate(90).quantize(16)]),
        ],
        "tiff": lambda: [
            *(saved(rgb, "TIFF", compression=kind) for kind in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits",
              "jpeg", "zstd", "lzma")),
            saved(grey.convert("1"), "TIFF", compression="group4"), saved(deep, "TIFF"), saved(real, "TIFF"),
            saved(cmyk, "TIFF"), saved(palette, "TIFF"), saved(rgb, "TIFF", save_all=True, append_images=[rgb]),
            saved(rgb, "TIFF", exif=turned, big_tiff=True),
        ],
        "bmp": lambda: [saved(rgb, "BMP"), saved(palette, "BMP"), saved(grey.convert("1"), "BMP"), saved(rgb, "DIB")],
        "jpeg2000": lambda: [
            saved(rgb, "JPEG2000"), saved(rgb, "JPEG2000", irreversible=True, quality_layers=[20]),
            saved(rgb, "JPEG2000", no_jp2=True), saved(rgba, "JPEG2000", tile_size=(16, 16)),
        ],
        "ppm": lambda: [
            saved(rgb, "PPM"), saved(grey, "PPM"), saved(grey.convert("1"), "PPM"), saved(deep, "PPM"),
            saved(real, "PPM"), b"P3\n2 2\n255\n0 0 0 255 255 255 1 2 3 4 5 6\n",
        ],
        "qoi": lambda: [saved(rgb, "QOI"), saved(rgba, "QOI")],
        "ico": lambda: [saved(rgba, "ICO", sizes=[(16, 16), (32, 32)]), saved(rgba, "ICO", bitmap_format="bmp")],
        "icns": lambda: [saved(rgba, "ICNS")],
        "dds": lambda: [saved(rgb, "DDS"), saved(rgba, "DDS", pixel_format="DXT5"), saved(rgb, "DDS",
            pixel_format="BC5")],
        "psd": lambda: [_psd(pixels, packed=False), _psd(pixels, packed=True)],
        "sgi": lambda: [saved(rgb, "SGI"), saved(grey, "SGI"), _sgi_packed(pixels[..., 0])],
        "pcx": lambda: [saved(rgb, "PCX"), saved(palette, "PCX"), saved(grey.convert("1"), "PCX")],
        "tga": lambda: [saved(rgb, "TGA"), saved(rgba, "TGA", compression="tga_rle"), saved(palette, "TGA")],
    }  # fmt: skip
    return {name: makers[name]() for name in formats}


def _psd(pixels: np.ndarray, *, packed: bool) -> bytes:
    """A Photoshop file without layers: Pillow writes none."""
    height, width, channels = pixels.shape
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, height, width, 8, 3) + struct.pack(">III", 0, 0, 0)
    rows = [pixels[y, :, channel].tobytes() for channel in range(channels) for y in range(height)]
    if not packed:
        return header + struct.pack(">H", 0) + b"".join(rows)
    runs = [bytes([width - 1]) + row for row in rows]  # one literal run a row
    return header + struct.pack(">H", 1) + b"".join(struct.pack(">H", len(run)) for run in runs) + b"".join(runs)


def _sgi_packed(grey: np.ndarray) -> bytes:
    """A run-length coded SGI file: Pillow writes none."""
    height, width = grey.shape
    header = struct.pack(">HBBHHHHII4x80sI404x", 474, 1, 1, 2, width, height, 1, 0, 255, b"", 0)
    rows = [bytes([0x80 | width]) + row.tobytes() + b"\0" for row in grey[::-1]]
    start = len(header) + 8 * height
    starts = [start + sum(map(len, rows[:y])) for y in range(height)]
    tables = struct.pack(f">{height}I", *starts) + struct.pack(f">{height}I", *map(len, rows))
    return header + tables + b"".join(rows)


def largest(name: str) -> bytes:
    """An image of one colour with as many pixels as the defaults allow: the most that a sound file may take."""
    side = math.isqrt(Limits.max_pixels)
    stream = io.BytesIO()
    options = {"tiff": {"compression": "tiff_adobe_deflate"}, "tga": {"compression": "tga_rle"}}.get(name, {})
    mode = "P" if name in ("gif", "pcx") else "RGB"
    Image.new(mode, (side, side)).save(stream, PILLOW_NAMES[name][0], **options)
    return stream.getvalue()


def mutate(content: bytes, others: Sequence[bytes], generator: random.Random) -> tuple[bytes, str]:
    """A damaged copy of a file, and what was done to it; ``others`` are files to splice with."""
    kinds = [_flipped, _run, _cut, _spliced, _sizes, _sizes, _header_bytes, _repeated]
    number = generator.choice((1, 1, 1, 2, 3))
    said = []
    for kind in generator.choices(kinds, k=number):
        content, what = kind(content, others, generator)
        said.append(what)
    return content, "; ".join(said)


def _flipped(content: bytes, _: Sequence[bytes], generator: random.Random) -> tuple[bytes, str]:
    changed = bytearray(content)
    places = (
        [generator.randrange(8 * len(content)) for _ in range(generator.choice((1, 1, 2, 4, 16)))] if content else []
    )
    for place in places:
        changed[place // 8] ^= 1 << place % 8
    return bytes(changed), f"flips {places}"


def _run(content: bytes, _: Sequence[bytes], generator: random.Random) -> tuple[bytes, str]:
    begin, length = generator.randrange(len(content) + 1), generator.choice((1, 2, 4, 16, 64))
    run = (
        bytes([generator.choice((0, 0xFF, 0x7F, 0x80))]) * length
        if generator.random() < 0.5
        else generator.randbytes(length)
    )
    return content[:begin] + run + content[begin + length :], f"{length} bytes at {begin}"


def _cut(content: bytes, _: Sequence[bytes], generator: random.Random) -> tuple[bytes, str]:
    end = generator.randrange(len(content) + 1)
    return content[:end], f"cut at {end}"


def _spliced(content: bytes, others: Sequence[bytes], generator: random.Random) -> tuple[bytes, str]:
    other = generator.choice(others)
    begin, at = generator.randrange(len(content) + 1), generator.randrange(len(other) + 1)
    return content[:begin] + other[at:], f"another file from {at} at {begin}"


def _repeated(content: bytes, _: Sequence[bytes], generator: random.Random) -> tuple[bytes, str]:
    begin, length = generator.randrange(len(content) + 1), generator.randrange(1, 200)
    times = generator.choice((2, 10, 500))
    part = content[begin : begin + length]
    return content[:begin] + part * times + content[begin + length :], f"{len(part)} bytes at {begin} x {times}"


def _sizes(content: bytes, _: Sequence[bytes], generator: random.Random) -> tuple[bytes, str]:
    """A number in the first part of the file, where formats keep sizes, counts and offsets."""
    width = generator.choice((1, 2, 2, 4, 4, 8))
    value = generator.choice((0, 1, 2**7, 2**8 - 1, 9000, 2**15 - 1, 2**16 - 1, 2**24, 2**31 - 1, 2**32 - 1, 2**63 - 1))
    number = (value % 2 ** (8 * width)).to_bytes(width, generator.choice(("big", "little")))
    begin = generator.randrange(min(len(content), 160) + 1)
    return content[:begin] + number + content[begin + width :], f"{value} in {width} bytes at {begin}"


def _header_bytes(content: bytes, _: Sequence[bytes], generator: random.Random) -> tuple[bytes, str]:
    begin = generator.randrange(min(len(content), 64) + 1)
    byte = generator.randrange(256)
    return content[:begin] + bytes([byte]) + content[begin + 1 :], f"byte {byte} at {begin}"


def mutants(number: int, seed: int, formats: Sequence[str]) -> Iterator[tuple[str, str, bytes]]:
    """``number`` files: format, what was done, content. The formats take turns."""
    sound = originals(formats)
    everything = [content for files in sound.values() for content in files]
    for place in range(number):
        name = formats[place % len(formats)]
        generator = random.Random(f"{seed} {name} {place}")
        position = generator.randrange(len(sound[name]))
        others = sound[name] if generator.random() < 0.7 else everything
        content, what = mutate(sound[name][position], others, generator)
        if name == "png" and generator.random() < 0.7:  # or nearly all are refused for their check sums
            content, what = _with_right_sums(content), f"{what}; check sums put right"
        yield name, f"number {place}, variant {position}: {what}", content


def _with_right_sums(content: bytes) -> bytes:
    """A PNG file with the CRC that each of its chunks, as far as they can be followed, should have."""
    place, parts = 8, [content[:8]]
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4])
        chunk = content[place + 4 : place + 8 + length]
        if len(chunk) < 4 + length:
            break
        parts += [content[place : place + 4], chunk, struct.pack(">I", zlib.crc32(chunk))]
        place += 12 + length
    return b"".join(parts) + content[place:]


class Child:
    """A process that reads files, one after the other, with a limit of its memory."""

    command: Sequence[str] = (sys.executable, __file__, "--child")

    def __init__(self) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        self.num_read = 0

    def read(self, content: bytes) -> tuple[str, str, float, int]:
        """Outcome, detail, seconds and bytes of memory."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.num_read += 1
        begin = time.monotonic()
        self.process.stdin.write(struct.pack("<I", len(content)) + content)
        self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(MOST_TIME_S):
                self.process.kill()
                self.process.wait()
                return OVER_TIME, self._said(), time.monotonic() - begin, 0
        line = self.process.stdout.readline()
        if not line:
            return CRASH, f"exit code {self.process.wait()}\n{self._said()}", time.monotonic() - begin, 0
        outcome, detail, seconds, memory = json.loads(line)
        return (OVER_MEMORY if memory > MOST_MEMORY else outcome), detail, seconds, memory

    @property
    def is_usable(self) -> bool:
        return self.process.poll() is None and self.num_read < BATCH

    def _said(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-2000:]

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


def serve() -> None:
    """What the child does: read files from stdin, say what came of each on stdout."""
    import faulthandler
    import warnings

    from posterity.pixels import decode
    from posterity.pixels.spec import ImageSpec

    faulthandler.enable()
    warnings.simplefilter("ignore")
    every = tuple(SUFFIXES)
    spec = ImageSpec(height=32, width=24, formats=every)  # type: ignore[arg-type]
    for sound in originals(every).values():  # what is loaded when it is first used is no file's memory
        decode.decode(sound[0], spec)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    while length := sys.stdin.buffer.read(4):
        content = sys.stdin.buffer.read(struct.unpack("<I", length)[0])
        before, begin = _reset_peak(), time.monotonic()
        outcome, detail = READ, ""
        try:
            size = decode.read_header(content, spec.limits)
            if min(size) < 1:
                raise AssertionError(f"a size of {size}")
            pixels = decode.decode(content, spec)
            if pixels.shape != (32, 24, 3) or pixels.dtype != np.uint8:
                raise AssertionError(f"{pixels.dtype} {pixels.shape}")
        except decode.ImageProblem as problem:
            outcome, detail = REFUSED, f"{problem.kind}: {problem}"
        except BaseException:
            outcome, detail = TRACEBACK, traceback.format_exc()[-2000:]
        seconds = time.monotonic() - begin
        print(json.dumps((outcome, detail, seconds, max(0, _peak() - before))), flush=True)


def _reset_peak() -> int:
    """Start the measurement of the highest memory anew, where the system can; what is held now, in bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _peak() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def fuzz(number: int, seed: int, formats: Sequence[str], keep: Path | None = None) -> list[Result]:
    """Read ``number`` mutants; write those that go wrong into ``keep``."""
    return read_all(mutants(number, seed, formats), seed, keep)


def read_all(files: Iterable[tuple[str, str, bytes]], seed: int = 0, keep: Path | None = None) -> list[Result]:
    """Read files, given by format, what was done to them and content."""
    results = []
    child = Child()
    for place, (name, what, content) in enumerate(files):
        if not child.is_usable:
            child.close()
            child = Child()
        result = Result(name, what, *child.read(content))
        results.append(result)
        if keep and result.outcome not in (READ, REFUSED):
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{seed}-{place}.{name}").write_bytes(content)
    child.close()
    return results


def as_table(results: Sequence[Result]) -> str:
    """One row for each format, and one for all."""
    by_format: dict[str, list[Result]] = collections.defaultdict(list)
    for result in results:
        by_format[result.format].append(result)
    lines = [
        f"| format | mutants | {' | '.join(OUTCOMES)} | most seconds | most MB |",
        "|---|" + "---:|" * (len(OUTCOMES) + 3),
    ]
    for name, some in [*by_format.items(), ("all", list(results))]:
        counted = collections.Counter(result.outcome for result in some)
        counts = " | ".join(str(counted[outcome]) for outcome in OUTCOMES)
        seconds, memory = max(result.seconds for result in some), max(result.memory for result in some)
        lines.append(f"| {name} | {len(some)} | {counts} | {seconds:.2f} | {math.ceil(memory / MB)} |")
    return "\n".join(lines)


def wrong(results: Sequence[Result]) -> list[str]:
    """A paragraph for each mutant that was neither read nor refused with a message."""
    return [
        f"{result.format}, {result.what}: {result.outcome}, {result.seconds:.1f} s, {result.memory / MB:.0f} MB\n"
        f"{result.detail}"
        for result in results
        if result.outcome not in (READ, REFUSED) or (result.outcome == REFUSED and not result.detail.strip())
    ]


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=5000, help="mutants (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="other mutants (default: %(default)s)")
    parser.add_argument(
        "--formats", nargs="+", choices=SUFFIXES, default=list(SUFFIXES), metavar="FORMAT", help="formats"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the mutants that go wrong there")
    parser.add_argument(
        "--largest", action="store_true", help="instead: one sound image of each format, as large as is allowed"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run the fuzz and print its table."""
    args = parse_args(argv)
    if args.child:
        serve()
        return
    if args.largest:
        results = read_all((name, "largest", largest(name)) for name in args.formats if name not in UNWRITTEN)
    else:
        results = fuzz(args.number, args.seed, args.formats, args.keep)
    print(as_table(results))
    if failures := wrong(results):
        print("\n" + "\n\n".join(failures))
        sys.exit(1)


if __name__ == "__main__":
    main()

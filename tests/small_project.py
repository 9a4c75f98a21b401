"""A working folder as a user would have it, small enough to run the stages in a second, and a way to run them."""

import contextlib
import io
import os
import runpy
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
LABELS = ("Bright", "N/A", "Red")
SETTINGS = {
    "data.images": "images",
    "data.labels": "labels.csv",
    "image.height": 64,
    "image.width": 48,
    "image.rows_per_shard": 10,
    "machine.reuse_folder": None,
    "split.validation_fraction": 0.25,
    "model.name": "compact_cnn",
    "train.epochs": 1,
    "train.batch_size": 8,
    "train.warmup_epochs": 0.5,
    "machine.device.inference_engine": "keras",
    # A ceiling would hold for all tests of this process, and on a CPU that has 16 bits in hardware TensorFlow aborts
    # under a low one.
    "machine.device.cpu_isa": None,
    "decide.folds": 2,
    "evaluate.bootstrap_samples": 20,
}


class SmallProject:
    """params.yaml, labels.csv and images/i00.jpg ... in ``root``: noise whose brightness and colour are the labels.

    Every label has its own column of 0 and 1, and column Genre lists them. The last two files have the same bytes.
    """

    def __init__(self, root: Path, num_images: int = 24) -> None:
        self.root = root
        self.ids = [f"i{k:02}" for k in range(num_images)]
        (root / "images").mkdir(parents=True)
        generator = np.random.default_rng(0)
        lines = ["Id,Genre," + ",".join(LABELS)]
        for k, id_ in enumerate(self.ids):
            targets = [k // 2 % 2, 1, k % 3 == 0] if k < num_images - 2 else [0, 1, 0]
            pixels = generator.integers(0, 100, (32, 24, 3)) + 100 * targets[0]
            pixels[..., 0] += 50 * targets[2]
            Image.fromarray(pixels.astype(np.uint8)).save(self.image(id_), quality=95)
            listed = "|".join(name for name, value in zip(LABELS, targets, strict=True) if value)
            lines.append(f"{id_},{listed},{','.join(str(int(value)) for value in targets)}")
        self.image(self.ids[-1]).write_bytes(self.image(self.ids[-2]).read_bytes())
        self.rows(lines)
        self._yaml = YAML()
        self._params = self._yaml.load(ROOT / "params.yaml")
        self.params(SETTINGS)

    def image(self, id_: str) -> Path:
        return self.root / "images" / f"{id_}.jpg"

    def params(self, values: dict[str, object]) -> None:
        """Set dotted keys of params.yaml."""
        for dotted, value in values.items():
            *sections, key = dotted.split(".")
            node = self._params
            for section in sections:
                node = node[section]
            node[key] = value
        self._yaml.dump(self._params, self.root / "params.yaml")

    def rows(self, lines: list[str]) -> None:
        (self.root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def edit(self, old: str, new: str) -> None:
        """Replace the one occurrence of ``old`` in labels.csv."""
        text = (self.root / "labels.csv").read_text(encoding="utf-8")
        assert text.count(old) == 1
        (self.root / "labels.csv").write_text(text.replace(old, new), encoding="utf-8")

    def truncate(self, id_: str) -> None:
        """Cut the end off an image; its header stays whole, so only a decoder sees that it is damaged."""
        self.image(id_).write_bytes(self.image(id_).read_bytes()[:-200])

    def outputs(self) -> list[str]:
        """All files that the stages made, hidden ones included, with a cache as one entry."""
        inputs = {"params.yaml", "labels.csv", "images"}
        found = [path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file()]
        made = {path.as_posix() for path in found if path.parts[0] not in inputs}
        caches = ("data/features", "data/rows", "data/tensors")
        return sorted({next((cache for cache in caches if path.startswith(f"{cache}/")), path) for path in made})


@dataclass
class Finished:
    code: int
    stdout: str
    stderr: str


def run_script(name: str, *arguments: str) -> Finished:
    """Run ``src/<name>.py`` as ``python src/<name>.py`` would, in this process: a start of Python costs a second.

    What is no clean exit, so what would show a traceback, is raised.
    """
    stdout, stderr, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        _arguments(name, *arguments),
        mock.patch("posterity.script.begin"),  # the signals of this process are those of pytest
    ):
        try:
            runpy.run_path(str(SRC / f"{name}.py"), run_name="__main__")
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else int(done.code is not None)
    return Finished(code, stdout.getvalue(), stderr.getvalue())


@contextlib.contextmanager
def _arguments(*arguments: str) -> Iterator[None]:
    before = sys.argv
    sys.argv = list(arguments)
    try:
        yield
    finally:
        sys.argv = before


def environment(**more: str) -> dict[str, str]:
    """The environment of a new Python that finds src and tests, sees no GPU, and has no setting of this process."""
    path = os.pathsep.join((str(SRC), str(ROOT / "tests")))
    # `posterity.nn.device` sets the first three for its own process, and the tests of it run in this one. The last one
    # would hide what happens when Python flushes stdout at its end.
    own = {"TF_CPP_MIN_LOG_LEVEL", "ONEDNN_MAX_CPU_ISA", "NVIDIA_TF32_OVERRIDE", "PYTHONUNBUFFERED"}
    kept = {name: value for name, value in os.environ.items() if name not in own}
    return {**kept, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "-1", **more}


def png_header(width: int, height: int) -> bytes:
    """A PNG file of 57 bytes that claims ``width`` x ``height`` pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")

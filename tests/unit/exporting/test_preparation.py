"""Images as the script of a README and the JPEG graph prepare them, beside `posterity.pixels`."""

import io
import itertools
import sys
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from posterity.choices import Fit, Resampling
from posterity.exporting import readme
from posterity.exporting.jpeg_graph import decoder
from posterity.model_card import ModelCard
from posterity.nn.inference.export_card import ExportCard
from posterity.pixels.decode import decode
from posterity.pixels.spec import ImageSpec

HEIGHT, WIDTH = 40, 30
# The target's size, smaller, larger, one side of each, and four times as large, where a JPEG decoder scales down.
SIZES = [(40, 30), (20, 12), (61, 47), (53, 22), (171, 140), (333, 250)]
SPECS = [ImageSpec(HEIGHT, WIDTH, *choice) for choice in itertools.product(get_args(Resampling), get_args(Fit))]
# Pillow's own choice of a pixel at a tie cannot be followed: the whole pixel is another one then.
TIES = ("nearest", "box")


def picture(height, width, mode="RGB", **saved):
    """A smooth picture as the content of a file."""
    generator = np.random.default_rng(height * width)
    noise = Image.fromarray(generator.integers(0, 256, (9, 7, len(mode)), dtype=np.uint8), mode)
    stream = io.BytesIO()
    noise.resize((width, height), Image.Resampling.BICUBIC).save(stream, **saved)
    return stream.getvalue()


def jpeg(height, width, **saved):
    return picture(height, width, format="JPEG", quality=90, **saved)


def card(spec, form="onnx", precision="float32"):
    return ExportCard(ModelCard(("a", "b"), (0.5, 0.5), spec, {}), form, precision, "0", "0" * 64)


def prepared_by_script(spec, content, tmp_path, monkeypatch):
    path = tmp_path / "image"
    path.write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["predict.py", str(path)])
    lines = readme.script(card(spec)).splitlines()
    end = lines.index("images = pixels.astype(np.uint8)[None]") + 1
    names = {"__file__": str(tmp_path / "predict.py")}
    exec("\n".join(lines[:end]), names)
    return names["images"][0]


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(171, 140, exif=exif)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.resampling}-{spec.fit}")
def test_the_script_prepares_images_as_posterity_does(spec, tmp_path, monkeypatch):
    contents = [*(jpeg(*size) for size in SIZES), turned(), picture(33, 47, "RGBA", format="PNG")]
    for content in contents:
        got = prepared_by_script(spec, content, tmp_path, monkeypatch)
        difference = np.abs(got.astype(int) - decode(content, spec))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.02


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.resampling}-{spec.fit}")
def test_every_script_has_at_most_30_lines(spec):
    for form in ("onnx", "openvino", "litert", "savedmodel"):
        lines = readme.script(card(spec, form)).splitlines()
        assert len(lines) <= 30
        assert max(map(len, lines)) <= 120
        compile("\n".join(lines), "predict.py", "exec")


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.resampling}-{spec.fit}")
def test_the_jpeg_graph_prepares_images_as_posterity_does(spec):
    contents = [jpeg(*size) for size in SIZES[:-2]]  # of those a decoder scales down the graph makes finer pixels
    got = decoder(spec)(tf.constant(contents)).numpy()
    assert got.shape == (4, HEIGHT, WIDTH, 3)
    for pixels, content in zip(got, contents, strict=True):
        difference = np.abs(pixels.astype(int) - decode(content, spec))
        if spec.resampling in TIES:
            assert (difference > 1).mean() < 0.25
            assert difference.mean() < 4
        else:
            assert difference.max() <= 2

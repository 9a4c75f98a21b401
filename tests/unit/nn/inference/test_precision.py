"""Which engine computes at which precision, and on which CPU."""

import numpy as np
import pytest

from posterity.errors import UserError
from posterity.nn.inference import precision

ALL = ["avx512_vnni", "avx512_bf16"]


@pytest.fixture(autouse=True)
def _cpu(monkeypatch):
    monkeypatch.setattr(precision, "cpu_flags", lambda: ALL)


@pytest.mark.parametrize(
    ("engine", "at", "expected"),
    [
        ("auto", "float32", "onnxruntime"),
        ("auto", "bfloat16", "openvino"),
        ("auto", "int8", "onnxruntime"),
        ("openvino", "int8", "openvino"),
        ("openvino", "float32", "openvino"),
        ("keras", "float32", "keras"),
    ],
)
def test_what_auto_means_does_not_depend_on_what_is_installed(engine, at, expected):
    assert precision.chosen(engine, at, auto_is_keras=False) == expected


@pytest.mark.parametrize(("engine", "at"), [("keras", "int8"), ("keras", "bfloat16"), ("onnxruntime", "bfloat16")])
def test_an_engine_that_cannot_is_an_error(engine, at):
    with pytest.raises(UserError, match=f"{at} needs machine.device.inference_engine: .*openvino. Got {engine}. Set "):
        precision.chosen(engine, at, auto_is_keras=False)


def test_on_a_gpu_auto_is_keras_in_float32():
    assert precision.chosen("auto", "float32", auto_is_keras=True) == "keras"
    assert precision.chosen("onnxruntime", "int8", auto_is_keras=True) == "onnxruntime"
    with pytest.raises(UserError, match="Got keras \\(a GPU, or another backend than TensorFlow, is in use\\). Set "):
        precision.chosen("auto", "int8", auto_is_keras=True)


@pytest.mark.parametrize(
    ("at", "flags", "fine"),
    [
        ("float32", [], True),
        ("int8", ["avx2"], False),
        ("int8", ["avx512_bf16"], False),
        ("int8", ["avx_vnni"], True),
        ("int8", ["avx512_vnni"], True),
        ("bfloat16", ["avx512_vnni"], False),
        ("bfloat16", ["amx_bf16"], True),
        ("bfloat16", ["avx512_bf16"], True),
    ],
)
def test_a_precision_wants_its_instructions(at, flags, fine, monkeypatch):
    monkeypatch.setattr(precision, "cpu_flags", lambda: flags)
    if fine:
        precision.chosen("auto", at, auto_is_keras=False)
        return
    with pytest.raises(UserError, match=f"inference_precision: {at} needs a CPU with .* Set it to float32.$"):
        precision.chosen("auto", at, auto_is_keras=False)


def test_differences_by_hand():
    """Of 1, 2 and 3, one is 0.6 off: 0.6 of the largest, 3, and 0.6 of their sum, 6."""
    expected, got = np.array([[1.0, 2.0, 3.0]], np.float32), np.array([[1.0, 2.6, 3.0]], np.float32)
    assert precision.difference(expected, got, "float32") == pytest.approx(0.2)
    assert precision.difference(expected, got, "int8") == pytest.approx(0.1)
    assert np.isnan(precision.difference(expected, got * np.nan, "bfloat16"))

import importlib.util
import math
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from posterity.cache.kept_graphs import KeptGraphs
from posterity.errors import UserError
from posterity.nn.inference import engines, export, fixed_batches, onnx_engine, openvino_engine, precision, quantize
from posterity.nn.networks import backbones


@pytest.fixture(autouse=True)
def _few_images_calibrate(monkeypatch):
    monkeypatch.setattr(quantize, "NUM_IMAGES", 4)  # to draw 64 takes seconds


WEIGHTS = Path(__file__).parents[5] / "shared" / "weights"


def images(height, width, n=4):
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def network(*inner, height=37, width=29):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((height, width, 3), dtype="uint8"), layers.Rescaling(1 / 127.5, -1), *inner])


def small():
    return network(layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(3, activation="sigmoid"))


def padded_depthwise(size):
    """MobileNetV2's stride: padding below and right, then a depthwise convolution without padding."""
    return [layers.ZeroPadding2D(((0, 1), (0, 1))), layers.DepthwiseConv2D(size, 2, "valid")]


STRIDES = {
    "zero padding, then valid": lambda: padded_depthwise(3) + padded_depthwise(3),
    "keras' correct_pad": lambda: [layers.ZeroPadding2D(((0, 1), (1, 1))), layers.Conv2D(4, 3, 2, "valid")],
    "same": lambda: [layers.Conv2D(4, 3, 2, "same"), layers.DepthwiseConv2D(5, 2, "same")],
    "same pooling": lambda: [layers.AveragePooling2D(3, 2, "same"), layers.MaxPooling2D(2, 2, "same")],
}


@pytest.mark.parametrize("size", [(37, 29), (36, 28), (25, 38), (50, 75)])
@pytest.mark.parametrize("strides", STRIDES)
def test_strides_are_padded_on_the_right_side(strides, size, capsys):
    height, width = size
    model = network(layers.Conv2D(4, 3, padding="same"), *STRIDES[strides](), height=height, width=width)
    batch = images(height, width)
    got = engines.batch_function(model, "onnxruntime", batch)(batch)
    assert "Inference by ONNX Runtime" in capsys.readouterr().err
    np.testing.assert_allclose(got, model.predict_on_batch(batch), atol=1e-5)


def test_padding_on_the_other_side_would_be_seen():
    """The check of `batch_function` is fit to find what the test above looks for."""
    weights = network(*padded_depthwise(3)).get_weights()
    other = network(layers.ZeroPadding2D(((1, 0), (1, 0))), layers.DepthwiseConv2D(3, 2, "valid"))
    other.set_weights(weights)
    right = network(*padded_depthwise(3))
    right.set_weights(weights)
    batch = images(37, 29)
    expected, got = right.predict_on_batch(batch), other.predict_on_batch(batch)
    assert precision.difference(expected, got, "float32") > 100 * precision.TOLERANCE["float32"]


def test_constants_of_layers_are_exported_as_constants(capsys):
    """`model.export` makes them inputs, and the network cannot run."""
    constant = keras.ops.convert_to_tensor(np.array([1.0, 2.0, 3.0], np.float32))
    images_in = keras.Input((37, 29, 3), dtype="uint8")
    x = keras.ops.cast(images_in, "float32") - constant  # as preprocess_input of VGG16 does
    normalization = layers.Normalization()
    normalization.build((None, 37, 29, 3))
    normalization.adapt_mean.assign([90.0, 100.0, 110.0])  # as EfficientNet's
    normalization.adapt_variance.assign([4000.0, 5000.0, 6000.0])
    normalization.finalize_state()
    model = keras.Model(images_in, layers.GlobalAveragePooling2D()(normalization(x)))
    batch = images(37, 29)
    got = engines.batch_function(model, "auto", batch)(batch)
    assert "Inference by ONNX Runtime" in capsys.readouterr().err
    mean, deviation = np.array([91.0, 102.0, 113.0]), np.sqrt([4000.0, 5000.0, 6000.0])
    np.testing.assert_allclose(got, (batch.mean(axis=(1, 2)) - mean) / deviation, atol=1e-5)


def test_gelu_of_the_head_is_exported(capsys):
    """TensorFlow computes it by Erfc, which tf2onnx does not know."""
    values = np.linspace(-8, 8, 37, dtype=np.float32)
    dense = layers.Dense(37, activation="gelu")
    model = network(layers.GlobalAveragePooling2D(), dense)
    dense.set_weights([np.zeros((3, 37), np.float32), values])
    got = engines.batch_function(model, "onnxruntime", images(37, 29))(images(37, 29, n=1))[0]
    assert "Inference by ONNX Runtime" in capsys.readouterr().err
    expected = [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in values.tolist()]
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="the shared backbones are not here")
@pytest.mark.parametrize("size", [(400, 300), (299, 201), (224, 224)])
@pytest.mark.parametrize("file", ["mobilenet_v2_imagenet.keras", "efficientnet_lite0_imagenet.keras"])
def test_the_shared_backbones(file, size, capsys):
    model = backbones.load(file, folder=WEIGHTS, weights=None, height=size[0], width=size[1])
    batch = images(*size, n=2)
    got = engines.batch_function(model, "auto", batch, cpu_threads=2)(batch)
    assert "Inference by ONNX Runtime" in capsys.readouterr().err
    np.testing.assert_allclose(got, model.predict_on_batch(batch), atol=6e-4)  # outputs reach 6


def possible(name, at):
    """A parameter set that is skipped where the package or the instructions are missing."""
    needed = set(precision.INSTRUCTIONS.get(at, ()))
    lacks = "" if not needed or needed & set(precision.cpu_flags()) else f"a CPU with {' or '.join(sorted(needed))}"
    if name == "openvino" and importlib.util.find_spec("openvino") is None:
        lacks = "openvino"
    return pytest.param(name, at, marks=pytest.mark.skipif(bool(lacks), reason=f"needs {lacks}"))


FASTER = [
    possible("onnxruntime", "int8"),
    possible("openvino", "int8"),
    possible("openvino", "bfloat16"),
]


@pytest.mark.parametrize(
    ("name", "at"), [("keras", "float32"), ("onnxruntime", "float32"), possible("openvino", "float32"), *FASTER]
)
def test_an_image_does_not_depend_on_its_neighbours(name, at):
    model, batch = small(), images(37, 29, n=fixed_batches.BATCH_SIZE + 3)
    run = engines.batch_function(model, name, batch[:4], at=at)
    together = run(batch)
    assert together.shape == (fixed_batches.BATCH_SIZE + 3, 3)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, model(batch), atol=1e-6 if at == "float32" else 0.01)
    for first, last in ((0, 1), (2, 7), (fixed_batches.BATCH_SIZE, fixed_batches.BATCH_SIZE + 3), (4, 4)):
        np.testing.assert_array_equal(run(batch[first:last]), together[first:last])
    # Views that are not contiguous in memory, as `posterity.nn.inference.features` gives mirror images.
    np.testing.assert_array_equal(run(batch[:, :, ::-1]), run(batch[:, :, ::-1].copy()))


@pytest.mark.parametrize(("name", "at"), FASTER)
def test_the_number_of_threads_changes_no_bit(name, at):
    model, batch = small(), images(37, 29)
    one, two = (engines.batch_function(model, name, batch, at=at, cpu_threads=number)(batch) for number in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("name", "at"), FASTER)
def test_a_lower_precision_is_really_used(name, at, capsys):
    model, batch = small(), images(37, 29)
    got = engines.batch_function(model, name, batch, at=at)(batch)
    assert f"Inference by {engines.NAMES[name]} in {at} (difference from Keras: " in capsys.readouterr().err
    assert np.abs(got - model.predict_on_batch(batch)).max() > 1e-5  # float32 agrees better


@pytest.mark.parametrize(("name", "at"), FASTER)
@pytest.mark.parametrize("wrong", [0.5, np.nan])
def test_a_lower_precision_that_is_far_off_is_an_error(name, at, wrong, monkeypatch):
    """Not a fallback: whether features are of one kind or the other would depend on the images."""
    model, batch = small(), images(37, 29)
    scores = model.predict_on_batch(batch)
    far = scores + wrong * scores.mean()
    for module in (onnx_engine, openvino_engine):
        monkeypatch.setattr(module, "session", lambda *_: lambda part: np.resize(far, (len(part), 3)))
    with pytest.raises(UserError) as caught:
        engines.batch_function(model, name, batch, at=at)
    assert str(caught.value) == (
        f"{engines.NAMES[name]} in {at} gave another output than Keras (relative difference {wrong:g}, allowed 0.2). "
        "Set machine.device.inference_precision to float32 for this network and these images."
    )


@pytest.mark.parametrize(("name", "at"), FASTER[:1])
def test_a_lower_precision_that_fails_is_an_error(name, at, monkeypatch):
    monkeypatch.setattr(quantize, "to_int8", lambda graph: 1 / 0)
    with pytest.raises(UserError, match="^ONNX Runtime in int8 failed: ZeroDivisionError: division by zero. Set mach"):
        engines.batch_function(small(), name, images(37, 29), at=at)


@pytest.mark.parametrize("at", ["int8", "bfloat16"])
def test_a_gpu_computes_in_float32(at, monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: ["gpu:0"])
    with pytest.raises(UserError, match=f"^machine.device.inference_precision: {at} needs machine.device.inference_en"):
        engines.batch_function(small(), "auto", images(37, 29), at=at)


def test_openvino_that_is_not_installed_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=r"is not installed. Run `pip install -c requirements.lock -e '.\[openvino\]'`"):
        engines.batch_function(small(), "openvino", images(37, 29))


@pytest.mark.parametrize(("name", "at"), [("onnxruntime", "float32"), FASTER[0]])
def test_a_graph_that_is_kept_is_not_made_again(name, at, tmp_path, monkeypatch):
    model, batch, kept = small(), images(37, 29), KeptGraphs(tmp_path / "reuse", "key")
    first = engines.batch_function(model, name, batch, at=at, graphs=kept)(batch)
    monkeypatch.setattr(export, "to_onnx", None)
    monkeypatch.setattr(quantize, "to_int8", None)
    again = engines.batch_function(model, name, batch, at=at, graphs=kept)(batch)
    np.testing.assert_array_equal(again, first)


def test_a_graph_that_is_wrong_is_not_kept(tmp_path, monkeypatch):
    model, batch, kept = small(), images(37, 29), KeptGraphs(tmp_path / "reuse", "key")
    monkeypatch.setattr(onnx_engine, "session", lambda *_: lambda part: model.predict_on_batch(part) + 0.5)
    engines.batch_function(model, "onnxruntime", batch, graphs=kept)
    assert kept.read("float32") is None


def test_no_images():
    assert engines.batch_function(small(), "onnxruntime", images(37, 29))(images(37, 29, n=0)).shape == (0, 3)


def test_each_engine_says_what_it_is(capsys):
    batch = images(37, 29)
    engines.batch_function(small(), "keras", batch)
    assert capsys.readouterr().err == "Inference by Keras.\n"
    engines.batch_function(small(), "auto", batch)
    assert capsys.readouterr().err.startswith("Inference by ONNX Runtime (difference from Keras: ")


def test_a_gpu_or_another_backend_keeps_keras(capsys, monkeypatch):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: ["gpu:0"])
    engines.batch_function(small(), "auto", images(37, 29))
    assert capsys.readouterr().err == "Inference by Keras.\n"
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: [])
    engines.batch_function(small(), "auto", images(37, 29))
    assert capsys.readouterr().err == "Inference by Keras.\n"
    engines.batch_function(small(), "onnxruntime", images(37, 29))
    text = "failed: NotImplementedError: the export needs Keras' TensorFlow backend, not jax. Inference by Keras.\n"
    assert capsys.readouterr().err == f"WARNING: ONNX Runtime {text}"


@pytest.mark.parametrize("name", ["auto", "onnxruntime"])
@pytest.mark.parametrize("wrong", [0.5, np.nan])
def test_a_wrong_export_is_not_used(name, wrong, capsys, monkeypatch):
    model, batch = small(), images(37, 29)
    monkeypatch.setattr(onnx_engine, "session", lambda *_: lambda part: model.predict_on_batch(part) + wrong)
    got = engines.batch_function(model, name, batch)(batch)
    np.testing.assert_allclose(got, model(batch), atol=1e-6)
    message = capsys.readouterr().err
    assert message.startswith("WARNING: ONNX Runtime gave another output than Keras")
    assert message.endswith(f"(relative difference {wrong:g}, allowed 0.0001). Inference by Keras.\n")
    assert message.count("\n") == 1


def test_without_the_package(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model, batch = small(), images(37, 29)
    np.testing.assert_allclose(engines.batch_function(model, "auto", batch)(batch), model(batch), atol=1e-6)
    message = capsys.readouterr().err
    assert message.startswith("WARNING: ONNX Runtime failed: ModuleNotFoundError: ")
    assert message.count("\n") == 1


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_what_keras_gives(policy, capsys):
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        model = small()
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    batch = images(37, 29)
    got = engines.batch_function(model, "auto", batch)(batch)
    assert "Inference by" in capsys.readouterr().err
    np.testing.assert_allclose(got, model.predict_on_batch(batch).astype(np.float32), atol=1e-3)

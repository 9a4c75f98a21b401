import inspect
import sys
import urllib.error

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from posterity.errors import UserError
from posterity.model_card import ModelCard
from posterity.nn import keras_file
from posterity.nn.networks import backbones, extractor
from posterity.pixels.spec import ImageSpec

# One network of each module, hence of each way of preprocessing.
MODULES = {build.__module__: name for name, build in backbones.NETWORKS.items()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def load(entry, folder, weights=None, height=64, width=48):
    return backbones.load(entry, folder=folder, weights=weights, height=height, width=width)


def images(height, width, n=2):
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def save(folder, name, layers, shape=(None, None, 3)):
    model = keras.Sequential([keras.Input(shape), *layers])
    model.save(folder / name)
    return model


def refusal(*arguments, **options):
    with pytest.raises(UserError) as caught:
        load(*arguments, **options)
    return str(caught.value)


def echo(monkeypatch, name):
    """Put a network that does nothing in the place of ``name``."""

    def build(include_top, weights, input_shape):
        return keras.Sequential([keras.Input(input_shape), keras.layers.Identity()])

    build.__module__ = backbones.NETWORKS[name].__module__
    monkeypatch.setitem(backbones.NETWORKS, name, build)


@pytest.mark.parametrize("name", MODULES.values())
def test_preprocessing_is_that_of_the_family_and_survives_saving(name, folder, monkeypatch):
    echo(monkeypatch, name)
    load(name, folder, height=8, width=9).save(folder / "saved.keras")
    saved = keras.saving.load_model(folder / "saved.keras")
    batch = images(8, 9)
    expected = sys.modules[backbones.NETWORKS[name].__module__].preprocess_input(batch.astype(np.float32))
    np.testing.assert_allclose(saved.predict_on_batch(batch), expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("VGG16", lambda rgb: rgb[..., ::-1] - [103.939, 116.779, 123.68]),
        ("MobileNetV2", lambda rgb: rgb / 127.5 - 1),
        ("DenseNet121", lambda rgb: (rgb / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
        ("ConvNeXtTiny", lambda rgb: rgb),
    ],
)
def test_preprocessing_by_hand(name, expected, folder, monkeypatch):
    echo(monkeypatch, name)
    batch = images(8, 8)
    got = load(name, folder, height=8, width=8).predict_on_batch(batch)
    np.testing.assert_allclose(got, expected(batch.astype(np.float64)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["MobileNet", "VGG16", "MobileNetV3Small"])
def test_a_whole_network(name, folder):
    model = load(name, folder, height=32, width=40)
    model.save(folder / "saved.keras")
    saved = keras.saving.load_model(folder / "saved.keras")
    bare = backbones.NETWORKS[name](weights=None, include_top=False, input_shape=(32, 40, 3))
    bare.set_weights(model.get_weights())
    batch = images(32, 40)
    family = sys.modules[backbones.NETWORKS[name].__module__]
    expected = bare.predict_on_batch(family.preprocess_input(batch.astype(np.float32)))
    got = saved.predict_on_batch(batch)
    assert got.dtype == np.float32
    # Sums of float32 in another order differ by some 1e-6 of the largest output after this many layers.
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_every_network_of_keras_applications_is_known():
    assert {"ConvNeXtXLarge", "EfficientNetV2L", "NASNetLarge", "ResNet152V2", "VGG16"} <= set(backbones.NETWORKS)
    assert len(backbones.NETWORKS) >= 40
    assert len(MODULES) >= 15
    for name, build in backbones.NETWORKS.items():
        assert {"include_top", "weights", "input_shape"} <= set(inspect.signature(build).parameters), name
        assert callable(sys.modules[build.__module__].preprocess_input), name


def test_a_file_of_ones_own(folder):
    model = save(folder, "own.keras", [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(5, 3, strides=2)])
    loaded = load("own.keras", folder, "imagenet", 33, 20)
    assert loaded.input_shape == (None, 33, 20, 3)
    assert loaded.output_shape == (None, 16, 9, 5)
    batch = images(33, 20)
    np.testing.assert_allclose(loaded.predict_on_batch(batch), model(batch.astype(np.float32)), atol=1e-6)


def test_the_same_backbone_gives_the_same_bytes(folder):
    save(folder, "own.keras", [keras.layers.Conv2D(5, 3), keras.layers.GlobalAveragePooling2D()])
    card = ModelCard(("a",), (0.5,), ImageSpec(16, 16))
    for target in ("a", "b"):
        keras.utils.clear_session()  # a process of its own numbers its layers from 0
        keras_file.save(load("own.keras", folder, None, 16, 16), folder / target, card.as_member())
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_a_weights_file(folder, suffix):
    network = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(96, 96, 3))
    (network.save_weights if suffix == ".weights.h5" else network.save)(folder / f"mine{suffix}")
    loaded = load("MobileNet", folder, f"mine{suffix}")
    for expected, got in zip(network.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_efficientnet_files_with_a_deviation_for_the_variance_are_mended(folder):
    network = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=(32, 32, 3))
    normalization = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
    normalization.adapt_mean.assign([0.485, 0.456, 0.406])
    normalization.adapt_variance.assign([0.229, 0.224, 0.225])  # as in Keras' own efficientnetb0_notop.h5
    network.save_weights(folder / "official.weights.h5")
    loaded = load("EfficientNetB0", folder, "official.weights.h5", 32, 32).get_layer(network.name)
    layer = next(layer for layer in loaded.layers if isinstance(layer, keras.layers.Normalization))
    got = layer(np.full((1, 1, 1, 3), 0.9, np.float32))
    expected = (0.9 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(np.ravel(got), expected, rtol=1e-5)


def test_weights_of_another_network(folder):
    network = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3))
    network.save_weights(folder / "mobilenet.weights.h5")
    network.save(folder / "mobilenet.h5")
    (folder / "junk.h5").write_text("no weights")
    for file in ("mobilenet.weights.h5", "mobilenet.h5", "junk.h5"):
        message = refusal("VGG16", folder, file)
        assert message.startswith(f"params.yaml: model.weights: {folder / file} must hold the weights of VGG16 without")
    message = refusal("VGG16", folder, "mobilenet.weight.h5")
    assert "there is no file" in message
    assert "Did you mean mobilenet.weights.h5? .h5 files there: junk.h5, mobilenet.h5, mobilenet.weights.h5." in message
    with pytest.raises(UserError, match="model.weights must be the name of a file in model.backbone_folder"):
        load("VGG16", folder, "../mobilenet.h5")


@pytest.mark.parametrize("name", ["MobileNetV2", "NASNetMobile"])
def test_no_network_for_the_download(name, folder, monkeypatch):
    def refuse(*arguments):
        raise urllib.error.URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr(file_utils, "urlretrieve", refuse)
    monkeypatch.setenv("KERAS_HOME", str(folder / "home"))
    # Keras reads KERAS_HOME when it is imported.
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(folder / "home"))
    message = refusal(name, folder, "imagenet", 32, 32)
    url_name, cache_name = {
        "MobileNetV2": ["mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"] * 2,
        "NASNetMobile": ["NASNet-mobile-no-top.h5", "nasnet_mobile_no_top.h5"],
    }[name]
    assert message.startswith(f"params.yaml: model.weights: imagenet needs a download for {name}, which failed: URL")
    assert f"{url_name} on a machine with a network" in message
    assert f"put it here as {folder / 'home' / 'models' / cache_name}" in message
    assert f"set model.weights: {url_name}." in message


def test_other_errors_of_a_download_keep_their_traceback(folder, monkeypatch):
    def corrupt(*arguments):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(file_utils, "urlretrieve", corrupt)
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(folder / "home"))
    with pytest.raises(ZeroDivisionError):
        load("MobileNetV2", folder, "imagenet", 32, 32)


def test_unknown_names(folder):
    save(folder, "own.keras", [keras.layers.Conv2D(5, 3)])
    message = refusal("EfficentNetB0", folder)
    assert message.startswith(
        "params.yaml: model.backbone must be a network of keras.applications, or a .keras file or"
    )
    assert "Got 'EfficentNetB0'. Did you mean EfficientNetB0" in message
    assert "NASNetLarge, NASNetMobile, ResNet101" in message
    assert message.endswith(
        f"Files and presets in {folder}: own.keras.\n`posterity fetch-backbone NAME` brings a preset of KerasHub there."
    )
    assert "Did you mean own.keras? .keras files there: own.keras." in refusal("owm.keras", folder)
    assert ".keras files there: none." in refusal("own.keras", folder / "absent")


@pytest.mark.parametrize("entry", ["../own.keras", "/tmp/own.keras", "a\\..\\..\\own.keras", "a/../../own.keras"])
def test_paths_that_leave_the_folder(entry, folder):
    message = refusal(entry, folder)
    assert (
        f"must be the name of a file in model.backbone_folder, {folder}, which DVC watches. Got {entry!r}." in message
    )
    assert message.endswith("Copy the file there and write own.keras.")


def test_images_that_do_not_fit(folder):
    save(folder, "fixed.keras", [keras.layers.Conv2D(5, 3)], shape=(32, 32, 3))
    save(folder, "valid.keras", [keras.layers.Conv2D(5, 40)])
    assert "32x32; Received: input_shape=(31, 64, 3). Raise" in refusal("MobileNet", folder, height=31, width=64)
    assert "Input size must be at least 71x71" in refusal("Xception", folder)
    assert "Got 64 x 48 (height x width). Set image.height: 32 and image.width: 32" in refusal("fixed.keras", folder)
    assert "cannot take images of 39 x 48 (height x width): Computed output size" in refusal(
        "valid.keras", folder, height=39
    )
    assert load("valid.keras", folder, height=40).output_shape == (None, 1, 9, 5)


def test_files_that_are_no_backbones(folder):
    save(folder, "table.keras", [keras.layers.Dense(3)], shape=(8,))
    save(folder, "gray.keras", [keras.layers.Conv2D(3, 3)], shape=(None, None, 1))
    save(folder, "lambda.keras", [keras.layers.Lambda(lambda x: x)])
    (folder / "text.keras").write_text("no model")
    keras.Sequential([keras.layers.Conv2D(4, 3)]).save(folder / "unbuilt.keras")
    assert "Got inputs [(None, 8)] and outputs [(None, 3)]" in refusal("table.keras", folder)
    assert "Got inputs [(None, None, None, 1)]" in refusal("gray.keras", folder)
    assert "Got a Sequential without a declared input" in refusal("unbuilt.keras", folder)
    for name in ("lambda.keras", "text.keras"):
        assert f"{folder / name}: cannot be read as a Keras model" in refusal(name, folder)


@pytest.mark.parametrize("file", ["my net.keras", "1+2.keras", "netz-ä.keras", "image.keras", "features.keras"])
def test_a_file_may_have_any_name_and_be_listed_beside_another(file, folder):
    for name in (file, "other.keras"):
        save(folder, name, [keras.layers.Conv2D(2, 3)])
    models = [
        backbones.load(name, folder=folder, weights=None, height=64, width=48, name=f"backbone{number}")
        for number, name in enumerate((file, "other.keras"))
    ]
    assert extractor.feature_model(models).output_shape == (None, 4)

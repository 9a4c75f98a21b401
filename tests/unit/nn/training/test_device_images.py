import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from posterity.errors import UserError
from posterity.nn.networks import assemble, augment, scratch
from posterity.nn.training import device_images, fit, optimizers
from posterity.nn.training.batches import Batches, images_of
from posterity.pixels.spec import ImageSpec
from small_cache import TARGETS

NO_CHANGE = {"shift": 0.0, "zoom": 0.0, "brightness": 0.0, "contrast": 0.0, "erase": 0.0}


class Counted:
    """Stands in for a cache of 700 images of 2 x 3; the blue of each is its number modulo 251."""

    spec = ImageSpec(2, 3)

    def __len__(self):
        return 700

    def images(self, rows):
        images = np.zeros((len(rows), 2, 3, 3), np.uint8)
        images[..., 2] = (np.asarray(rows) % 251)[:, None, None]
        return images


def test_a_row_number_gives_its_image():
    rows = np.array([699, 0, 255, 256, 300, 300], np.int32)
    given = keras.ops.convert_to_numpy(device_images.Images(Counted())(rows))
    np.testing.assert_array_equal(given, Counted().images(rows))
    assert given.dtype == np.uint8


@pytest.mark.parametrize("mixup", [False, True])
def test_rows_give_what_their_images_give(cache, mixup):
    prepared = keras.Input((64, 64, 3))
    body = keras.Model(prepared, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(prepared)))
    images = keras.Input((64, 64, 3), dtype="uint8", name="image")
    network = assemble.network(images, [keras.layers.Rescaling(1 / 255)], body, name="tiny", mixup=mixup)
    by_rows = device_images.by_rows(network.training, device_images.Images(cache))
    options = {"mixup": 0.4 if mixup else None, "shuffle_seed": 1}
    for images, rows in zip(
        Batches(images_of(cache), TARGETS, np.arange(80), 16, **options),
        Batches(device_images.rows_only(), TARGETS, np.arange(80), 16, **options),
        strict=True,
    ):
        np.testing.assert_array_equal(images[1], rows[1])
        expected, given = network.training(images[0], training=True), by_rows(rows[0], training=True)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(expected), keras.ops.convert_to_numpy(given))


def test_they_train_the_same(cache):
    def train(is_resident):
        keras.utils.set_random_seed(1)
        network = scratch.build(
            "compact_cnn",
            height=64,
            width=64,
            label_frequencies=[0.5, 0.5, 0.9],
            augmentation=lambda value_range: augment.layers(flip=True, **NO_CHANGE, seed=1, value_range=value_range),
            mixup=True,
        )
        source, model = images_of(cache), network.training
        if is_resident:
            source, model = device_images.rows_only(), device_images.by_rows(model, device_images.Images(cache))
        sides = [
            Batches(source, TARGETS, np.arange(60), 16, shuffle_seed=1, mixup=0.1),
            Batches(source, TARGETS, np.arange(60, 80), 16, mixup=0.0),
        ]
        adam = optimizers.build("adam", 3e-3)
        loss = keras.losses.BinaryCrossentropy()
        history = fit.fit(model, *sides, loss=loss, optimizer=adam, epochs=3, keep_epoch="best")
        return history, network.model.get_weights()

    (history, weights), (by_rows, same_weights) = train(False), train(True)
    assert history.equals(by_rows)
    for weight, same in zip(weights, same_weights, strict=True):
        np.testing.assert_array_equal(weight, same)


@pytest.mark.proof
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_they_train_the_same_on_jax():
    command = [sys.executable, "-m", "pytest", "-q", "-k", "train_the_same and not jax", __file__]
    ran = subprocess.run(command, env=os.environ | {"KERAS_BACKEND": "jax"}, capture_output=True, text=True)
    assert "1 passed" in ran.stdout, ran.stdout


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about a kernel of TensorFlow")
def test_tensorflow_gathers_without_reading_all_images(cache):
    import tensorflow as tf

    images = device_images.Images(cache)
    graph = tf.function(images).get_concrete_function(tf.TensorSpec((None,), tf.int32)).graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert "ResourceGather" in kinds
    assert not kinds & {"ReadVariableOp", "GatherV2"}


def test_the_images_are_no_part_of_what_is_learned(cache):
    network = scratch.build("compact_cnn", height=64, width=64, label_frequencies=[0.5, 0.4, 0.9])
    expected = [variable.path for variable in network.training.weights]
    by_rows = device_images.by_rows(network.training, device_images.Images(cache))
    assert [variable.path for variable in by_rows.weights] == expected
    assert by_rows.count_params() == network.model.count_params()
    assert [v.path for v in by_rows.trainable_variables] == [v.path for v in network.model.trainable_variables]


@pytest.mark.parametrize("error", [RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), MemoryError("of NumPy")])
def test_too_little_memory_is_said(cache, monkeypatch, error):
    def full(*args, **options):
        raise error

    monkeypatch.setattr(keras.layers.Layer, "add_weight", full)
    with pytest.raises(UserError, match="machine.device.cache_images: true needs 0.0 GB for 80 images"):
        device_images.Images(cache)
    monkeypatch.setattr(keras.layers.Layer, "add_weight", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        device_images.Images(cache)

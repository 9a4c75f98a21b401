"""Batch normalisation in one pass gives what Keras' layer gives."""

import json

import keras
import numpy as np
import pytest

from posterity.nn import keras_file
from posterity.nn.networks import fused_norm, scratch
from posterity.nn.networks.fused_norm import FusedNorm, can_be_fused, with_fused_norms

tf = pytest.importorskip("tensorflow")
IMAGES = np.random.default_rng(0).normal(3.0, 2.0, (6, 5, 4, 3)).astype(np.float32)


def body(*norms):
    """A convolution and ``norms`` after it, with weights as after some training."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input(IMAGES.shape[1:])
    x = keras.layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    for norm in norms:
        x = norm(x)
    model = keras.Model(inputs, x)
    generator = np.random.default_rng(2)
    model.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()])
    return model


def step(model, images=IMAGES):
    """One step of training without its update: outputs, gradients, and all other variables after it."""
    with tf.GradientTape() as tape:
        outputs = model(images, training=True)
        loss = keras.ops.mean(keras.ops.sin(keras.ops.cast(outputs, "float32")))
    gradients = tape.gradient(loss, model.trainable_variables)
    others = [variable.numpy() for variable in model.non_trainable_variables]
    return [np.asarray(keras.ops.cast(outputs, "float32")), *(gradient.numpy() for gradient in gradients), *others]


def assert_steps_agree(plain, fused, **tolerance):
    before = [variable.numpy() for variable in plain.non_trainable_variables]
    there = step(fused)
    for variable, value in zip(plain.non_trainable_variables, before, strict=True):
        variable.assign(value)
    here = step(plain)
    assert any((a != b).any() for a, b in zip(before, here[-len(before) :], strict=True)), "nothing was counted"
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(b, a, **tolerance)


def test_a_step_gives_the_outputs_gradients_and_statistics_of_keras():
    plain = body(keras.layers.BatchNormalization(momentum=0.7, epsilon=0.01, name="norm"))
    fused = with_fused_norms(plain)
    assert isinstance(fused.get_layer("norm"), FusedNorm)
    assert_steps_agree(plain, fused, rtol=1e-4, atol=1e-5)


def test_so_does_a_step_compiled_by_xla():
    plain = body(keras.layers.BatchNormalization(name="norm"))
    fused = with_fused_norms(plain)
    compiled = tf.function(lambda images: fused(images, training=True), jit_compile=True)
    np.testing.assert_allclose(compiled(IMAGES), plain(IMAGES, training=True), rtol=1e-4, atol=1e-5)


def test_statistics_stay_exact_in_16_bits():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        plain = body(keras.layers.BatchNormalization(name="norm"))
        fused = with_fused_norms(plain)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert plain.get_layer("norm").compute_dtype == fused.get_layer("norm").compute_dtype == "bfloat16"
    assert plain(IMAGES, training=False).dtype == fused(IMAGES, training=True).dtype == "bfloat16"
    assert {variable.dtype for variable in fused.variables} == {"float32"}
    # What is stored in 16 bits has three digits.
    assert_steps_agree(plain, fused, rtol=0.05, atol=0.02)


def test_out_of_training_it_is_the_layer_of_keras():
    plain = body(keras.layers.BatchNormalization(name="norm"))
    np.testing.assert_array_equal(with_fused_norms(plain)(IMAGES), plain(IMAGES))


def test_a_frozen_one_counts_nothing():
    plain = body(keras.layers.BatchNormalization(name="norm"))
    fused = with_fused_norms(plain)
    plain.get_layer("norm").trainable = False
    np.testing.assert_array_equal(fused(IMAGES, training=True), plain(IMAGES, training=False))


class Halving(keras.layers.BatchNormalization):
    """A subclass that computes something else."""

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=training, mask=mask) / 2


def test_every_layer_may_be_asked_about():
    model = body(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5))
    assert [can_be_fused(layer) for layer in model.layers] == [False, False, True, False]
    assert not can_be_fused(keras.layers.BatchNormalization())  # not built: nobody knows of what


@pytest.mark.parametrize(
    "norm",
    [
        keras.layers.BatchNormalization(center=False),
        keras.layers.BatchNormalization(scale=False),
        keras.layers.BatchNormalization(axis=1),
        keras.layers.BatchNormalization(synchronized=True),
        keras.layers.BatchNormalization(renorm=True),
        keras.layers.LayerNormalization(),
        Halving(),
    ],
    ids=["no offset", "no scale", "channels first", "synchronized", "renormalised", "another layer", "a subclass"],
)
def test_what_the_operation_cannot_do_stays_with_keras(norm):
    plain = body(norm)
    assert with_fused_norms(plain) is plain
    mixed = body(norm, keras.layers.BatchNormalization(name="norm"))
    assert [type(layer) is FusedNorm for layer in with_fused_norms(mixed).layers] == [False, False, False, True]


def test_vectors_stay_with_keras():
    inputs = keras.Input((3,))
    plain = keras.Model(inputs, keras.layers.BatchNormalization()(inputs))
    assert with_fused_norms(plain) is plain


def test_another_backend_keeps_the_layers_of_keras(monkeypatch):
    monkeypatch.setattr(fused_norm.keras.backend, "backend", lambda: "jax")
    plain = body(keras.layers.BatchNormalization())
    assert with_fused_norms(plain) is plain


def test_the_model_that_is_saved_needs_nothing_but_keras(tmp_path):
    network = scratch.build("compact_cnn", height=64, width=48, label_frequencies=[0.3, 0.2])
    norms = [layer for layer in network.training.get_layer("body").layers if isinstance(layer, FusedNorm)]
    assert len(norms) == 13
    for shared, own in zip(network.training.variables, network.model.variables, strict=True):
        assert shared is own
    config = json.loads(keras_file.members(network.model)["config.json"])
    assert "posterity" not in json.dumps(config)
    keras_file.save(network.model, tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 48, 3)).astype(np.uint8)
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(loaded(images), network.model(images))

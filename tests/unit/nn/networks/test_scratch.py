import keras
import numpy as np
import pytest

from posterity.choices import SMALLEST_SIDE
from posterity.nn.networks import scratch
from posterity.nn.networks.summary import multiply_adds

FREQUENCIES = np.array([0.5, 0.1, 0.02])


def build(name, height=400, width=300, frequencies=FREQUENCIES, **options):
    return scratch.build(name, height=height, width=width, label_frequencies=frequencies, **options)


def random_images(height, width, n=2):
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def test_the_tutorial_network_is_the_published_one():
    model = build("tutorial_cnn", frequencies=np.full(25, 0.1)).model
    assert model.count_params() == 2_758_265
    inside = model.get_layer("body").layers
    shapes = [layer.output.shape[1:] for layer in inside if isinstance(layer, keras.layers.MaxPooling2D)]
    assert shapes == [(198, 148, 16), (97, 72, 32), (46, 34, 64), (21, 15, 64)]
    rates = [layer.rate for layer in inside if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.25] * 4 + [0.5] * 2


@pytest.mark.parametrize("name", scratch.BLUEPRINTS)
def test_the_smallest_image_works_and_a_smaller_one_is_refused(name):
    side = SMALLEST_SIDE[name]
    assert build(name, side, side).model.predict_on_batch(np.zeros((1, side, side, 3), np.uint8)).shape == (1, 3)
    with pytest.raises(ValueError, match=f"must be at least {side} for {name}. Got {side} x {side - 1}"):
        build(name, side, side - 1)


def test_the_compact_network_is_compact():
    tutorial, compact = (build(name, frequencies=np.full(25, 0.1)).model for name in ("tutorial_cnn", "compact_cnn"))
    assert 300_000 < compact.count_params() < 1_500_000
    assert multiply_adds(tutorial) >= 8 * multiply_adds(compact)


@pytest.mark.parametrize("name", scratch.BLUEPRINTS)
def test_raw_images_in_probabilities_out(name):
    scores = build(name, 96, 80).model.predict_on_batch(random_images(96, 80))
    assert scores.shape == (2, 3)
    assert scores.dtype == np.float32
    assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize("name", scratch.BLUEPRINTS)
def test_augmentation_is_told_the_range_of_the_prepared_images(name):
    told = []
    build(name, 76, 76, augmentation=lambda value_range: told.append(value_range) or ())
    (value_range,) = told
    for value, expected in zip((0, 255), value_range, strict=True):
        x = np.full((1, 76, 76, 3), value, np.uint8)
        for layer in scratch.BLUEPRINTS[name].prepare():
            x = layer(x)
        np.testing.assert_allclose(x, expected, atol=1e-6)


def test_augmentation_acts_in_training_only_and_the_weights_are_shared():
    darker = keras.layers.Rescaling(0.5)
    network = build("compact_cnn", 64, 48, augmentation=lambda value_range: [darker])
    for shared, own in zip(network.training.weights, network.model.weights, strict=True):
        assert shared is own
    images = random_images(64, 48)
    plain = network.model.predict_on_batch(images)
    assert np.abs(network.training.predict_on_batch(images) - plain).max() > 1e-4
    assert build("compact_cnn", 64, 48).training.input_shape == (None, 64, 48, 3)


def test_half_size_is_the_same_network_on_a_smaller_image():
    made = scratch.build("compact_cnn", height=64, width=48, label_frequencies=[0.5, 0.2], half_size=True)
    small = scratch.build("compact_cnn", height=32, width=24, label_frequencies=[0.5, 0.2])
    small.model.set_weights(made.model.get_weights())
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 24, 3)).astype(np.uint8)
    doubled = image.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(made.half_size(doubled), small.model(image), rtol=1e-5)
    assert [v.path for v in made.half_size.variables] == [v.path for v in made.training.variables]
    assert all(a is b for a, b in zip(made.half_size.variables, made.training.variables, strict=True))


def test_batch_normalisation_looks_back_as_far_as_the_averaged_weights():
    for ema, expected in ((None, 0.9), (0.5, 0.9), (0.99, 0.99)):
        network = scratch.build("compact_cnn", height=32, width=24, label_frequencies=[0.5], ema=ema)
        layers = network.model.get_layer("body").layers
        norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
        assert {norm.momentum for norm in norms} == {expected}


def test_half_size_needs_a_network_of_any_size():
    with pytest.raises(ValueError, match="the weights of tutorial_cnn fit images of one size only"):
        scratch.build("tutorial_cnn", height=200, width=160, label_frequencies=[0.5], half_size=True)


def test_the_compact_network_starts_near_the_label_frequencies():
    last = build("compact_cnn", 64, 48).model.get_layer("body").get_layer("probabilities")
    np.testing.assert_allclose(keras.ops.sigmoid(last.bias), FREQUENCIES, rtol=1e-5)


def test_the_output_stays_float32_under_mixed_precision():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = build("compact_cnn", 64, 48).model
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert model.get_layer("body").get_layer("stem_conv").compute_dtype == "bfloat16"
    assert model.predict_on_batch(np.zeros((1, 64, 48, 3), np.uint8)).dtype == np.float32

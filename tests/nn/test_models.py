import keras
import numpy as np
import pytest

from posterity.errors import UserError
from posterity.nn import models

FREQUENCIES = np.array([0.5, 0.1, 0.02])


def build(name, height=400, width=300, frequencies=FREQUENCIES):
    return models.build(name, height=height, width=width, label_frequencies=frequencies)


def test_the_tutorial_network_is_the_published_one():
    model = build("tutorial_cnn", frequencies=np.full(25, 0.1))
    assert model.count_params() == 2_758_265
    shapes = [layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert shapes == [(198, 148, 16), (97, 72, 32), (46, 34, 64), (21, 15, 64)]
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.25] * 4 + [0.5] * 2


@pytest.mark.parametrize("name", models.BUILDERS)
def test_the_smallest_image_works_and_a_smaller_one_is_refused(name):
    side = models.SMALLEST_SIDE[name]
    assert build(name, side, side).predict_on_batch(np.zeros((1, side, side, 3), np.uint8)).shape == (1, 3)
    with pytest.raises(UserError, match=rf"image.width must be at least {side} for {name}. Got {side - 1}"):
        build(name, side, side - 1)


def test_multiply_adds_by_hand():
    images = keras.Input((6, 5, 3))
    x = keras.layers.Conv2D(4, 3)(images)  # 4 x 3 places, 3 x 3 x 3 x 4 weights
    x = keras.layers.Dense(7)(keras.layers.Flatten()(x))  # 48 x 7 weights
    assert models.multiply_adds(keras.Model(images, x)) == 12 * 108 + 336


def test_the_compact_network_is_compact():
    tutorial, compact = (build(name, frequencies=np.full(25, 0.1)) for name in ("tutorial_cnn", "compact_cnn"))
    assert 300_000 < compact.count_params() < 1_500_000
    assert models.multiply_adds(tutorial) >= 8 * models.multiply_adds(compact)


@pytest.mark.parametrize("name", models.BUILDERS)
def test_raw_images_in_probabilities_out(name):
    model = build(name, 96, 80)
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 80, 3), dtype=np.uint8)
    scores = model.predict_on_batch(images)
    assert scores.shape == (2, 3)
    assert scores.dtype == np.float32
    assert ((scores > 0) & (scores < 1)).all()


def test_the_compact_network_starts_near_the_label_frequencies():
    model = build("compact_cnn", 64, 48)
    last = model.get_layer("probabilities")
    np.testing.assert_allclose(keras.ops.sigmoid(last.bias), FREQUENCIES, rtol=1e-5)


def test_the_output_stays_float32_under_mixed_precision():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = build("compact_cnn", 64, 48)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert model.get_layer("stem_conv").compute_dtype == "bfloat16"
    assert model.predict_on_batch(np.zeros((1, 64, 48, 3), np.uint8)).dtype == np.float32


def test_summary_names_layers_and_cost():
    text = models.summary(build("compact_cnn", 64, 48))
    assert "stage4_conv2" in text
    assert "Multiply-adds an image: " in text

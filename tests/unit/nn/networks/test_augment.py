import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from posterity.nn.networks import augment

OFF = {"flip": False, "shift": 0.0, "zoom": 0.0, "brightness": 0.0, "contrast": 0.0, "erase": 0.0}
EACH = {"flip": True, "shift": 0.2, "zoom": 0.2, "brightness": 0.2, "contrast": 0.2, "erase": 1.0}
SRC = Path(__file__).parents[4] / "src"


def layers(seed=1, **changed):
    return augment.layers(**OFF | changed, seed=seed)


def apply(images, made, training=True):
    for layer in made:
        images = layer(images, training=training)
    return keras.ops.convert_to_numpy(images)


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (16, 10, 8, 3)).astype(np.float32)


def test_nothing_is_built_for_zeros():
    assert layers() == []


@pytest.mark.parametrize("name", EACH)
def test_each_acts_in_training_only_within_the_range_and_anew_for_each_image(images, name):
    images = np.repeat(images[:1], 16, axis=0)
    made = layers(**{name: EACH[name]})
    assert len(made) == 1
    np.testing.assert_array_equal(apply(images, made, training=False), images)
    changed, again = apply(images, made), apply(images, made)
    assert changed.shape == images.shape
    assert changed.min() >= -1
    assert changed.max() <= 1
    assert len({image.tobytes() for image in changed}) >= (2 if name == "flip" else 10)
    assert (changed != again).any()


@pytest.mark.parametrize("name", EACH)
def test_the_seed_decides_and_other_layers_do_not(images, name):
    one = {name: EACH[name]}
    np.testing.assert_array_equal(apply(images, layers(**one)), apply(images, layers(**one)))
    assert (apply(images, layers(**one)) != apply(images, layers(seed=2, **one))).any()
    together = [layer for layer in layers(**EACH) if layer.name == name]
    np.testing.assert_array_equal(apply(images, layers(**one)), apply(images, together))


def test_the_layers_do_not_share_their_draws():
    assert len({layer.seed for layer in layers(**EACH)}) == 6


def test_flip_mirrors_half_of_the_images(images):
    images = np.tile(images, (16, 1, 1, 1))
    flipped = apply(images, layers(flip=True))
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    same = (flipped == images).all((1, 2, 3))
    assert (mirrored ^ same).all()
    assert 0.4 < mirrored.mean() < 0.6  # 256 images: three standard deviations are 0.09


def test_shift_moves_within_its_bounds():
    # A ramp of 1 a pixel down the rows: inside, a shift by s rows leaves ramp - s.
    rows = np.arange(20, dtype=np.float32)
    images = np.broadcast_to(rows[None, :, None, None], (64, 20, 8, 3))
    moved = rows[10] - apply(images, layers(shift=0.2))[:, 10, 4, 0]
    assert np.abs(moved).max() <= 4
    assert moved.min() < -2
    assert moved.max() > 2


def test_zoom_scales_both_sides_alike_within_its_bounds():
    # Ramps across and down, 0 in the middle: zoomed, their slope is 0.8 to 1.2 times what it was.
    rows, columns = np.meshgrid(np.arange(21.0) - 10, np.arange(21.0) - 10, indexing="ij")
    images = np.broadcast_to(np.stack([rows, columns, rows], axis=-1).astype(np.float32), (64, 21, 21, 3))
    zoomed = apply(images, layers(zoom=0.2))
    down, across = (zoomed[:, 12, 12, channel] / 2 for channel in (0, 1))
    np.testing.assert_allclose(down, across, atol=1e-5)
    assert 0.8 <= down.min() < 0.9
    assert 1.1 < down.max() <= 1.2


def test_brightness_adds_a_share_of_the_range():
    # 0.2 of the range -1 to 1 is 0.4; nothing is clipped in the middle of it.
    images = np.random.default_rng(0).uniform(-0.5, 0.5, (64, 4, 4, 3)).astype(np.float32)
    added = apply(images, layers(brightness=0.2)) - images
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1, :1, :1], added.shape), atol=1e-6)
    assert -0.4 <= added.min() < -0.2
    assert 0.2 < added.max() <= 0.4
    others = apply(images, augment.layers(**OFF | {"brightness": 0.2}, seed=1, value_range=(0.0, 255.0)))
    assert 25 < others.max() <= 51.5


def test_contrast_goes_both_ways():
    images = np.random.default_rng(0).uniform(-0.5, 0.5, (64, 4, 4, 3)).astype(np.float32)
    changed = apply(images, layers(contrast=0.3))
    mean = images.mean((1, 2), keepdims=True)
    factor = (changed - mean)[:, 0, 0, 0] / (images - mean)[:, 0, 0, 0]
    np.testing.assert_allclose(changed, (images - mean) * factor[:, None, None, None] + mean, atol=1e-5)
    assert 0.7 <= factor.min() < 0.8
    assert 1.2 < factor.max() <= 1.3 + 1e-5


def test_erase_paints_a_rectangle_in_the_given_share_of_the_images():
    images = np.ones((512, 40, 30, 3), np.float32)
    erased = apply(images, layers(erase=0.3)) == 0
    assert 0.24 < erased.any((1, 2, 3)).mean() < 0.36  # three standard deviations are 0.06
    always = apply(images, layers(erase=1.0)) == 0
    area = always[..., 0].mean((1, 2))
    assert area.min() > 0.01  # the paper's 0.02, in whole pixels
    assert area.max() < 0.37
    heights, widths = always[..., 0].any(2).sum(1), always[..., 0].any(1).sum(1)
    np.testing.assert_array_equal(always[..., 0].sum((1, 2)), heights * widths)
    np.testing.assert_array_equal(always, always[..., :1].repeat(3, axis=-1))


def test_all_stay_float32_under_mixed_precision(images):
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        made, mix = layers(**EACH), augment.Mix()
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    partner, share = augment.draw_mixup(np.random.default_rng(0), len(images), alpha=0.4)
    assert apply(images, made).dtype == np.float32
    mixed = keras.ops.convert_to_numpy(mix(images, partner, share, training=True))
    np.testing.assert_array_equal(
        mixed, keras.ops.convert_to_numpy(augment.Mix()(images, partner, share, training=True))
    )


PARTNER, SHARE = np.array([1, 0, 2], np.int32), np.array([0.5, 0.75, 0.9], np.float32)


def test_mix_by_hand():
    x = np.array([[0.0, 8.0], [4.0, 0.0], [1.0, 2.0]], np.float32)
    mixed = keras.ops.convert_to_numpy(augment.Mix()(x, PARTNER, SHARE, training=True))
    np.testing.assert_allclose(mixed, [[2, 4], [3, 2], [1, 2]], rtol=1e-6)
    np.testing.assert_array_equal(augment.Mix()(x, PARTNER, SHARE, training=False), x)
    np.testing.assert_array_equal(augment.Mix()(x, PARTNER, SHARE), x)


def test_mix_takes_images():
    x = np.random.default_rng(0).random((3, 4, 2, 3)).astype(np.float32)
    mixed = keras.ops.convert_to_numpy(augment.Mix()(x, PARTNER, SHARE, training=True))
    for row in range(3):
        expected = x[row] * SHARE[row] + x[PARTNER[row]] * (1 - SHARE[row])
        np.testing.assert_allclose(mixed[row], expected, rtol=1e-6)


def test_targets_are_mixed_like_images():
    targets = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0]], np.float32)
    mixed = augment.mix_rows(targets, PARTNER, SHARE)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(mixed, [[0.5, 0.5, 1], [0.25, 0.75, 1], [1, 1, 0]])
    images = augment.Mix()(targets, PARTNER, SHARE, training=True)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(images), mixed, rtol=1e-6)


def test_dropped_values_are_0_and_the_others_are_scaled():
    vectors = np.random.default_rng(1).normal(size=(200, 500)).astype(np.float32)
    dropped = augment.drop(np.random.default_rng(2), vectors.copy(), 0.6)
    assert dropped.dtype == np.float32
    kept = dropped != 0
    np.testing.assert_allclose(dropped[kept], vectors[kept] * 2.5, rtol=1e-6)
    # Five standard deviations of the share of 100,000 values, and of one row and one column of them.
    assert kept.mean() == pytest.approx(0.4, abs=5 * (0.24 / 100_000) ** 0.5)
    assert kept.mean(axis=1) == pytest.approx(np.full(200, 0.4), abs=5 * (0.24 / 500) ** 0.5)
    assert kept.mean(axis=0) == pytest.approx(np.full(500, 0.4), abs=5 * (0.24 / 200) ** 0.5)
    np.testing.assert_array_equal(augment.drop(np.random.default_rng(2), vectors.copy(), 0.6), dropped)


def test_a_rate_of_0_drops_nothing_and_draws_nothing():
    generator, vectors = np.random.default_rng(2), np.ones((3, 2), np.float32)
    assert augment.drop(generator, vectors, 0.0).all()
    assert generator.random() == np.random.default_rng(2).random()


def test_mixup_draws():
    partner, share = augment.draw_mixup(np.random.default_rng(3), 2000, alpha=1.0)
    assert sorted(partner.tolist()) == list(range(2000))
    assert (partner.dtype, share.dtype) == (np.int32, np.float32)
    assert share.min() >= 0.5
    assert share.max() <= 1
    # Beta(1, 1) is uniform; folded, it is uniform from 0.5 to 1, with a mean of 0.75.
    assert share.mean() == pytest.approx(0.75, abs=0.01)
    assert augment.draw_mixup(np.random.default_rng(3), 2000, alpha=0.2)[1].mean() > 0.85
    again = augment.draw_mixup(np.random.default_rng(3), 2000, alpha=1.0)
    np.testing.assert_array_equal(again, (partner, share))


JAX = """
import keras, numpy as np
from keras.layers import Dense, GlobalAveragePooling2D
from posterity.nn.networks import augment
from posterity.nn.training import losses
from posterity.nn.training import optimizers

assert keras.backend.backend() == "jax"
keras.utils.set_random_seed(1)
images, partner, share = keras.Input((8, 6, 3)), keras.Input((), dtype="int32"), keras.Input(())
x = images
for layer in augment.layers(flip=True, shift=0.2, zoom=0.2, brightness=0.2, contrast=0.2, erase=0.5, seed=1):
    x = layer(x)
x = GlobalAveragePooling2D()(augment.Mix()(x, partner, share))
model = keras.Model([images, partner, share], Dense(2, activation="sigmoid")(x))
rates = optimizers.learning_rates(0.1, schedule="cosine", warmup_epochs=0.5, epochs=3, steps_per_epoch=2)
optimizer = optimizers.build("adamw", rates, weight_decay=0.1, clip_norm=1.0, ema=0.9)
options = losses.LossOptions(label_smoothing=0.1, asymmetric_gamma_negative=4.0, asymmetric_clip=0.05)
model.compile(optimizer=optimizer, loss=losses.build("asymmetric", options, label_frequencies=[0.4, 0.6]))
assert model.jit_compile
generator = np.random.default_rng(0)
partners, shares = zip(*(augment.draw_mixup(generator, 4, alpha=0.4) for _ in range(2)))  # batches of 4
x = [generator.random((8, 8, 6, 3)), np.concatenate(partners), np.concatenate(shares)]
y = generator.integers(0, 2, (8, 2))
history = model.fit(x, y, batch_size=4, epochs=3, shuffle=False, validation_data=(x, y), verbose=0,
                    callbacks=optimizers.ema_callbacks(0.9)).history
assert np.isclose(history["val_loss"][-1], model.evaluate(x, y, batch_size=4, verbose=0), rtol=1e-5)
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_jax_compiles_a_training_step_with_all_of_it():
    environment = {**os.environ, "PYTHONPATH": str(SRC), "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", JAX], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

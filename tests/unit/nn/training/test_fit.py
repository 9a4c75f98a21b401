import keras
import numpy as np
import pandas as pd
import pytest

from posterity.errors import UserError
from posterity.evaluation import metrics
from posterity.nn.training import optimizers
from posterity.nn.training.batches import Batches, images_of
from posterity.nn.training.fit import fit, predict_batches
from small_cache import TARGETS

TRAIN, VALIDATION = np.arange(60), np.arange(60, 80)


def served(cache, rows, **options):
    return Batches(images_of(cache), TARGETS, rows, 16, **options)


def train(cache, epochs=2, rate=1e-3, seed=1, label_smoothing=0.0, ema=None, **options):
    keras.utils.set_random_seed(seed)
    # What is tested is the training, so the network is the smallest that can tell the labels of the `cache` fixture.
    images = keras.Input((64, 64, 3), dtype="uint8")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Dropout(0.1)(x)
    model = keras.Model(images, keras.layers.Dense(3, activation="sigmoid")(x))
    sides = served(cache, TRAIN, shuffle_seed=seed), served(cache, VALIDATION)
    loss = keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)
    optimizer = optimizers.build("adam", rate, ema=ema)
    return model, fit(model, *sides, loss=loss, optimizer=optimizer, epochs=epochs, **options)


def validation_bce(model, cache):
    y_score = predict_batches(model, served(cache, VALIDATION))
    return metrics.binary_cross_entropy(TARGETS[VALIDATION], y_score.astype(float))


def test_the_network_learns_what_can_be_seen(cache):
    model, history = train(cache, epochs=12, rate=0.3)
    frequencies = metrics.label_frequencies(TARGETS[TRAIN])
    prior = metrics.binary_cross_entropy(TARGETS[VALIDATION], metrics.prior_scores(frequencies, len(VALIDATION)))
    assert list(history.columns) == ["epoch", "loss", "bce", "val_bce"]
    assert history["epoch"].tolist() == list(range(1, 13))
    np.testing.assert_allclose(history["loss"], history["bce"], rtol=1e-4)
    assert history["loss"].iloc[-1] < 0.5 * history["loss"].iloc[0]
    assert validation_bce(model, cache) < 0.5 * prior


def test_xla_is_switched_by_the_flag(cache):
    for xla in (False, True):
        model, _ = train(cache, epochs=1, xla=xla)
        assert model.jit_compile is xla


def test_the_same_seed_gives_the_same_weights(cache):
    (first, history), (second, again), (other, _) = train(cache), train(cache), train(cache, seed=2)
    pd.testing.assert_frame_equal(history, again)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first.get_weights(), other.get_weights(), strict=True))


@pytest.mark.parametrize("ema", [None, 0.5])
def test_the_history_holds_the_plain_loss_of_the_kept_weights(cache, ema):
    # A rate so high that the last epochs get worse: the best one is an earlier one.
    for keep in ("last", "best"):
        model, history = train(cache, epochs=6, rate=5.0, seed=2, keep_epoch=keep, label_smoothing=0.3, ema=ema)
        assert history["val_bce"].idxmin() < 5, "choose another rate: the last epoch is the best one"
        assert (abs(history["loss"] - history["bce"]) > 0.01).all()  # what is minimised has smoothed targets
        kept = history["val_bce"].iloc[int(history["val_bce"].idxmin()) if keep == "best" else -1]
        assert validation_bce(model, cache) == pytest.approx(kept, rel=1e-3)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_early_stopping_waits_for_a_better_epoch(cache, keep):
    model, history = train(cache, epochs=40, rate=20.0, early_stopping=2, keep_epoch=keep)
    best = int(history["val_bce"].idxmin())
    assert len(history) == best + 1 + 2 < 40
    kept = history["val_bce"][best if keep == "best" else best + 2]
    assert validation_bce(model, cache) == pytest.approx(kept, rel=1e-3)


def test_a_loss_that_is_not_finite_is_an_error(cache):
    with pytest.raises(UserError, match="the loss is not finite after epoch 1. Lower train.learning_rate"):
        train(cache, rate=1e38)

import keras
import numpy as np
import pandas as pd
import pytest

from posterity import scores
from posterity.errors import UserError
from posterity.nn.batches import Batches
from posterity.nn.fit import fit, kept_epoch
from posterity.nn.predict import predict_batches

TRAIN, VALIDATION = np.arange(60), np.arange(60, 80)


def train(cache, epochs=2, rate=1e-3, seed=1, **options):
    keras.utils.set_random_seed(seed)
    # What is tested is the training, so the network is the smallest that can tell the labels of the `cache` fixture.
    images = keras.Input((64, 64, 3), dtype="uint8")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Dropout(0.1)(x)
    model = keras.Model(images, keras.layers.Dense(3, activation="sigmoid")(x))
    sides = Batches(cache, TRAIN, 16, shuffle_seed=seed), Batches(cache, VALIDATION, 16)
    return model, fit(model, *sides, epochs=epochs, learning_rate=rate, **options)


def test_the_network_learns_what_can_be_seen(cache):
    model, history = train(cache, epochs=12, rate=0.3)
    frequencies = scores.label_frequencies(cache.targets[TRAIN])
    prior = scores.binary_cross_entropy(cache.targets[VALIDATION], scores.prior_scores(frequencies, len(VALIDATION)))
    assert history["epoch"].tolist() == list(range(1, 13))
    assert history["loss"].iloc[-1] < 0.5 * history["loss"].iloc[0]
    loss = scores.binary_cross_entropy(
        cache.targets[VALIDATION], predict_batches(model, Batches(cache, VALIDATION, 7)).astype(float)
    )
    assert loss < 0.5 * prior


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


def test_the_history_holds_the_loss_of_the_kept_weights(cache):
    # A rate so high that the last epochs get worse: the best one is an earlier one.
    for keep in ("last", "best"):
        model, history = train(cache, epochs=6, rate=20.0, keep_epoch=keep)
        assert history["val_loss"].idxmin() < 5, "choose another rate: the last epoch is the best one"
        kept = history.set_index("epoch")["val_loss"][kept_epoch(history, keep)]
        y_score = predict_batches(model, Batches(cache, VALIDATION, 16))
        assert scores.binary_cross_entropy(cache.targets[VALIDATION], y_score) == pytest.approx(kept, rel=1e-3)


def test_a_loss_that_is_not_finite_is_an_error(cache):
    with pytest.raises(UserError, match="learning_rate is 1e.38, and the loss is not finite after epoch 1"):
        train(cache, rate=1e38)

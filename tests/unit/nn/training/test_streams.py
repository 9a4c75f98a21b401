"""Batches that are streamed by TensorFlow are the batches that Keras would take from Python."""

import dataclasses

import keras
import numpy as np
import pytest

from posterity.cache import features
from posterity.nn.networks import assemble
from posterity.nn.training import fit, optimizers, streams
from posterity.nn.training.batches import Batches, images_of, vectors_of
from small_cache import TARGETS

TRAIN, VALIDATION = np.arange(60), np.arange(60, 80)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """The features of 80 rows: the label's targets, and noise."""
    folder = tmp_path_factory.mktemp("features")
    drawn = np.random.default_rng(1).normal(size=(80, 2, 5)).astype(np.float32)
    drawn[:, :, :3] += TARGETS[:, None]
    with features.FeatureWriter(folder, 80, 5) as writer:
        writer.append(drawn)
    features.write_meta(folder, ["any"], num_rows=80, length=5)
    return features.FeatureCache(folder)


def with_unknown():
    targets = TARGETS.copy()
    targets[::7, 1] = 2
    return targets


@pytest.mark.parametrize("mixup", [None, 0.5])
@pytest.mark.parametrize("targets", [TARGETS, with_unknown()], ids=["all known", "some unknown"])
def test_a_stream_gives_every_batch_in_order(vectors, mixup, targets):
    source = vectors_of(vectors, flip=True)
    batches = Batches(source, targets, TRAIN, 16, shuffle_seed=7, mixup=mixup)
    for _ in range(2):
        got = [keras.tree.map_structure(np.asarray, batch) for batch in streams.stream(batches)]
        assert len(got) == len(batches) == 4
        for k, batch in enumerate(got):
            keras.tree.assert_same_structure(batch, batches[k])
            for one, other in zip(keras.tree.flatten(batch), keras.tree.flatten(batches[k]), strict=True):
                np.testing.assert_array_equal(one, other)
        batches.on_epoch_end()


def test_images_are_not_streamed(cache, vectors):
    batches = Batches(images_of(cache), TARGETS, TRAIN, 16)
    assert streams.stream(batches) is batches
    assert streams.advance(batches) == []
    assert streams.is_streamed(Batches(vectors_of(vectors), TARGETS, TRAIN, 16))


def test_the_training_is_that_of_the_same_batches_from_python(vectors):
    histories, scores = [], []
    for small in (True, False):
        keras.utils.set_random_seed(1)
        head = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, activation="sigmoid")])
        network = assemble.network(keras.Input((5,)), [], head, name="any", mixup=True)
        source = dataclasses.replace(vectors_of(vectors, flip=True), small=small)
        training = Batches(source, TARGETS, TRAIN, 4, shuffle_seed=7, mixup=0.5)
        plain = dataclasses.replace(vectors_of(vectors), small=small)
        validation = Batches(plain, TARGETS, VALIDATION, 16, mixup=0.0)
        loss, adam = keras.losses.BinaryCrossentropy(), optimizers.build("adam", 0.1)
        history = fit.fit(network.training, training, validation, loss=loss, optimizer=adam, epochs=4, quiet=True)
        histories.append(history)
        scores.append(fit.predict_batches(network.model, Batches(plain, TARGETS, VALIDATION, 16), quiet=True))
    assert histories[0].equals(histories[1])
    assert scores[0].tobytes() == scores[1].tobytes()
    assert histories[0]["loss"].nunique() == 4

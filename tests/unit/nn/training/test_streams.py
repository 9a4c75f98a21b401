"""Batches that are streamed by TensorFlow are the batches that Keras would take from Python."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from posterity.cache import features
from posterity.config.load import load_params
from posterity.errors import UserError
from posterity.nn.networks import assemble
from posterity.nn.training import fit, optimizers, streams
from posterity.nn.training.batches import Batches, Source, images_of, vectors_of
from posterity.nn.training.checkpoints import Checkpoints
from posterity.nn.training.trainer import Execution, Trainer, TrainingData
from posterity.nn.training.transfer_learning import fit_head
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


def test_a_stream_gives_images_in_order_too(cache):
    batches = Batches(images_of(cache), TARGETS, TRAIN, 7, shuffle_seed=7)
    got = [(images.numpy(), targets.numpy()) for images, targets in streams.stream(batches)]
    assert len(got) == 9
    for k, (images, targets) in enumerate(got):
        np.testing.assert_array_equal(images, batches[k][0])
        np.testing.assert_array_equal(targets, batches[k][1])


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("bad", ["training", "validation", "prediction"])
def test_what_stops_a_batch_is_raised_as_it_is(small, bad):
    def read(rows, chance, is_bad):
        if is_bad and rows.max() > 15:
            raise UserError("features.npy: damaged")
        return np.zeros((len(rows), 5), np.float32)

    def batches(name):
        source = Source(lambda rows, chance: read(rows, chance, name == bad), small=small)
        return Batches(source, TARGETS, np.arange(40), 8)

    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, activation="sigmoid")])
    loss, adam = keras.losses.BinaryCrossentropy(), optimizers.build("adam", 0.1)

    def work():
        fit.fit(model, batches("training"), batches("validation"), loss=loss, optimizer=adam, epochs=1, quiet=True)
        fit.predict_batches(model, batches("prediction"), quiet=True)

    with pytest.raises(UserError, match=r"^features\.npy: damaged$"):
        work()


def test_the_training_is_that_of_the_same_batches_from_python(vectors, monkeypatch):
    histories, scores = [], []
    for is_streamed in (True, False):
        keras.utils.set_random_seed(1)
        head = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, activation="sigmoid")])
        network = assemble.network(keras.Input((5,)), [], head, name="any", mixup=True)
        monkeypatch.setattr(streams, "is_streamed", lambda is_streamed=is_streamed: is_streamed)
        source = vectors_of(vectors, flip=True)
        training = Batches(source, TARGETS, TRAIN, 4, shuffle_seed=7, mixup=0.5)
        plain = vectors_of(vectors)
        validation = Batches(plain, TARGETS, VALIDATION, 16, mixup=0.0)
        loss, adam = keras.losses.BinaryCrossentropy(), optimizers.build("adam", 0.1)
        history = fit.fit(network.training, training, validation, loss=loss, optimizer=adam, epochs=4, quiet=True)
        histories.append(history)
        scores.append(fit.predict_batches(network.model, Batches(plain, TARGETS, VALIDATION, 16), quiet=True))
    assert histories[0].equals(histories[1])
    assert scores[0].tobytes() == scores[1].tobytes()
    assert histories[0]["loss"].nunique() == 4


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_head_that_is_killed_after_an_epoch_goes_on_with_the_same_bytes(vectors, tmp_path, capsys):
    recipe = load_params(Path(__file__).parents[4] / "params.yaml").train
    recipe = recipe.model_copy(update={"epochs": 3, "batch_size": 4, "warmup_epochs": 0.5, "mixup": 0.4})
    data = TrainingData(TARGETS, TRAIN, VALIDATION, np.array([0.5, 0.25, 0.9]))

    def killing(network, epoch, losses):
        raise Killed

    def train(checkpoints, on_epoch=None):
        keras.utils.set_random_seed(3)
        trainer = Trainer(recipe, data, Execution(quiet=True, on_epoch=on_epoch), seed=5, checkpoints=checkpoints)
        return fit_head(trainer, vectors, SimpleNamespace(hidden_units=4, dropout=0.2, both_views=False))

    whole = train(Checkpoints())
    with pytest.raises(Killed):
        train(Checkpoints(tmp_path), killing)
    resumed = train(Checkpoints(tmp_path))
    assert "Going on after epoch 1 of head." in capsys.readouterr().out
    assert resumed.history.equals(whole.history)
    for first, second in zip(whole.network.get_weights(), resumed.network.get_weights(), strict=True):
        assert first.tobytes() == second.tobytes()


DIVIDED = """
import sys
import keras, numpy as np, tensorflow as tf
from posterity.nn.training import fit, optimizers
from posterity.nn.training.batches import Batches, Source

replicas = int(sys.argv[1])
if replicas > 1:
    cpu, part = tf.config.list_physical_devices("CPU")[0], tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [part] * replicas)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{k}" for k in range(replicas)])
else:
    strategy = tf.distribute.get_strategy()
x = np.random.default_rng(0).normal(size=(80, 5)).astype(np.float32)
for small in (True, False):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        network = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, activation="sigmoid")])
        source, targets = Source(lambda rows, chance: x[rows], small=small), (x[:, :3] > 0).astype(np.uint8)
        training = Batches(source, targets, np.arange(60), 16, shuffle_seed=1)
        validation = Batches(source, targets, np.arange(60, 80), 16)
        loss, adam = keras.losses.BinaryCrossentropy(), optimizers.build("adam", 0.1)
        history = fit.fit(network, training, validation, loss=loss, optimizer=adam, epochs=3, quiet=True)
        scores = fit.predict_batches(network, validation, quiet=True)
    print(*history["loss"], *history["val_bce"], *scores.ravel())
"""


def test_a_strategy_of_tensorflow_divides_what_is_streamed():
    found = []
    for replicas in (1, 2):
        command = [sys.executable, "-c", DIVIDED, str(replicas)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        found.append(np.array([line.split() for line in done.stdout.splitlines()], np.float64))
    assert found[0].shape == (2, 6 + 60)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)

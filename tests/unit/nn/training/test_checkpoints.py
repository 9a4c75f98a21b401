"""A training that is interrupted after any of its epochs ends with the same bytes as one that is not."""

from pathlib import Path

import keras
import numpy as np
import pytest

from posterity.config.load import load_params
from posterity.errors import UserError
from posterity.evaluation.folds import training_folds
from posterity.nn.training import ensemble
from posterity.nn.training.checkpoints import Checkpoint, Checkpoints
from posterity.nn.training.from_scratch import FromScratch
from posterity.nn.training.trainer import Execution, Trainer, TrainingData
from small_cache import TARGETS

TRAIN, VALIDATION = np.arange(60), np.arange(60, 80)
FREQUENCIES = np.array([0.5, 0.25, 0.9])
PLAIN = {"epochs": 2, "batch_size": 16, "warmup_epochs": 0.5}
# The long part of the fault harness does the same by kills of whole trainings.
RECIPES = {
    "half size, Muon, an average of the weights": {
        "optimizer": "muon", "half_size_epochs": 1, "learning_rate": 0.02, "ema": 0.9, "mixup": 0.2,
    },
    "early stopping, the best epoch": {
        "epochs": 5, "early_stopping": 1, "keep_epoch": "best", "learning_rate": 0.3, "ema": 0.5,
    },
}  # fmt: skip


class Killed(BaseException):
    """Stands for the end of the process."""


class KilledAfterSaving(Checkpoints):
    """Ends the process each time it has saved an epoch."""

    def save(self, name, checkpoint):
        super().save(name, checkpoint)
        raise Killed


def train(cache, recipe, checkpoints, folds=1, on_epoch=None):
    keras.utils.set_random_seed(3)
    params = load_params(Path(__file__).parents[4] / "params.yaml").train
    params = params.model_copy(update=PLAIN | recipe)
    data = TrainingData(TARGETS, TRAIN, VALIDATION, FREQUENCIES)
    trainer = Trainer(params, data, Execution(on_epoch=on_epoch), seed=5, checkpoints=checkpoints)
    fold_of_row = training_folds(TRAIN, folds=folds, repeats=1, seed=5)
    return ensemble.train(trainer, FromScratch(cache, "compact_cnn"), fold_of_row)


@pytest.mark.parametrize(
    ("recipe", "folds"), [(recipe, 1) for recipe in RECIPES.values()] + [(PLAIN, 2)], ids=[*RECIPES, "two folds"]
)
def test_killed_after_every_epoch_it_ends_as_if_nothing_had_been(cache, tmp_path, recipe, folds):
    whole = train(cache, recipe, Checkpoints(), folds)
    kills, told = 0, []

    def killing(network, epoch, losses):
        told.append((network, epoch, losses["val_bce"]))
        raise Killed

    while True:
        try:
            resumed = train(cache, recipe, Checkpoints(tmp_path / "kept"), folds, killing)
            break
        except Killed:
            kills += 1
    assert kills == len(whole.history) >= 2
    networks = [f"network-{number}" if folds > 1 else "" for number in whole.history["network"]]
    assert told == list(zip(networks, whole.history["epoch"], whole.history["val_bce"], strict=True))
    assert resumed.history.equals(whole.history)
    assert resumed.scores.tobytes() == whole.scores.tobytes()
    assert resumed.out_of_fold.tobytes() == whole.out_of_fold.tobytes()
    for first, second in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        assert first.tobytes() == second.tobytes()


def test_a_damaged_checkpoint_is_said_and_not_used(cache, tmp_path, capsys):
    with pytest.raises(Killed):
        train(cache, {}, KilledAfterSaving(tmp_path))
    path = tmp_path / "train.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    capsys.readouterr()
    assert Checkpoints(tmp_path).load("train") is None
    assert f"{path} is damaged" in capsys.readouterr().out


def test_a_training_can_be_finished_where_it_is(cache, tmp_path):
    with pytest.raises(UserError, match="--finish: expected a training"):
        train(cache, {}, Checkpoints(tmp_path, finish=True))
    with pytest.raises(Killed):
        train(cache, {"half_size_epochs": 1}, KilledAfterSaving(tmp_path))
    with pytest.raises(UserError, match="images of half the size only"):
        train(cache, {"half_size_epochs": 1}, Checkpoints(tmp_path, finish=True))
    with pytest.raises(Killed):
        train(cache, {"half_size_epochs": 1}, KilledAfterSaving(tmp_path))
    finished = train(cache, {"half_size_epochs": 1}, Checkpoints(tmp_path, finish=True))
    assert finished.history["phase"].tolist() == ["half_size", "train"]


@pytest.mark.parametrize("is_one", [True, False])
def test_only_one_network_can_be_finished_early(tmp_path, is_one):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("train", Checkpoint(0, [[{"loss": 1.0}]], stopped=False, stopping=None, arrays={}))
    with pytest.raises(KeyboardInterrupt) as stopped, checkpoints.explained(is_one=is_one):
        raise KeyboardInterrupt
    said = " ".join(stopped.value.__notes__)
    assert "The training is kept as it was after epoch 1" in said
    assert ("--finish" in said) == is_one

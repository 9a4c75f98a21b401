from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd

from posterity.evaluation.folds import training_folds
from posterity.nn.networks import assemble
from posterity.nn.training import ensemble
from posterity.nn.training.trainer import Fitted, Trainer, TrainingData
from small_cache import TARGETS

TRAIN, VALIDATION = np.arange(60)[::-1], np.arange(60, 80)


class Recorder:
    """A learner whose networks answer their own number, a tenth each, and that keeps the trainers it was given."""

    def __init__(self):
        self.trainers, self.drawn = [], []

    def fit(self, trainer):
        self.trainers.append(trainer)
        self.drawn.append(keras.random.uniform(()))
        answer = len(self.trainers) / 10
        history = pd.DataFrame({"phase": ["train"], "epoch": [1], "val_bce": [answer]})
        return Fitted(SimpleNamespace(answer=answer), history, lambda rows: np.full((len(rows), 3), answer, np.float32))

    def join(self, networks, rows, scores):
        self.joined = rows, scores
        return [network.answer for network in networks]


def train(folds, repeats):
    learner = Recorder()
    trainer = Trainer(None, TrainingData(TARGETS, TRAIN, VALIDATION, np.full(3, 0.5)), seed=7)
    fold_of_row = training_folds(np.arange(60) // 2, folds=folds, repeats=repeats, seed=7)
    return learner, ensemble.train(trainer, learner, fold_of_row), fold_of_row


def test_every_training_row_is_scored_by_the_network_that_did_not_see_it():
    learner, trained, fold_of_row = train(folds=3, repeats=2)
    assert trained.model == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert trained.out_of_fold.shape == (2, 60, 3)
    for number, trainer in enumerate(learner.trainers):
        repeat, fold = divmod(number, 3)
        held_out = fold_of_row[repeat] == fold
        assert trainer.data.train_rows.tolist() == TRAIN[~held_out].tolist()
        assert trainer.data.validation_rows is VALIDATION
        # All labels are known: (positives + 1/2) / (rows + 1).
        present = TARGETS[TRAIN[~held_out]].sum(axis=0)
        np.testing.assert_allclose(trainer.data.label_frequencies, (present + 0.5) / 41)
        assert (trained.out_of_fold[repeat, held_out] == np.float32((number + 1) / 10)).all()
    np.testing.assert_allclose(trained.scores, np.full((20, 3), 0.35), rtol=1e-6)  # the mean of 0.1 to 0.6
    assert learner.joined[0] is VALIDATION
    assert learner.joined[1] is trained.scores
    assert trained.history["network"].tolist() == [1, 2, 3, 4, 5, 6]


def test_out_of_fold_scores_are_those_of_the_ensemble_and_need_no_validation_rows():
    _, trained, fold_of_row = train(folds=3, repeats=2)
    for repeat in range(2):
        learner = Recorder()
        trainer = Trainer(None, TrainingData(TARGETS, TRAIN, VALIDATION, np.full(3, 0.5)), seed=7)
        scores = ensemble.score_out_of_fold(trainer, learner.fit, fold_of_row, repeat=repeat)
        # The networks answer their number in tenths: those of the second repeat began at 0.4.
        np.testing.assert_allclose(scores + np.float32(0.3 * repeat), trained.out_of_fold[repeat], rtol=1e-6)
        for fold, member in enumerate(learner.trainers):
            held_out = TRAIN[fold_of_row[repeat] == fold]
            assert member.data.validation_rows.tolist() == held_out.tolist()
            assert not set(member.data.train_rows) & {*held_out, *VALIDATION}
    same, *_ = train(folds=3, repeats=2)
    assert [member.seed for member in learner.trainers] == [member.seed for member in same.trainers[3:]]


def test_all_networks_have_seeds_and_checkpoints_of_their_own():
    learner, *_ = train(folds=2, repeats=2)
    assert learner.trainers[0].seed == 7
    assert len({trainer.seed for trainer in learner.trainers}) == 4
    assert len({float(drawn) for drawn in learner.drawn}) == 4
    names = [trainer.checkpoints.network for trainer in learner.trainers]
    assert names == ["network-1", "network-2", "network-3", "network-4"]
    again, *_ = train(folds=2, repeats=2)
    assert [float(one) for one in again.drawn] == [float(one) for one in learner.drawn]


def test_without_folds_every_network_sees_all_rows():
    learner, trained, _ = train(folds=1, repeats=2)
    assert [trainer.data.train_rows.tolist() for trainer in learner.trainers] == [TRAIN.tolist()] * 2
    assert trained.out_of_fold.shape == (0, 60, 3)
    np.testing.assert_allclose(trained.scores, np.full((20, 3), 0.15), rtol=1e-6)


def test_one_network_is_trained_by_the_trainer_as_it_is():
    learner, trained, _ = train(folds=1, repeats=1)
    assert learner.trainers[0].data.label_frequencies.tolist() == [0.5, 0.5, 0.5]
    assert learner.trainers[0].checkpoints.network == ""
    assert trained.model == [0.1]


def test_the_average_of_networks_answers_the_mean_of_their_probabilities():
    networks = []
    for level in (0.2, 0.6):
        inputs = keras.Input((2,))
        start = keras.initializers.Constant(np.log(level / (1 - level)))
        networks.append(keras.Model(inputs, keras.layers.Dense(1, "sigmoid", True, "zeros", start)(inputs), name="net"))
    assert assemble.average(networks[:1], name="net") is networks[0]
    whole = assemble.average(networks, name="net")
    answer = keras.ops.convert_to_numpy(whole(np.ones((3, 2), np.float32)))
    np.testing.assert_allclose(answer, np.full((3, 1), 0.4), rtol=1e-6)
    assert [layer.name for layer in whole.layers if isinstance(layer, keras.Model)] == ["net1", "net2"]

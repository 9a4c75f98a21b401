"""Several networks of one recipe, whose answers are averaged, and which score the training rows they have not seen.

Breiman (1996), "Bagging Predictors", for the mean of networks that saw different rows; Stone (1974), "Cross-Validatory
Choice and Assessment of Statistical Predictions", for scores of rows by what was made without them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity.evaluation import metrics
from posterity.nn.training import seeds
from posterity.nn.training.batches import IntArray
from posterity.nn.training.trainer import Fitted, Learner, Trainer

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of all trainings together.

    Attributes
    ----------
    model : keras.Model
        Images uint8 (batch, height, width, 3) in, probabilities float32 (batch, num_labels) out.
    history : DataFrame
        ``network``, counted from 1, before the columns of `posterity.nn.training.trainer.Fitted`.
    scores : ndarray of float32, shape (num_validation_rows, num_labels)
        Probabilities of the validation rows.
    out_of_fold : ndarray of float32, shape (repeats, num_train_rows, num_labels)
        Probabilities of the training rows, each by the network that was trained without its fold; with one fold, none:
        shape (0, num_train_rows, num_labels).
    """

    model: keras.Model
    history: pd.DataFrame
    scores: FloatArray
    out_of_fold: FloatArray


def train(trainer: Trainer, learner: Learner, fold_of_row: IntArray) -> Trained:
    """Train a network for each fold of each repeat, on the rows of the other folds, one after the other.

    Parameters
    ----------
    trainer : Trainer
        What is to be trained on, and how. The first network is trained with its seed, the others with seeds that are
        drawn from it.
    learner : Learner
        Trains a network.
    fold_of_row : array of int, shape (repeats, num_train_rows)
        As `posterity.evaluation.folds.training_folds` deals them. With one fold, every network sees all rows.
    """
    data = trainer.data
    train_rows, num_labels = data.train_rows, data.targets.shape[1]
    repeats, folds = len(fold_of_row), int(fold_of_row.max()) + 1
    total = repeats * folds
    out_of_fold = np.zeros((repeats if folds > 1 else 0, len(train_rows), num_labels), np.float32)
    networks, histories = [], []
    scores = np.zeros((len(data.validation_rows), num_labels), np.float64)
    for number in range(total):
        repeat, fold = divmod(number, folds)
        held_out = (fold_of_row[repeat] == fold) & (folds > 1)
        member = trainer
        if total > 1:
            print(f"Network {number + 1} of {total}.", flush=True)
            member = _member(trainer, number, train_rows[~held_out])
        with seeds.drawn_from(member.seed):
            fitted = learner.fit(member)
        if folds > 1:
            out_of_fold[repeat, held_out] = fitted.score(train_rows[held_out])
        scores += fitted.score(data.validation_rows)
        networks.append(fitted.network)
        fitted.history.insert(0, "network", number + 1)
        histories.append(fitted.history)
    mean = (scores / total).astype(np.float32)
    model = learner.join(networks, data.validation_rows, mean)
    return Trained(model, pd.concat(histories, ignore_index=True), mean, out_of_fold)


def score_out_of_fold(
    trainer: Trainer, fit: Callable[[Trainer], Fitted], fold_of_row: IntArray, *, repeat: int = 0
) -> FloatArray:
    """Score every training row by a network that was trained without its fold, and keep no network.

    The validation rows play no part: in each training the rows that are held out take their place, so that nothing of
    the other ones gets into a figure that somebody chooses by.

    Parameters
    ----------
    trainer : Trainer
        What is to be trained on, and how. The seeds are those of the same repeat of `train`.
    fit : callable
        Trains a network, as `Learner.fit` does.
    fold_of_row : array of int, shape (repeats, num_train_rows)
        As `posterity.evaluation.folds.training_folds` deals them, in at least two folds.
    repeat : int
        Which of the repeats, from 0.

    Returns
    -------
    ndarray of float32, shape (num_train_rows, num_labels)
    """
    data, folds = trainer.data, int(fold_of_row.max()) + 1
    scores = np.zeros((len(data.train_rows), data.targets.shape[1]), np.float32)
    for fold in range(folds):
        held_out = fold_of_row[repeat] == fold
        rows = data.train_rows[held_out]
        member = _member(trainer, repeat * folds + fold, data.train_rows[~held_out], validation_rows=rows)
        with seeds.drawn_from(member.seed):
            fitted = fit(member)
        scores[held_out] = fitted.score(rows)
    return scores


def _member(trainer: Trainer, number: int, rows: IntArray, *, validation_rows: IntArray | None = None) -> Trainer:
    """The trainer of network ``number``, from 0.

    Its seed does not depend on what has been drawn before: an interrupted run goes on as if it had not been.
    """
    seed = trainer.seed if number == 0 else int(np.random.SeedSequence([trainer.seed, number]).generate_state(1)[0])
    frequencies = metrics.label_frequencies(trainer.data.targets[rows])
    name = f"network-{number + 1}"
    return trainer.for_rows(rows, frequencies, seed=seed, name=name, validation_rows=validation_rows)

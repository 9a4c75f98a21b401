"""Heads that are trained one recipe after the other on the same cached features, and scored out of fold."""

from typing import TYPE_CHECKING

import keras
import numpy as np
import numpy.typing as npt

from posterity.cache.features import FeatureCache
from posterity.evaluation import metrics
from posterity.nn.training import ensemble
from posterity.nn.training.batches import IntArray
from posterity.nn.training.trainer import Execution, Trainer, TrainingData
from posterity.nn.training.transfer_learning import fit_head

if TYPE_CHECKING:
    from posterity.config.schema import HeadParams, TrainParams


class HeadTrials:
    """Trains heads on the features of the training rows. Other rows have no part in it.

    Parameters
    ----------
    features : FeatureCache
        What the backbones see in the images.
    targets : ndarray of uint8, shape (num_rows, num_labels)
        Labels of all rows of the cache, see `posterity.targets`.
    rows : ndarray of int, shape (num_train_rows,)
        The rows to train on.
    fold_of_row : ndarray of int, shape (repeats, num_train_rows)
        As `posterity.evaluation.folds.training_folds` deals them, in at least two folds.
    seed : int
        Of the weights, the order of batches, mixup.
    rows_per_shard : int
        Of the tensor cache, for ``train.shuffle_shards``.
    xla : bool
        Compile training steps with XLA.
    """

    def __init__(
        self,
        features: FeatureCache,
        targets: npt.NDArray[np.uint8],
        rows: IntArray,
        fold_of_row: IntArray,
        *,
        seed: int,
        rows_per_shard: int = 1,
        xla: bool = False,
    ) -> None:
        frequencies = metrics.label_frequencies(targets[rows])
        # Rows that are held out take the place of validation rows in every training, see `ensemble.score_out_of_fold`.
        self.data = TrainingData(targets, rows, rows, frequencies, rows_per_shard)
        self.features = features
        self.fold_of_row = fold_of_row
        self.seed = seed
        self.execution = Execution(xla=xla, quiet=True)

    def out_of_fold(self, head: "HeadParams", recipe: "TrainParams", *, repeat: int = 0) -> npt.NDArray[np.float32]:
        """Train a head for every fold, and score the rows it has not seen: float32 (num_train_rows, num_labels).

        It does not matter what this process has trained before.

        Parameters
        ----------
        head : HeadParams
            Section ``model.head`` of params.yaml.
        recipe : TrainParams
            Section ``train``, without choices that need validation rows.
        repeat : int
            Which of the repeats of ``fold_of_row``; each has seeds of its own.

        Raises
        ------
        DivergedError
            If the loss stops being finite.
        """
        _forget_networks()
        trainer = Trainer(recipe, self.data, self.execution, seed=self.seed)
        return ensemble.score_out_of_fold(
            trainer, lambda member: fit_head(member, self.features, head), self.fold_of_row, repeat=repeat
        )


def _forget_networks() -> None:
    """Free what Keras keeps of the networks of this process; the precision stays what it is."""
    policy = keras.mixed_precision.dtype_policy()
    keras.utils.clear_session()
    keras.mixed_precision.set_dtype_policy(policy)

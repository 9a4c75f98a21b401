"""The recipe of params.yaml, section `train`, applied to one network after another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity.nn import augment, fit, losses, optimizers
from posterity.nn.batches import Batches, IntArray, Source

if TYPE_CHECKING:
    from posterity.params import TrainParams


class Trainer:
    """Trains networks on the same rows in the same way.

    Parameters
    ----------
    train : TrainParams
        The recipe.
    targets : array of uint8, shape (num_rows, num_labels)
        Multi-hot labels of the whole cache.
    train_rows, validation_rows : array of int
        Both sides of the split, in cache numbering.
    label_frequencies : array of float, shape (num_labels,)
        Share of training rows that carry each label, each in (0, 1).
    seed : int
        Of the order of batches, of mixup and of augmentation.
    xla : bool
        Compile training steps with XLA.
    """

    def __init__(
        self,
        train: "TrainParams",
        targets: npt.NDArray[np.uint8],
        train_rows: IntArray,
        validation_rows: IntArray,
        label_frequencies: npt.NDArray[np.float64],
        *,
        seed: int,
        xla: bool = False,
    ) -> None:
        self.train = train
        self.targets = targets
        self.train_rows = train_rows
        self.validation_rows = validation_rows
        self.label_frequencies = label_frequencies
        self.seed = seed
        self.xla = xla

    def augmentation(self, value_range: tuple[float, float]) -> Sequence[keras.layers.Layer]:
        """The layers that change training images, float (batch, height, width, 3) in ``value_range``."""
        return augment.layers(**self.train.augment.model_dump(), seed=self.seed, value_range=value_range)

    def fit(
        self, model: keras.Model, training: Source, validation: Source, *, epochs: int, learning_rate: float, phase: str
    ) -> pd.DataFrame:
        """Train ``model`` in place, on inputs from ``training``.

        Returns
        -------
        DataFrame
            The history that `posterity.nn.fit.fit` returns, and ``phase`` in front.
        """
        train = self.train
        mixup = train.mixup if isinstance(model.input, dict) else None
        batches = Batches(
            training, self.targets, self.train_rows, train.batch_size, shuffle_seed=self.seed, mixup=mixup
        )
        history = fit.fit(
            model,
            batches,
            Batches(
                validation,
                self.targets,
                self.validation_rows,
                train.batch_size,
                mixup=None if mixup is None else 0.0,
            ),
            loss=losses.build(
                train.loss,
                label_frequencies=self.label_frequencies,
                label_smoothing=train.label_smoothing,
                positive_weight_cap=train.positive_weight_cap,
                focal_gamma=train.focal.gamma,
                focal_alpha=train.focal.alpha,
                asymmetric_gamma_positive=train.asymmetric.gamma_positive,
                asymmetric_gamma_negative=train.asymmetric.gamma_negative,
                asymmetric_clip=train.asymmetric.clip,
            ),
            optimizer=optimizers.build(
                train.optimizer,
                learning_rate=learning_rate,
                weight_decay=train.weight_decay,
                schedule=train.schedule,
                warmup_epochs=train.warmup_epochs,
                epochs=epochs,
                steps_per_epoch=len(batches),
                clip_norm=train.clip_norm,
                ema=train.ema,
            ),
            epochs=epochs,
            early_stopping=train.early_stopping,
            keep_epoch=train.keep_epoch,
            xla=self.xla,
        )
        history.insert(0, "phase", phase)
        return history

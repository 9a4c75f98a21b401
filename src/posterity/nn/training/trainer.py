"""The recipe of params.yaml, section `train`, applied to one network after another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity.nn import processes
from posterity.nn.networks import augment
from posterity.nn.processes import ALONE, Part
from posterity.nn.training import fit, losses, optimizers
from posterity.nn.training.batches import Batches, IntArray, Source

if TYPE_CHECKING:
    from posterity.config.schema import TrainParams


class Phase(NamedTuple):
    """A stretch of a training: what it is called in the history, what is fitted, and for how many epochs."""

    name: str
    model: keras.Model
    epochs: int


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
    rows_per_shard : int
        Of the cache, for ``train.shuffle_shards``.
    cache_images : bool
        Keep images in the memory of the device, see `posterity.nn.training.device_images`.
    part : Part
        What this process trains on of every batch.
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
        rows_per_shard: int = 1,
        cache_images: bool = False,
        part: Part = ALONE,
    ) -> None:
        self.train = train
        self.targets = targets
        self.train_rows = train_rows
        self.validation_rows = validation_rows
        self.label_frequencies = label_frequencies
        self.seed = seed
        self.xla = xla
        self.rows_per_shard = rows_per_shard
        self.cache_images = cache_images
        self.part = part

    def augmentation(self, value_range: tuple[float, float]) -> Sequence[keras.layers.Layer]:
        """The layers that change training images, float (batch, height, width, 3) in ``value_range``."""
        return augment.layers(**self.train.augment.model_dump(), seed=self.seed, value_range=value_range)

    def fit(
        self, phases: Sequence[Phase], training: Source, validation: Source, *, learning_rate: float
    ) -> pd.DataFrame:
        """Train the models of ``phases`` one after the other, on inputs from ``training``, by one optimizer.

        Early stopping and the choice of an epoch are for the last phase: those before it only lead up to it.

        Parameters
        ----------
        phases : sequence of Phase
            Their models share all weights.
        training, validation : callable
            See `posterity.nn.training.batches.Source`.
        learning_rate : float
            The highest; the schedule runs through all phases.

        Returns
        -------
        DataFrame
            The history that `posterity.nn.training.fit.fit` returns, epochs being counted on, with ``phase`` in front.
        """
        train = self.train
        mixup = train.mixup if isinstance(phases[-1].model.input, dict) else None
        validation_batches = Batches(
            validation,
            self.targets,
            self.validation_rows,
            train.batch_size,
            mixup=None if mixup is None else 0.0,
            part=self.part,
        )
        loss = losses.build(
            train.loss,
            label_frequencies=self.label_frequencies,
            label_smoothing=train.label_smoothing,
            positive_weight_cap=train.positive_weight_cap,
            focal_gamma=train.focal.gamma,
            focal_alpha=train.focal.alpha,
            asymmetric_gamma_positive=train.asymmetric.gamma_positive,
            asymmetric_gamma_negative=train.asymmetric.gamma_negative,
            asymmetric_clip=train.asymmetric.clip,
        )

        def batches(first_epoch: int) -> Batches:
            return Batches(
                training,
                self.targets,
                self.train_rows,
                train.batch_size,
                shuffle_seed=self.seed,
                mixup=mixup,
                first_epoch=first_epoch,
                rows_per_shard=self.rows_per_shard,
                shuffle_shards=train.shuffle_shards,
                part=self.part,
            )

        optimizer = optimizers.build(
            train.optimizer,
            learning_rate=learning_rate,
            weight_decay=train.weight_decay,
            schedule=train.schedule,
            warmup_epochs=train.warmup_epochs,
            epochs=sum(phase.epochs for phase in phases),
            steps_per_epoch=len(batches(0)),
            clip_norm=train.clip_norm,
            ema=train.ema,
        )
        histories: list[pd.DataFrame] = []
        for phase in phases:
            is_last = phase is phases[-1]
            done = sum(len(earlier) for earlier in histories)
            with processes.spread([*phase.model.variables, *optimizer.variables], self.part):
                history = fit.fit(
                    phase.model,
                    batches(done),
                    validation_batches,
                    loss=loss,
                    optimizer=optimizer,
                    epochs=phase.epochs,
                    early_stopping=train.early_stopping if is_last else None,
                    keep_epoch=train.keep_epoch if is_last else "last",
                    xla=self.xla,
                    quiet=self.part.process > 0,
                )
            history["epoch"] += done
            history.insert(0, "phase", phase.name)
            histories.append(history)
        return pd.concat(histories, ignore_index=True)

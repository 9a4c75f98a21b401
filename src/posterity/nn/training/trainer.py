"""The trainer, which applies the recipe of params.yaml, section ``train``, to one network after another."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity.cache.tensors import TensorCache
from posterity.errors import UserError
from posterity.nn import processes
from posterity.nn.networks import augment
from posterity.nn.processes import SINGLE_PROCESS, Part
from posterity.nn.training import device_images, fit, losses, optimizers
from posterity.nn.training.batches import Batches, IntArray, Source, images_of
from posterity.nn.training.checkpoints import Checkpoints, Losses, Recorder, check_finishable
from posterity.targets import is_known

if TYPE_CHECKING:
    from posterity.config.schema import TrainParams


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The rows to train on, and their labels.

    Attributes
    ----------
    targets : array of uint8, shape (num_rows, num_labels)
        Multi-hot labels of all rows of the cache, see `posterity.targets`. An unknown one is left out of every loss.
    train_rows, validation_rows : array of int
        The two sides of the split, in the numbering of the cache.
    label_frequencies : array of float, shape (num_labels,)
        Share of training rows that carry each label, each in (0, 1).
    rows_per_shard : int
        Of the tensor cache, for ``train.shuffle_shards``.

    Raises
    ------
    UserError
        If one of the sides has no known label at all.
    """

    targets: npt.NDArray[np.uint8]
    train_rows: IntArray
    validation_rows: IntArray
    label_frequencies: npt.NDArray[np.float64]
    rows_per_shard: int = 1

    def __post_init__(self) -> None:
        for side, rows in (("training", self.train_rows), ("validation", self.validation_rows)):
            if not is_known(self.targets[rows]).any():
                raise UserError(
                    f"data/rows/targets.npy: expected a known label in at least one {side} row. Got unknown in all "
                    f"cells of {len(rows):,} rows. Add rows whose labels are known, or change seed or section split "
                    "of params.yaml so that this side gets some of them."
                )

    @property
    def has_unknown(self) -> bool:
        """Whether a label of the two sides is unknown. Other rows of the cache have no say in the training."""
        return any(not is_known(self.targets[rows]).all() for rows in (self.train_rows, self.validation_rows))


@dataclass(frozen=True)
class Execution:
    """How a training runs on this machine.

    Attributes
    ----------
    xla : bool
        Compile training steps with XLA.
    cache_images : bool
        Keep the images in the memory of the device, see `posterity.nn.training.device_images`.
    part : Part
        The part of every batch that this process computes.
    quiet : bool
        Print no losses and no bars.
    on_epoch : callable, optional
        Is told after every epoch: the network ("" if there is only one), the epoch, counted from 1 through all phases
        of the network, and its losses. It changes nothing.
    """

    xla: bool = False
    cache_images: bool = False
    part: Part = SINGLE_PROCESS
    quiet: bool = False
    on_epoch: Callable[[str, int, Mapping[str, float]], None] | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """One network after its training.

    Attributes
    ----------
    network : keras.Model
        Probabilities float32 (batch, num_labels) out. What goes in is the business of the `Learner`.
    history : DataFrame
        ``phase``, ``epoch`` and losses, see `posterity.nn.training.fit.fit`. Epochs are numbered through all phases.
    score : callable
        Takes rows in the numbering of the cache, int (n,); returns their probabilities, float32 (n, num_labels).
    """

    network: keras.Model
    history: pd.DataFrame
    score: Callable[[IntArray], npt.NDArray[np.float32]]


class Learner(Protocol):
    """A way to get from the rows of a `Trainer` to a network."""

    def fit(self, trainer: "Trainer") -> Fitted:
        """Train one network, with new weights."""
        ...

    def join(self, networks: Sequence[keras.Model], rows: IntArray, scores: npt.NDArray[np.float32]) -> keras.Model:
        """Make the model that answers the mean of the ``networks`` of `fit`, and that takes images.

        Parameters
        ----------
        networks : sequence of keras.Model
            At least one.
        rows : array of int, shape (n,)
            Some rows of the cache.
        scores : array of float32, shape (n, num_labels)
            What the networks answer to them, in the mean: a learner may check that the model does.

        Returns
        -------
        keras.Model
            Images uint8 (batch, height, width, 3) in, probabilities float32 (batch, num_labels) out.
        """
        ...


class Phase(NamedTuple):
    """A part of a training: its name in the history, the model that is fitted, and the number of epochs."""

    name: str
    model: keras.Model
    epochs: int


class Trainer:
    """Trains networks on the same rows by the same recipe.

    Parameters
    ----------
    recipe : TrainParams
        Section ``train`` of params.yaml.
    data : TrainingData
        The rows to train on, and their labels.
    execution : Execution
        How the training runs on this machine.
    seed : int
        Of the order of batches, of mixup and of augmentation.
    checkpoints : Checkpoints
        Where the training is kept after every epoch, and goes on if it was interrupted.
    """

    def __init__(
        self,
        recipe: "TrainParams",
        data: TrainingData,
        execution: Execution = Execution(),
        *,
        seed: int,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.checkpoints = checkpoints or Checkpoints()
        self.recipe = recipe
        self.data = data
        self.execution = execution
        self.seed = seed

    def augmentation(self, value_range: tuple[float, float]) -> Sequence[keras.layers.Layer]:
        """Make the layers that change training images, float (batch, height, width, 3) in ``value_range``."""
        return augment.layers(**self.recipe.augment.model_dump(), seed=self.seed, value_range=value_range)

    def for_rows(
        self,
        train_rows: IntArray,
        label_frequencies: npt.NDArray[np.float64],
        *,
        seed: int,
        name: str,
        validation_rows: IntArray | None = None,
    ) -> "Trainer":
        """A trainer that does the same on other training rows, with another seed, and checkpoints of another ``name``.

        The parameters are those of `TrainingData`; without ``validation_rows``, they stay as they are.
        """
        data = dataclasses.replace(self.data, train_rows=train_rows, label_frequencies=label_frequencies)
        if validation_rows is not None:
            data = dataclasses.replace(data, validation_rows=validation_rows)
        return Trainer(self.recipe, data, self.execution, seed=seed, checkpoints=self.checkpoints.named(name))

    def score(self, model: keras.Model, source: Source, rows: IntArray) -> npt.NDArray[np.float32]:
        """Predict rows of the cache: probabilities, float32 (n, num_labels)."""
        batches = Batches(source, self.data.targets, rows, fit.BATCH_SIZE)
        return fit.predict_batches(model, batches, quiet=self.execution.quiet)

    def fit_on_images(
        self, phases: Sequence[Phase], cache: TensorCache, *, learning_rate: float, epochs_before: int = 0
    ) -> pd.DataFrame:
        """Train on the images of ``cache``, which ``execution`` may keep on the device; see `fit`."""
        source = images_of(cache)
        if self.execution.cache_images:
            images, source = device_images.Images(cache), device_images.rows_only()
            phases = [phase._replace(model=device_images.by_rows(phase.model, images)) for phase in phases]
        return self.fit(phases, source, source, learning_rate=learning_rate, epochs_before=epochs_before)

    def fit(
        self,
        phases: Sequence[Phase],
        training: Source,
        validation: Source,
        *,
        learning_rate: float,
        epochs_before: int = 0,
    ) -> pd.DataFrame:
        """Train the models of ``phases`` one after the other, on inputs from ``training``, by one optimizer.

        Early stopping and the choice of an epoch apply to the last phase only: the others prepare it.

        Parameters
        ----------
        phases : sequence of Phase
            Their models share all weights.
        training, validation : Source
            See `posterity.nn.training.batches.Source`.
        learning_rate : float
            The highest rate; the schedule runs through all phases.
        epochs_before : int
            Of an earlier call for the same network: the epochs are numbered on from there.

        Returns
        -------
        DataFrame
            The history that `posterity.nn.training.fit.fit` returns, with ``phase`` in front and with epochs that are
            numbered through all phases.
        """
        recipe, data, part = self.recipe, self.data, self.execution.part
        mixup = recipe.mixup if training.mixes or isinstance(phases[-1].model.input, dict) else None
        validation_batches = Batches(
            validation,
            data.targets,
            data.validation_rows,
            recipe.batch_size,
            mixup=None if mixup is None else 0.0,
            part=part,
        )

        def batches(first_epoch: int) -> Batches:
            return Batches(
                training,
                data.targets,
                data.train_rows,
                recipe.batch_size,
                shuffle_seed=self.seed,
                mixup=mixup,
                first_epoch=first_epoch,
                rows_per_shard=data.rows_per_shard,
                shuffle_shards=recipe.shuffle_shards,
                part=part,
            )

        loss = self._loss()
        optimizer = self._optimizer(
            learning_rate, epochs=sum(phase.epochs for phase in phases), steps_per_epoch=len(batches(0))
        )
        name = phases[0].name
        found = self.checkpoints.load(name)
        if self.checkpoints.finish:
            check_finishable(found, len(phases))
        elif found is not None:
            print(f"Going on after {self.checkpoints.last}.")
        histories: list[pd.DataFrame] = []
        finished: list[list[Losses]] = []
        for number, phase in enumerate(phases):
            is_last = phase is phases[-1]
            done = sum(len(earlier) for earlier in histories)
            if found is not None and number < found.phase:
                history = fit.history_table(found.history[number])
                finished.append(found.history[number])
            else:
                start = found if found is not None and number == found.phase else None
                recorder = Recorder(
                    self.checkpoints,
                    name,
                    phase=number,
                    earlier=list(finished),
                    start=start,
                    report=self._report(epochs_before),
                )
                with processes.on_all_devices([*phase.model.variables, *optimizer.variables], part):
                    history = fit.fit(
                        phase.model,
                        batches(done + (start.epochs if start else 0)),
                        validation_batches,
                        loss=loss,
                        optimizer=optimizer,
                        epochs=phase.epochs,
                        early_stopping=recipe.early_stopping if is_last else None,
                        keep_epoch=recipe.keep_epoch if is_last else "last",
                        xla=self.execution.xla,
                        quiet=self.execution.quiet or part.process > 0,
                        recorder=recorder,
                    )
                finished.append(recorder.losses)
            history["epoch"] += epochs_before + done
            history.insert(0, "phase", phase.name)
            histories.append(history)
        return pd.concat(histories, ignore_index=True)

    def _report(self, epochs_before: int) -> Callable[[int, Losses], None] | None:
        tell = self.execution.on_epoch
        if tell is None:
            return None
        return lambda epoch, losses: tell(self.checkpoints.network, epochs_before + epoch, losses)

    def _loss(self) -> keras.losses.Loss:
        recipe, data = self.recipe, self.data
        options = losses.LossOptions(
            label_smoothing=recipe.label_smoothing,
            positive_weight_cap=recipe.positive_weight_cap,
            focal_gamma=recipe.focal.gamma,
            focal_alpha=recipe.focal.alpha,
            asymmetric_gamma_positive=recipe.asymmetric.gamma_positive,
            asymmetric_gamma_negative=recipe.asymmetric.gamma_negative,
            asymmetric_clip=recipe.asymmetric.clip,
        )
        # Without an unknown target, the plain losses and metrics of Keras: the same bytes as if there were no masks.
        return losses.build(recipe.loss, options, label_frequencies=data.label_frequencies, masked=data.has_unknown)

    def _optimizer(self, learning_rate: float, *, epochs: int, steps_per_epoch: int) -> keras.optimizers.Optimizer:
        recipe = self.recipe
        rates = optimizers.learning_rates(
            learning_rate,
            schedule=recipe.schedule,
            warmup_epochs=recipe.warmup_epochs,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
        )
        return optimizers.build(
            recipe.optimizer, rates, weight_decay=recipe.weight_decay, clip_norm=recipe.clip_norm, ema=recipe.ema
        )

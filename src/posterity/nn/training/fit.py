"""One call of Keras' training loop, and the history that DVC plots."""

import sys
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity import choices
from posterity.errors import UserError
from posterity.nn.training import losses, optimizers, streams
from posterity.nn.training.batches import Batches
from posterity.nn.training.checkpoints import Checkpoints, Recorder

BATCH_SIZE = 64  # of predictions; it does not change them
HISTORY_COLUMNS = ["epoch", "loss", "bce", "val_bce"]


class DivergedError(UserError):
    """The loss of a training stopped being finite."""


def fit(
    model: keras.Model,
    training: Batches,
    validation: Batches,
    *,
    loss: keras.losses.Loss,
    optimizer: keras.optimizers.Optimizer,
    epochs: int,
    early_stopping: int | None = None,
    keep_epoch: choices.KeptEpoch = "last",
    xla: bool = False,
    quiet: bool = False,
    recorder: Recorder | None = None,
) -> pd.DataFrame:
    """Train ``model`` in place.

    Parameters
    ----------
    model : keras.Model
        Inputs of the batches in, probabilities out.
    training, validation : Batches
        The two sides of the split.
    loss : keras.losses.Loss
        What is minimised, see `posterity.nn.training.losses`; if a target of either side is unknown, one that masks.
    optimizer : keras.optimizers.Optimizer
        A fresh one, see `posterity.nn.training.optimizers`. If it averages the weights, the averages are validated
        and kept.
    epochs : int
        Passes over the training side.
    early_stopping : int, optional
        Stop after this many epochs without a lower validation loss.
    keep_epoch : {"last", "best"}
        ``best`` leaves the weights of the epoch with the lowest validation loss in the model. The validation side has
        then been used for a choice, and its scores are a little too good.
    xla : bool
        Compile the training step with XLA (TensorFlow; JAX always does).
    quiet : bool
        Print no losses.
    recorder : Recorder, optional
        Keeps the state after every epoch, and may begin with one that was kept.

    Returns
    -------
    DataFrame
        One row per epoch: ``epoch`` (from 1); ``loss``, which was minimised, and ``bce``, the binary cross-entropy,
        both as means over the epoch with dropout, augmentation and mixup switched on; ``val_bce``, the binary
        cross-entropy of the validation side. The cross-entropies are means over the known targets.

    Raises
    ------
    DivergedError
        If the loss stops being finite.
    """
    has_unknown = training.has_unknown or validation.has_unknown
    crossentropy = losses.KnownCrossentropy if has_unknown else keras.metrics.BinaryCrossentropy
    if not optimizer.built:  # TensorFlow would trace the training step twice if it created variables
        optimizer.build(model.trainable_variables)
    model.compile(
        optimizer=optimizer,
        loss=loss,
        # Weighted because of the rows that only fill up a batch, see `Batches`; without weights, all rows weigh 1.
        weighted_metrics=[crossentropy(name="bce")],
        # JAX always compiles by XLA: without, it would run operation by operation.
        jit_compile=xla or keras.backend.backend() == "jax",
        steps_per_execution=streams.steps_at_once(training),
    )
    callbacks = optimizers.ema_callbacks(optimizer.ema_momentum if optimizer.use_ema else None)
    callbacks.append(keras.callbacks.TerminateOnNaN())
    if keep_epoch == "best" or early_stopping is not None:
        # Without early stopping, its patience never runs out: it only remembers the best weights.
        patience = early_stopping if early_stopping is not None else epochs + 1
        best = keep_epoch == "best"
        callbacks.append(
            keras.callbacks.EarlyStopping("val_bce", mode="min", patience=patience, restore_best_weights=best)
        )
    recorder = recorder or Recorder(Checkpoints(), "")
    recorder.others = list(callbacks)
    with streams.own_errors(training, validation):
        model.fit(
            streams.stream(training),
            validation_data=streams.stream(validation),
            epochs=epochs,
            initial_epoch=recorder.first_epoch(epochs),
            shuffle=False,  # the batches are shuffled already; Keras would shuffle them again, from a global seed
            callbacks=[*streams.advance(training), *callbacks, recorder],
            verbose=0 if quiet else 1 if sys.stdout.isatty() else 2,  # a bar that redraws itself fills a log file
        )
    table = history_table(recorder.losses)
    if not np.isfinite(table.to_numpy(dtype=np.float64)).all():
        raise DivergedError(
            f"params.yaml: the loss is not finite after epoch {len(table)}. "
            "Lower train.learning_rate (when fine-tuning, model.finetune.learning_rate), "
            "or set machine.device.mixed_precision: off if it is not."
        )
    return table


def history_table(losses: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """The history that `fit` returns, from the losses of every epoch."""
    return pd.DataFrame(losses).assign(epoch=np.arange(1, len(losses) + 1))[HISTORY_COLUMNS]


def predict_batches(model: keras.Model, batches: Batches, *, quiet: bool = False) -> npt.NDArray[np.float32]:
    """Predict the rows of ``batches`` in their order: probabilities, float32 (n, num_labels)."""
    with streams.own_errors(batches):
        scores: npt.NDArray[np.float32] = model.predict(
            streams.stream(batches), verbose=1 if sys.stdout.isatty() and not quiet else 0
        )
    return scores

"""Training: compile, fit, and the history that DVC plots."""

import sys
from typing import Literal

import keras
import numpy as np
import pandas as pd

from posterity.errors import UserError
from posterity.nn.batches import Batches


def fit(
    model: keras.Model,
    training: Batches,
    validation: Batches,
    *,
    epochs: int,
    learning_rate: float,
    keep_epoch: Literal["last", "best"] = "last",
    xla: bool = False,
) -> pd.DataFrame:
    """Train ``model`` in place with Adam on binary cross-entropy.

    Parameters
    ----------
    model : keras.Model
        uint8 images in, probabilities out.
    training, validation : Batches
        Both sides of the split.
    epochs : int
        Passes over the training side.
    learning_rate : float
        Adam's step size.
    keep_epoch : {"last", "best"}
        ``best`` leaves the weights of the epoch with the lowest validation loss in the model. The validation side
        has then been used to choose, and its scores flatter the model a little.
    xla : bool
        Compile the training step with XLA.

    Returns
    -------
    DataFrame
        One row an epoch: ``epoch`` (from 1), ``loss`` (mean over the epoch, dropout active), ``val_loss``.

    Raises
    ------
    UserError
        If the loss stops being finite.
    """
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.BinaryCrossentropy(),
        jit_compile=xla,
    )
    callbacks: list[keras.callbacks.Callback] = [keras.callbacks.TerminateOnNaN()]
    if keep_epoch == "best":
        # Its patience never runs out: it only remembers the best weights and puts them back at the end.
        callbacks.append(keras.callbacks.EarlyStopping("val_loss", patience=epochs + 1, restore_best_weights=True))
    history = model.fit(
        training,
        validation_data=validation,
        epochs=epochs,
        shuffle=False,  # the batches come shuffled; Keras would shuffle their order once more, from global state
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,  # a bar that redraws itself fills a log file
    ).history
    table = pd.DataFrame({"epoch": np.arange(1, len(history["loss"]) + 1), **history})
    if not np.isfinite(table.to_numpy(dtype=np.float64)).all():
        raise UserError(
            f"params.yaml: train.learning_rate is {learning_rate:g}, and the loss is not finite after epoch "
            f"{len(table)}. Lower it, or set gpu.mixed_precision: off if it is not."
        )
    return table


def kept_epoch(history: pd.DataFrame, keep_epoch: Literal["last", "best"]) -> int:
    """The number (from 1) of the epoch whose weights `fit` left in the model."""
    row = int(np.argmin(history["val_loss"])) if keep_epoch == "best" else -1
    return int(history["epoch"].iloc[row])

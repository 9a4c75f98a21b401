"""Batches in the form in which Keras takes them fastest."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from posterity.nn.training.batches import Batches

STEPS_AT_ONCE = 8  # more of them save nothing
AHEAD = 4  # batches that are made before they are asked for


def is_streamed() -> bool:
    """Whether `stream` does anything: with TensorFlow."""
    return keras.backend.backend() == "tensorflow"


def steps_at_once(batches: Batches) -> int:
    """Steps for each call from Python: several pay where a step takes some milliseconds.

    It is one where a strategy of TensorFlow divides the batches: Keras then cannot run several.
    """
    if not is_streamed() or not batches.source.small:
        return 1

    import tensorflow as tf

    return 1 if tf.distribute.has_strategy() else STEPS_AT_ONCE


def stream(batches: Batches) -> Any:
    """Give Keras the same batches as a `tf.data.Dataset` if `is_streamed`; otherwise they are returned as they are.

    Keras makes a dataset of a `keras.utils.PyDataset`, too, by ``from_generator``. TensorFlow then tells the C library
    to give freed memory back to the system at once, for the rest of the process: every operation on large arrays waits
    for new pages, which takes a quarter of the time of training a head. And with several threads Keras waits for a
    tenth of a second at the end of every epoch and of every validation.

    `advance` has to be called where Keras would call `Batches.on_epoch_end`, and `own_errors` around all of it.
    """
    if not is_streamed():
        return batches

    import tensorflow as tf

    def read(index: npt.NDArray[np.int64]) -> list[npt.NDArray[Any]]:
        try:
            return list(keras.tree.flatten(batches[int(index)]))
        except Exception as error:
            batches.failure = error
            raise

    first = batches[0]
    types = [array.dtype for array in keras.tree.flatten(first)]
    shapes = [(None, *array.shape[1:]) for array in keras.tree.flatten(first)]

    def batch(index: Any) -> Any:
        arrays = tf.numpy_function(read, [index], types)
        known = [tf.ensure_shape(array, shape) for array, shape in zip(arrays, shapes, strict=True)]
        return keras.tree.pack_sequence_as(first, known)

    # There is nothing to tune, and the end of a dataset that is tuned takes up to a third of a second, in which nothing
    # happens: at the end of every epoch, of every validation and of every prediction.
    options = tf.data.Options()
    options.autotune.enabled = False
    # One thread makes the batches: TensorFlow, told to be deterministic, would take no more.
    return tf.data.Dataset.range(len(batches)).map(batch).prefetch(AHEAD).with_options(options)


def advance(batches: Batches) -> list[keras.callbacks.Callback]:
    """Callbacks that let training batches go on to the next epoch if `is_streamed`; Keras does it for other ones.

    Keras does it once before the first epoch as well, and so do they: the order of the rows is the same.
    """
    if not is_streamed():
        return []
    return [keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.on_epoch_end())]


@contextlib.contextmanager
def own_errors(*some: Batches) -> Iterator[None]:
    """Raise what has stopped one of these batches from being made.

    TensorFlow makes an error of its own of it, in which a damaged file is named on one of a hundred lines.
    """
    try:
        yield
    except Exception:
        for batches in some:
            if batches.failure is not None:
                raise batches.failure from None
        raise

"""Vectors of images: what the last layer before the labels sees."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
import numpy.typing as npt
from keras import KerasTensor

from posterity.nn.inference.flat_graph import flat_graph, label_steps, run
from posterity.pixels.decode import ImageArray

FloatArray = npt.NDArray[np.float32]
BATCH_SIZE = 16
_made: WeakKeyDictionary[keras.Model, Callable[[Any], Any]] = WeakKeyDictionary()


def embed(model: keras.Model, images: ImageArray) -> FloatArray:
    """Compute what the last layer before the labels sees of each image: near vectors are images it finds alike.

    Of a mean of several networks the vectors are concatenated. They cannot be averaged: what a channel means was
    settled by each training anew. With ``both_views`` one head sees the image and its mirror image: those two vectors
    are averaged, since there the channels mean the same.

    Parameters
    ----------
    model : keras.Model
        uint8 images (batch, height, width, 3) in, probabilities (batch, num_labels) out, as saved by this project.
    images : array of uint8, shape (n, height, width, 3)
        RGB, of the size of the network.

    Returns
    -------
    array of float32, shape (n, d)
        For `tutorial_cnn` d is 64, for `compact_cnn` 384, for a head on a backbone its ``hidden_units``, or without
        these the standardised features; times the number of networks. Of a model whose last layers are not known,
        the probabilities themselves.
    """
    if model not in _made:
        _made[model] = _function(model)
    parts = [
        np.asarray(_made[model](images[:0] if not len(images) else images[start : start + BATCH_SIZE]))
        for start in range(0, max(1, len(images)), BATCH_SIZE)
    ]
    return np.concatenate(parts).astype(np.float32)


def _function(model: keras.Model) -> Callable[[Any], Any]:
    graph = flat_graph(model)
    seen: dict[Any, list[KerasTensor]] = {}  # by layer: one that is called twice sees two views of the image
    for step in label_steps(graph) if graph is not None else ():
        seen.setdefault(step.operation, []).append(step.inputs[0])
    if graph is None or not seen:
        return model.predict_on_batch

    def vectors(images: Any) -> Any:
        values = run(graph.steps, {graph.images: images})
        means = [
            sum(keras.ops.cast(values[given], "float32") for given in views) / len(views) for views in seen.values()
        ]
        return keras.ops.concatenate(means, axis=1)

    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(vectors)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        spec = tf.TensorSpec((None, *graph.images.shape[1:]), tf.uint8)
        return tf.function(vectors, input_signature=[spec])
    return lambda images: keras.ops.convert_to_numpy(vectors(keras.ops.convert_to_tensor(images)))

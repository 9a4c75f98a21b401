"""How much each cell of a network's last feature maps speaks for a label.

Grad-CAM (Selvaraju et al. 2017) weighs the channels of a map by the gradients of the label, averaged over the map. If
the map is pooled over all its places, every cell keeps its own gradient instead: the variant HiResCAM (Draelos and
Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks"). For a mean
the two are the same. For a maximum, whose gradient is in one cell, an average would give all cells what that one has.

Which is better was tried on the drawn sample: the highest place of the map lay on the label's motif in 169 of 177 cases
with single and 163 with averaged gradients for `compact_cnn`, which pools a maximum as well, but in 142 and 156 for
`tutorial_cnn`, which flattens its map; docs/looking.md has all figures.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import KerasTensor, layers

from posterity.nn.inference.flat_graph import Step, flat_graph, run, with_log_odds
from posterity.nn.inference.map_places import Ending, ending, enlarge, places
from posterity.pixels.decode import ImageArray

FloatArray = npt.NDArray[np.float32]
BATCH_SIZE = 16
Compute = Callable[[ImageArray, FloatArray], tuple[list[Any], list[Any]]]


class GradCam:
    """Maps of one network; made once, since TensorFlow and JAX take a second or more to prepare the computation."""

    def __init__(self, model: keras.Model) -> None:
        found = _ending_of(model)
        if found is None:
            raise ValueError(f"{model.name} has no feature maps that feed its labels")
        graph, end = found
        found_places = places(graph)
        self._places = [found_places[given] for given in end.maps]
        self._pooled = [_is_pooled(given, end.after) for given in end.maps]
        self._num_labels = int(graph.answer.shape[1])
        self._size = int(graph.images.shape[1]), int(graph.images.shape[2])

        def before(images: Any) -> dict[Any, Any]:
            return run(end.before, {graph.images: images})

        def after(known: dict[Any, Any], maps: list[Any], chosen: Any) -> Any:
            """The sum over the images of the log-odds of their labels: each depends on the maps of its image alone."""
            answer = run(end.after, known | dict(zip(end.maps, maps, strict=True)))[graph.answer]
            return keras.ops.sum(keras.ops.cast(answer, "float32") * chosen)

        self._compute = _on_backend(before, after, end, self._size)

    def __call__(self, images: ImageArray, labels: Sequence[int]) -> FloatArray:
        """Compute what speaks for, and below 0 against, label ``labels[i]`` in image i: float32 (n, height, width).

        The values are log-odds per pixel: where maps are pooled and a linear layer follows, they add up to its answer,
        but for the bias and what is lost at the rim. Of several maps the sum is taken, such as of several resolutions,
        or networks, or of the image and its mirror image.
        """
        maps = np.zeros((len(images), *self._size), np.float32)
        chosen = np.eye(self._num_labels, dtype=np.float32)[np.asarray(labels, dtype=np.intp)]
        for start in range(0, len(images), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            found = self._compute(images[part], chosen[part])
            for values, slopes, (rows, columns), pooled in zip(*found, self._places, self._pooled, strict=True):
                weights = _floats(slopes) if pooled else _floats(slopes).mean(axis=(1, 2), keepdims=True)
                cells = (_floats(values) * weights).sum(axis=-1)
                maps[part] += enlarge(cells, rows, columns, *self._size) / abs(rows.step * columns.step)
        return maps


def is_for(model: keras.Model) -> bool:
    """Whether `GradCam` can be made for a model: if feature maps feed its labels, with TensorFlow or JAX."""
    return keras.backend.backend() in ("tensorflow", "jax") and _ending_of(model) is not None


def _ending_of(model: keras.Model) -> tuple[Any, Ending] | None:
    graph = flat_graph(model)
    if graph is None or len(graph.answer.shape) != 2:
        return None
    graph = with_log_odds(graph)
    found = ending(graph)
    return None if found is None else (graph, found)


def _is_pooled(given: KerasTensor, after: Sequence[Step]) -> bool:
    """Whether a map is used for nothing but means and maxima over all its cells."""
    users = [step.operation for step in after if given in step.inputs]
    return all(isinstance(user, layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D) for user in users)


def _on_backend(before: Any, after: Any, end: Ending, size: tuple[int, int]) -> Compute:
    """The maps and the gradients of ``after`` for them, compiled."""
    if keras.backend.backend() == "jax":
        import jax

        def by_jax(images: Any, chosen: Any) -> tuple[list[Any], list[Any]]:
            known = before(images)
            maps = [known[given] for given in end.maps]
            return maps, jax.grad(lambda maps: after(known, maps, chosen))(maps)

        return jax.jit(by_jax)

    import tensorflow as tf

    def by_tensorflow(images: Any, chosen: Any) -> tuple[list[Any], list[Any]]:
        known = before(images)
        maps = [known[given] for given in end.maps]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(maps)
            total = after(known, maps, chosen)
        return maps, tape.gradient(total, maps)

    signature = [tf.TensorSpec((None, *size, 3), tf.uint8), tf.TensorSpec((None, None), tf.float32)]
    return tf.function(by_tensorflow, input_signature=signature)


def _floats(values: Any) -> FloatArray:
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(values, "float32")), dtype=np.float32)

"""Which feature maps of a network feed its labels, and where in the image their cells lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from keras import KerasTensor, layers

from posterity.nn.inference.flat_graph import FlatGraph, Step

FloatArray = npt.NDArray[np.float32]
WINDOWS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.MaxPooling2D, layers.AveragePooling2D)


class Axis(NamedTuple):
    """Where the rows, or the columns, of a map lie: the middle of cell k is at pixel ``first`` + k · ``step``.

    ``step`` is negative if the network was given the mirror image.
    """

    first: float
    step: float


@dataclass(frozen=True, eq=False)
class Ending:
    """Where a network stops to see places: its last maps, and what is computed from them.

    Attributes
    ----------
    maps : list of KerasTensor
        Each (batch, rows, columns, channels): the maps that are pooled or flattened.
    before, after : list of Step
        From the images to the maps, and from the maps to the answer.
    """

    maps: list[KerasTensor]
    before: list[Step]
    after: list[Step]


def ending(graph: FlatGraph) -> Ending | None:
    """Find the last maps of a graph; None if it has none, as a transformer, whose tokens are no map.

    After them, nothing has a height and a width any more. Vectors that go back into a map, as the gates of
    squeeze-and-excitation do (Hu et al. 2018), do not count as an end.
    """
    leads_to_map: set[KerasTensor] = set()
    after: list[Step] = []
    for step in reversed(graph.steps):
        if any(_has_places(output) or output in leads_to_map for output in step.outputs):
            leads_to_map.update(step.inputs)
        else:
            after.append(step)
    after.reverse()
    made_after = {output for step in after for output in step.outputs}
    maps = list(dict.fromkeys(given for step in after for given in step.inputs if given not in made_after))
    if not maps or not all(_is_small_map(found, graph.images) for found in maps):
        return None
    return Ending(maps, [step for step in graph.steps if step not in after], after)


def _has_places(tensor: KerasTensor) -> bool:
    """Whether it is a map of more than one cell, or a row of tokens."""
    return len(tensor.shape) >= 3 and any(side != 1 for side in tensor.shape[1:-1])


def _is_small_map(tensor: KerasTensor, images: KerasTensor) -> bool:
    """Whether it is a map, and not one of single pixels: these say what the colour is, and not what is seen."""
    return (
        len(tensor.shape) == 4
        and all(isinstance(side, int) for side in tensor.shape[1:3])
        and math.prod(tensor.shape[1:3]) < math.prod(images.shape[1:3])
    )


def places(graph: FlatGraph) -> dict[KerasTensor, tuple[Axis, Axis]]:
    """Where the rows and columns of every map of a graph lie in the image.

    By the arithmetic of receptive fields (Araujo et al. 2019): the middle of what a cell sees. An unpadded 5 x 5
    convolution, say, leaves out two pixels on each side, so that the first cell of `tutorial_cnn` at 400 x 300 lies at
    pixel 37 and not at 9, where a stretched map would have it. What is not known to move the cells is taken to stretch
    them evenly.
    """
    found = {graph.images: (Axis(0.0, 1.0), Axis(0.0, 1.0))}
    for step in graph.steps:
        sources = [given for given in step.inputs if given in found]
        for output in step.outputs:
            if sources and len(output.shape) == 4 and all(output.shape[1:]):
                rows, columns = (
                    [
                        _moved(step.operation, found[given][number], given.shape, output.shape, number)
                        for given in sources
                    ]
                    for number in (0, 1)
                )
                found[output] = _mean(rows), _mean(columns)
    return found


def _moved(operation: Any, axis: Axis, shape: Sequence[int], new_shape: Sequence[int], number: int) -> Axis:
    """The axis after an operation that turns a map of one shape into another; 0 is that of rows, 1 that of columns."""
    first, step = axis
    size, new_size = shape[number + 1], new_shape[number + 1]
    if isinstance(operation, WINDOWS):
        window = getattr(operation, "kernel_size", None) or operation.pool_size
        dilation = getattr(operation, "dilation_rate", (1, 1))[number]
        width = dilation * (window[number] - 1) + 1
        stride = operation.strides[number]
        padding = max((new_size - 1) * stride + width - size, 0) // 2 if operation.padding == "same" else 0
        return Axis(first + step * ((width - 1) / 2 - padding), step * stride)
    if isinstance(operation, layers.ZeroPadding2D):
        return Axis(first - step * operation.padding[number][0], step)
    if isinstance(operation, layers.Cropping2D):
        return Axis(first + step * operation.cropping[number][0], step)
    if type(operation).__name__ == "Flip" and operation.axis in (number + 1, number - 3):
        return Axis(first + step * (size - 1), -step)
    ratio = size / new_size
    return Axis(first + step * (ratio - 1) / 2, step * ratio)


def _mean(axes: Sequence[Axis]) -> Axis:
    """Where two branches meet, they may lie a little apart, as a padded convolution and the shortcut around it."""
    return Axis(*np.mean(axes, axis=0).tolist())


def enlarge(maps: FloatArray, rows: Axis, columns: Axis, height: int, width: int) -> FloatArray:
    """Spread the values of cells over the pixels: (n, rows, columns) to (n, height, width).

    Between the middles of two cells the value goes evenly from one to the other. Outside of the outermost middles it
    falls to 0 within the distance of two, so that the highest value is in the middle of a cell and not on the rim.
    """
    number, num_rows, num_columns = maps.shape
    down, across = _tents(rows, num_rows, height), _tents(columns, num_columns, width)
    # One product for all maps together: NumPy's product of stacks of matrices takes ten times as long.
    wide = (down @ maps).reshape(number * height, num_columns) @ np.ascontiguousarray(across.T)
    return np.asarray(wide.reshape(number, height, width), dtype=np.float32)


def _tents(axis: Axis, number: int, size: int) -> FloatArray:
    """How much of cell k is seen at pixel j: (size, number)."""
    middles = axis.first + axis.step * np.arange(number)
    return np.maximum(1 - np.abs(np.arange(size)[:, None] - middles) / abs(axis.step), 0).astype(np.float32)

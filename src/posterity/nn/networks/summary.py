"""The layers of a model as a table of plain text, and the number of multiply-adds that an image costs."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
from keras import layers

INDENT = "  "  # of the layers inside a model, for each level


class Row(NamedTuple):
    """One line of the table, as text."""

    layer: str
    kind: str
    output: str
    parameters: str
    multiply_adds: str


HEADER = Row("Layer", "Type", "Output shape", "Parameters", "Multiply-adds")


def summary(model: keras.Model) -> str:
    """Describe ``model``: one line for each layer, then the totals.

    The text depends on the model alone. (`keras.Model.summary` draws a table that depends on the width of the terminal
    and on its encoding.) Layers inside a model stand below it, indented. The shape of an output leaves out the batch.
    """
    rows = [HEADER, *_rows(model, "")]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        texts = [text.ljust(width) for text, width in zip(row[:3], widths[:3], strict=True)]
        numbers = [text.rjust(width) for text, width in zip(row[3:], widths[3:], strict=True)]
        lines.append(INDENT.join([*texts, *numbers]).rstrip())
    lines.insert(1, INDENT.join("-" * width for width in widths))
    totals = {
        "Parameters": _size(model.weights),
        "Trainable parameters": _size(model.trainable_weights),
        "Multiply-adds per image": multiply_adds(model),
    }
    lines += ["", *(f"{name}: {number:,}" for name, number in totals.items())]
    return "\n".join([f"Model: {model.name}", "", *lines, ""])


def multiply_adds(model: keras.Model) -> int:
    """Count the multiply-adds of one image's forward pass in the convolution and dense layers of ``model``."""
    return sum(multiply_adds(layer) if isinstance(layer, keras.Model) else _of_layer(layer) for layer in model.layers)


def _of_layer(layer: keras.layers.Layer) -> int:
    if not isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.SeparableConv2D | layers.Dense):
        return 0
    # A separable convolution has two kernels; a dense layer on a feature map is a 1 x 1 convolution.
    kernels = [weight.shape for weight in layer.weights if weight.name.endswith("kernel")]
    return math.prod(layer.output.shape[1:-1]) * sum(math.prod(shape) for shape in kernels)


def _rows(model: keras.Model, indent: str) -> Iterator[Row]:
    for layer in model.layers:
        kind, output, parameters = type(layer).__name__, _shape(layer), f"{_size(layer.weights):,}"
        if isinstance(layer, keras.Model):
            yield Row(indent + layer.name, kind, output, parameters, f"{multiply_adds(layer):,}")
            yield from _rows(layer, indent + INDENT)
        else:
            yield Row(indent + layer.name, kind, output, parameters, f"{_of_layer(layer):,}")


def _shape(layer: keras.layers.Layer) -> str:
    """The shapes of what ``layer`` returns, such as ``200 x 150 x 32``."""
    shapes = [tensor.shape[1:] for tensor in keras.tree.flatten(layer.output)]
    return ", ".join(" x ".join("any" if side is None else str(side) for side in shape) or "scalar" for shape in shapes)


def _size(weights: list[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)

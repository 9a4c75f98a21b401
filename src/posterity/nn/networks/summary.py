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
    }
    lines += ["", *(f"{name}: {number:,}" for name, number in totals.items())]
    counted = multiply_adds(model)
    said = f"not counted ({', '.join(sorted(_hiding(model)))})" if counted is None else f"{counted:,}"
    lines.append(f"Multiply-adds per image: {said}")
    return "\n".join([f"Model: {model.name}", "", *lines, ""])


def multiply_adds(model: keras.Model) -> int | None:
    """Count the multiply-adds of one image's forward pass in the convolution and dense layers of ``model``.

    None if a layer hides others with weights, as the encoder of a transformer: it does not say how often it calls them.
    """
    return None if _hiding(model) else _counted(model)


def _hides(layer: keras.layers.Layer) -> bool:
    return any(part.weights for part in layer._flatten_layers(include_self=False))


def _counted(model: keras.Model) -> int:
    return sum(_counted(layer) if isinstance(layer, keras.Model) else _of_layer(layer) for layer in model.layers)


def _hiding(model: keras.Model) -> set[str]:
    """The classes of the layers that hide layers with weights; those of a model are seen."""
    found = set()
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= _hiding(layer)
        elif _hides(layer):
            found.add(type(layer).__name__)
    return found


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
            yield Row(indent + layer.name, kind, output, parameters, _shown(multiply_adds(layer)))
            yield from _rows(layer, indent + INDENT)
        else:
            number = None if _hides(layer) else _of_layer(layer)
            yield Row(indent + layer.name, kind, output, parameters, _shown(number))


def _shape(layer: keras.layers.Layer) -> str:
    """The shapes of what ``layer`` returns, such as ``200 x 150 x 32``."""
    shapes = [tensor.shape[1:] for tensor in keras.tree.flatten(layer.output)]
    return ", ".join(" x ".join("any" if side is None else str(side) for side in shape) or "scalar" for shape in shapes)


def _shown(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _size(weights: list[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)

"""A network of networks as one list of steps, to be looked into: what feeds the labels, and where in the image it lies.

A saved model is nested: preparation and a body, or backbones and heads, several times over for a mean of networks. Here
it is laid out flat, without a change to its layers.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import KerasTensor


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a layer, or of another operation of Keras.

    Attributes
    ----------
    operation : callable
        What is called.
    args, kwargs
        Its arguments, with a `keras.KerasTensor` in the place of every tensor.
    outputs : tuple of KerasTensor
        What it gives, each of which belongs to this step alone.
    """

    operation: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[KerasTensor, ...]

    @property
    def inputs(self) -> list[KerasTensor]:
        """The tensors among the arguments."""
        return [found for found in keras.tree.flatten((self.args, dict(self.kwargs))) if isinstance(found, KerasTensor)]


@dataclass(frozen=True, eq=False)
class FlatGraph:
    """The steps from the images to the answer, each after those that it needs; none is idle."""

    images: KerasTensor
    steps: tuple[Step, ...]
    answer: KerasTensor


def flat_graph(model: keras.Model) -> FlatGraph | None:
    """Lay a model of one input and one output out flat; None if it is not made of declared layers.

    Models within it are laid out, too, each time that they are called.
    """
    model = _declared(model)
    if model is None or len(model.inputs) != 1 or len(model.outputs) != 1:
        return None
    steps: list[Step] = []

    def add(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.Model) and (inner := _declared(operation)) is not None:
            given = [
                # As Keras does, which converts what a model is given to the type that it declares.
                tensor if tensor.dtype == wanted.dtype else add(_Cast(wanted.dtype), tensor)
                for tensor, wanted in zip(keras.tree.flatten(args[0]), inner.inputs, strict=True)
            ]
            return inner._run_through_graph(given, operation_fn=lambda op: functools.partial(add, op))
        spec = operation.compute_output_spec(*args, **kwargs)
        # Fresh ones: a layer that changes nothing, such as dropout, may give back what it was given.
        outputs = keras.tree.map_structure(lambda found: KerasTensor(found.shape, found.dtype), spec)
        steps.append(Step(operation, args, kwargs, tuple(keras.tree.flatten(outputs))))
        return outputs

    images = KerasTensor(model.inputs[0].shape, model.inputs[0].dtype)
    answer = keras.tree.flatten(model._run_through_graph([images], operation_fn=lambda op: functools.partial(add, op)))
    return FlatGraph(images, _needed(steps, answer), answer[0])


class _Cast:
    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def __call__(self, values: Any) -> Any:
        return keras.ops.cast(values, self.dtype)

    def compute_output_spec(self, values: KerasTensor) -> KerasTensor:
        return KerasTensor(values.shape, self.dtype)


def _declared(model: keras.Model) -> Any:
    """The model as one that lists its operations; None for one that is written as code."""
    if isinstance(model, keras.Sequential):
        return model._functional
    return model if hasattr(model, "_run_through_graph") else None


def _needed(steps: Sequence[Step], answer: Sequence[KerasTensor]) -> tuple[Step, ...]:
    wanted, kept = set(answer), []
    for step in reversed(steps):
        if wanted.intersection(step.outputs):
            wanted.update(step.inputs)
            kept.append(step)
    return tuple(reversed(kept))


def run(steps: Sequence[Step], values: dict[KerasTensor, Any]) -> dict[KerasTensor, Any]:
    """Compute steps in inference mode; ``values`` are those of the tensors known before, and are not changed."""
    values = dict(values)
    for step in steps:
        args, kwargs = keras.tree.map_structure(
            lambda found: values[found] if isinstance(found, KerasTensor) else found, (step.args, dict(step.kwargs))
        )
        found = keras.tree.flatten(step.operation(*args, **kwargs))
        values.update(zip(step.outputs, found, strict=True))
    return values


def label_steps(graph: FlatGraph) -> list[Step]:
    """The layers that answer with a probability per label: one of each network of a mean, for each view of the image.

    Returns
    -------
    list of Step
        Dense layers with a sigmoid; empty if the answer does not come from such layers alone, or from their mean.
    """
    made_by = {output: step for step in graph.steps for output in step.outputs}
    found: list[Step] = []
    waiting = [graph.answer]
    while waiting:
        step = made_by.get(waiting.pop(0))
        if step is not None and isinstance(step.operation, keras.layers.Average):
            waiting = step.inputs + waiting
        elif step is not None and _is_label_layer(step.operation):
            found.append(step)
        else:
            return []
    return found


def _is_label_layer(operation: object) -> bool:
    return isinstance(operation, keras.layers.Dense) and operation.activation is keras.activations.sigmoid


def with_log_odds(graph: FlatGraph) -> FlatGraph:
    """The same graph without the sigmoids of `label_steps`: it answers the log-odds, of several networks their mean."""
    ends = label_steps(graph)
    steps = [
        replace(step, operation=functools.partial(_linear, step.operation)) if step in ends else step
        for step in graph.steps
    ]
    return replace(graph, steps=tuple(steps))


def _linear(dense: keras.layers.Dense, values: Any) -> Any:
    found = keras.ops.matmul(keras.ops.cast(values, dense.compute_dtype), dense.kernel)
    return found if dense.bias is None else keras.ops.add(found, dense.bias)

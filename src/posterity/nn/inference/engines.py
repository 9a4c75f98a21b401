"""The inference engines, which run a network on images: Keras, and on a CPU ONNX Runtime and OpenVINO."""

import sys
from collections.abc import Callable
from typing import Protocol

import keras
import numpy as np
import numpy.typing as npt

from posterity import choices
from posterity.errors import UserError
from posterity.nn.inference import export, fixed_batches, onnx_engine, openvino_engine, precision, quantize
from posterity.nn.inference.fixed_batches import in_batches
from posterity.pixels.decode import ImageArray
from posterity.text import printable

FloatArray = npt.NDArray[np.float32]
Engine = choices.InferenceEngine
Precision = choices.InferencePrecision
BatchFunction = Callable[[ImageArray], FloatArray]

NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
# Code on which graphs and features depend: what is kept from a run with other code is not used.
GRAPH_SOURCES = (export.__file__, *quantize.SOURCES)
OWN_SOURCES = (__file__, fixed_batches.__file__, onnx_engine.__file__, openvino_engine.__file__, precision.__file__)
SOURCES = (*OWN_SOURCES, *GRAPH_SOURCES)


class Graphs(Protocol):
    """Where exported networks are kept, such as `posterity.cache.kept_graphs.KeptGraphs`."""

    def read(self, name: str) -> bytes | None:
        """The graph of that name, or None."""

    def keep(self, name: str, graph: bytes) -> None:
        """Keep it, if that is possible."""


def chosen(engine: Engine, at: Precision) -> Engine:
    """The engine that computes here; see `posterity.nn.inference.precision.chosen` for what it raises."""
    on_gpu = keras.backend.backend() != "tensorflow" or bool(keras.distribution.list_devices("gpu"))
    found = precision.chosen(engine, at, auto_is_keras=on_gpu)
    if found == "openvino":
        openvino_engine.check_installed()
    return found


def batch_function(
    model: keras.Model,
    engine: Engine,
    examples: ImageArray,
    *,
    at: Precision = "float32",
    cpu_threads: int | None = None,
    announce: bool = True,
    graphs: Graphs | None = None,
) -> BatchFunction:
    """Make the function that runs ``model``.

    An exported network is only used if it gives the same output as Keras for ``examples``, or nearly the same if it
    computes at a lower precision. If the export fails or gives another output, a warning says so and Keras runs the
    network, also for ``engine="onnxruntime"``. At a lower precision this is an error instead: features of the same name
    would otherwise be of one kind or the other, depending on the images.

    Parameters
    ----------
    model : keras.Model
        uint8 images (batch, height, width, 3) in, one float tensor (batch, ...) out.
    engine : {"auto", "keras", "onnxruntime", "openvino"}
        ``auto`` is Keras on a GPU or by another backend than TensorFlow. Otherwise it is OpenVINO for bfloat16, and
        ONNX Runtime for the rest.
    examples : array of uint8, shape (n, height, width, 3)
        A few real images.
    at : {"float32", "bfloat16", "int8"}
        Precision of the arithmetic, see `posterity.nn.inference.precision` and `posterity.nn.inference.quantize`.
    cpu_threads : int, optional
        Threads of ONNX Runtime and OpenVINO; None for one per core. (`posterity.nn.device.configure` sets those of
        TensorFlow.)
    announce : bool
        Say on stderr which engine it uses.
    graphs : Graphs, optional
        Where exported networks are kept: a graph that is there is not made again.

    Returns
    -------
    callable
        Takes uint8 images (n, height, width, 3), any n, and returns float32 (n, ...). The output for an image does
        not depend on the other images, to the last bit.

    Raises
    ------
    UserError
        If the engine does not compute at this precision or is not installed, if the CPU does not have the precision in
        hardware, or if the output at a lower precision is too far from that of Keras.
    """
    by_keras = _fixed_batches(model.predict_on_batch)
    engine = chosen(engine, at)
    if engine == "keras":
        if announce:
            print("Inference by Keras.", file=sys.stderr)
        return by_keras
    name = NAMES[engine] if at == "float32" else f"{NAMES[engine]} in {at}"
    try:
        graph = _graph(model, at, graphs)
        if engine == "openvino":
            exported = _any_number(openvino_engine.session(graph, at, cpu_threads))
        else:
            exported = _fixed_batches(onnx_engine.session(graph, cpu_threads))
        difference = precision.difference(by_keras(examples), exported(examples), at)
    except Exception as error:  # whatever stops an export, Keras can do the work, and the reason is shown
        problem = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    else:
        allowed = precision.TOLERANCE[at]
        if difference <= allowed:
            if graphs:
                graphs.keep("int8" if at == "int8" else "float32", graph)
            if announce:
                print(f"Inference by {name} (difference from Keras: {difference:.0e}).", file=sys.stderr)
            return exported
        problem = f"gave another output than Keras (relative difference {difference:.1g}, allowed {allowed:g})"
    if at != "float32":
        raise UserError(f"{name} {problem}. Set {precision.SETTING} to float32 for this network and these images.")
    print(f"WARNING: {name} {printable(problem)}. Inference by Keras.", file=sys.stderr)
    return by_keras


def _graph(model: keras.Model, at: Precision, graphs: Graphs | None) -> bytes:
    """The network as a graph, in 8 bits for int8; bfloat16 is a matter of how it is run."""
    if graphs and at == "int8" and (graph := graphs.read("int8")):
        return graph
    graph = (graphs.read("float32") if graphs else None) or export.to_onnx(model)
    return quantize.to_int8(graph) if at == "int8" else graph


def _fixed_batches(run: Callable[[ImageArray], FloatArray]) -> BatchFunction:
    batched = in_batches(lambda batch: (np.asarray(run(batch), dtype=np.float32),))
    return lambda images: batched(images)[0]


def _any_number(run: Callable[[ImageArray], FloatArray]) -> BatchFunction:
    """Run one black image where there is none: it gives the shape."""

    def function(images: ImageArray) -> FloatArray:
        some = images if len(images) else np.zeros((1, *images.shape[1:]), np.uint8)
        return np.asarray(run(some), dtype=np.float32)[: len(images)]

    return function

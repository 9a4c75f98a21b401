"""The inference engines, which run a network on images: Keras, or ONNX Runtime on a CPU."""

import logging
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from posterity import choices
from posterity.pixels.decode import ImageArray
from posterity.text import printable

FloatArray = npt.NDArray[np.float32]
Engine = choices.InferenceEngine
BatchFunction = Callable[[ImageArray], FloatArray]

BATCH_SIZE = 16
OPSET = 17  # 13, 15 and 18 agreed with Keras just as well (MobileNetV2 at 400 x 300)
# Of the largest output (at least 1). Rounding in another order gives up to 3e-5 after 50 layers (MobileNetV2 at
# 400 x 300, outputs up to 6); a padding on the wrong side gives 1.
TOLERANCE = 1e-4


def batch_function(
    model: keras.Model,
    engine: Engine,
    examples: ImageArray,
    *,
    cpu_threads: int | None = None,
    announce: bool = True,
) -> BatchFunction:
    """Make the function that runs ``model``.

    An exported network is only used if it gives the same output as Keras for ``examples``. If the export fails or gives
    another output, a warning says so and Keras runs the network, also for ``engine="onnxruntime"``.

    Parameters
    ----------
    model : keras.Model
        uint8 images (batch, height, width, 3) in, one float tensor (batch, ...) out.
    engine : {"auto", "keras", "onnxruntime"}
        ``auto`` is ONNX Runtime where Keras computes by TensorFlow on a CPU, otherwise Keras.
    examples : array of uint8, shape (n, height, width, 3)
        A few real images.
    cpu_threads : int, optional
        Threads of ONNX Runtime; None for one per core. (`posterity.nn.device.configure` sets those of TensorFlow.)
    announce : bool
        Say on stderr which engine it uses.

    Returns
    -------
    callable
        Takes uint8 images (n, height, width, 3), any n, and returns float32 (n, ...). The output for an image does
        not depend on the other images, to the last bit.
    """
    by_keras = _fixed_batches(model.predict_on_batch)
    backend = keras.backend.backend()
    if engine == "keras" or (engine == "auto" and (backend != "tensorflow" or keras.distribution.list_devices("gpu"))):
        if announce:
            print("Inference by Keras.", file=sys.stderr)
        return by_keras
    try:
        by_onnx = _fixed_batches(_onnx_session(model, cpu_threads))
        difference = _difference(by_keras(examples), by_onnx(examples))
    except Exception as error:  # whatever stops an export, Keras can do the work, and the reason is shown
        problem = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    else:
        if difference <= TOLERANCE:
            if announce:
                print(f"Inference by ONNX Runtime (difference from Keras: {difference:.0e}).", file=sys.stderr)
            return by_onnx
        problem = f"gave another output than Keras (relative difference {difference:.1g}, allowed {TOLERANCE:g})"
    print(f"WARNING: ONNX Runtime {printable(problem)}. Inference by Keras.", file=sys.stderr)
    return by_keras


def _difference(expected: FloatArray, got: FloatArray) -> float:
    """The largest absolute difference, relative to the largest output or 1; NaN if an output is NaN."""
    return float(np.abs(got - expected).max() / max(1.0, np.abs(expected).max()))


def _fixed_batches(run: Callable[[ImageArray], FloatArray]) -> BatchFunction:
    """Run batches of one size only, filled up with black images: kernels for other sizes round differently."""

    def function(images: ImageArray) -> FloatArray:
        outputs = []
        for start in range(0, max(1, len(images)), BATCH_SIZE):  # once for no images: it gives the shape
            part = images[start : start + BATCH_SIZE]
            batch = np.zeros((BATCH_SIZE, *images.shape[1:]), np.uint8)
            batch[: len(part)] = part
            outputs.append(np.asarray(run(batch), dtype=np.float32)[: len(part)])
        return np.concatenate(outputs)

    return function


def _onnx_session(model: keras.Model, cpu_threads: int | None) -> Callable[[ImageArray], FloatArray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_threads or 0
    # Waiting threads do not spin but leave the cores to the threads that decode: a seventh faster on a busy machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only; it warns of each constant that it folds into another
    session = onnxruntime.InferenceSession(_export(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _export(model: keras.Model) -> bytes:
    """Export ``model`` as an ONNX graph that takes uint8 images (any batch, height, width, 3).

    Keras' own `model.export` differs in one thing: constants that layers hold as tensors, such as the statistics of
    `Normalization` in EfficientNet, become further inputs of its graph.
    """
    if keras.backend.backend() != "tensorflow":
        raise NotImplementedError(f"the export needs Keras' TensorFlow backend, not {keras.backend.backend()}")
    import onnx
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what it cannot convert is reported once, by the caller
    signature = [tf.TensorSpec(model.inputs[0].shape, tf.uint8)]
    function = tf.function(lambda images: model(images, training=False), input_signature=signature)
    graph = function.get_concrete_function().graph
    constants = {inner.name: outer for outer, inner in graph.captures if outer.dtype != tf.resource}
    exported, _ = tf2onnx.convert.from_function(
        function, input_signature=signature, opset=OPSET, custom_op_handlers={"Erfc": (_convert_erfc, [])}
    )
    for entry in list(exported.graph.input):
        if entry.name in constants:
            exported.graph.input.remove(entry)
            exported.graph.initializer.append(onnx.numpy_helper.from_array(constants[entry.name].numpy(), entry.name))
    return exported.SerializeToString()


def _convert_erfc(context: Any, node: Any, name: str, args: list[Any]) -> None:
    """Write Erfc(x), which TensorFlow's GELU uses and tf2onnx does not know, as 1 - Erf(x)."""
    node.type = "Erf"
    one = context.make_const(f"{name}/one", np.ones((), np.float32))
    difference = context.make_node("Sub", [one.output[0], node.output[0]], name=f"{name}/difference")
    context.insert_node_on_output(difference, node.output[0])

"""Keras networks as ONNX graphs."""

import logging
from typing import Any

import keras
import numpy as np

OPSET = 17  # 13, 15 and 18 agreed with Keras just as well (MobileNetV2 at 400 x 300)


def to_onnx(model: keras.Model) -> bytes:
    """Export ``model`` as an ONNX graph that takes uint8 images (any batch, height, width, 3).

    Keras' own `model.export` differs in one thing: constants that layers hold as tensors, such as the statistics of
    `Normalization` in EfficientNet, become further inputs of its graph.

    Raises
    ------
    NotImplementedError
        With another backend of Keras than TensorFlow. What tf2onnx cannot convert raises errors of its own.
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

"""ONNX Runtime as an engine: an ONNX graph as a function of images, on the CPU."""

from collections.abc import Callable
from typing import Any

from posterity.pixels.decode import ImageArray


def session(graph: bytes, cpu_threads: int | None) -> Callable[[ImageArray], Any]:
    """The function that runs ``graph`` on uint8 images (n, height, width, 3), for ``cpu_threads``, or all, cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_threads or 0
    # Waiting threads do not spin but leave the cores to the threads that decode: a seventh faster on a busy machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only; it warns of each constant that it folds into another
    running = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = running.get_inputs()[0].name
    return lambda images: running.run(None, {name: images})[0]

"""OpenVINO as an engine (extra ``[openvino]``): an ONNX graph as a function of images, on the CPU.

Each request has one image. As many are at work as there are cores, and as many wait for them: on two cores bfloat16
then computed 153 images/s of EfficientNet-Lite0 at 400 x 300, against 130 in batches of 16. An image cannot depend on
others that way, and each is computed by one thread, so the result does not depend on the number of threads either.

Requests are waited for in turn. `openvino.AsyncInferQueue`, which calls back into Python, can hang where a process ends
(OpenVINO 2026.4: two of four trials that deleted it).
"""

import importlib.util
import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from posterity import choices
from posterity.errors import UserError
from posterity.pixels.decode import ImageArray

FloatArray = npt.NDArray[np.float32]
HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}  # of what a graph does not say itself


def check_installed() -> None:
    """Raise a `UserError` that says how to install the package if it is not there."""
    try:
        is_there = importlib.util.find_spec("openvino") is not None
    except ValueError:  # None in its place, as tests put it there
        is_there = False
    if not is_there:
        raise UserError(
            "Inference by OpenVINO (machine.device.inference_engine, machine.device.inference_precision) needs the "
            "package openvino, which is not installed. Run `pip install -c requirements.lock -e '.[openvino]'`, or set "
            "another engine."
        )


def session(
    graph: bytes, precision: choices.InferencePrecision, cpu_threads: int | None
) -> Callable[[ImageArray], FloatArray]:
    """The function that runs ``graph`` on uint8 images (n, height, width, 3), n at least 1; returns (n, ...).

    Parameters
    ----------
    graph : bytes
        Of `posterity.nn.inference.export` or `posterity.nn.inference.quantize`.
    precision : str
        ``bfloat16`` computes a float32 graph in bfloat16, but for what OpenVINO keeps in float32.
    cpu_threads : int, optional
        Cores to use; None for all.

    Raises
    ------
    ImportError
        Without the package.
    """
    import openvino

    threads = cpu_threads or os.cpu_count() or 1
    core = openvino.Core()
    network = core.read_model(graph)
    network.reshape([1, *(size.get_length() for size in list(network.input(0).partial_shape)[1:])])
    settings = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads,
    }
    compiled = core.compile_model(network, "CPU", settings)
    # A core that has finished one finds the next.
    requests = [compiled.create_infer_request() for _ in range(2 * threads)]

    def run(images: ImageArray) -> FloatArray:
        images = np.ascontiguousarray(images)
        outputs: list[FloatArray] = []
        for place in range(len(images) + len(requests)):
            request = requests[place % len(requests)]
            if place >= len(requests) and place - len(requests) < len(images):
                request.wait()
                outputs.append(request.get_output_tensor(0).data[0].copy())
            if place < len(images):
                request.start_async({0: images[place : place + 1]})
        return np.stack(outputs)

    return run

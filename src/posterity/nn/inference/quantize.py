"""A network in 8-bit integers: the ONNX graph, with scales that are the same whatever images it is later used on.

Static quantisation of ONNX Runtime: the convolutions, and what stands between them, compute in 8 bits. Weights have a
scale for each channel. Activations have one for each tensor, which the network's smallest and largest values on some
images fix. These images are drawn by `posterity.synthetic`, and not taken from the user's: the features of an image
would otherwise change whenever images are added, and none could be kept from one run to the next.

On 1,500 posters drawn images did as well as 200 other posters: features of EfficientNet-Lite0 then differed from those
in float32 by 5.4 % on average (6.6 % with the posters), those of MobileNetV2 by 8.0 % (8.8 %). With `OPERATIONS` alone
in 8 bits it is 4.8 % and 7.9 %. That was with 64 drawn images; with 16 features are no further off, at half the time
(EfficientNet-Lite0, three levels, 1,200 posters: 3.3 % instead of 3.4 %).

Pooling to a vector and what follows it stay in float32: joining several vectors, the layers of a head, the mean of
several heads or of two views. They take no time, and each of their roundings would show. So do matrix products, of
which networks such as ViT consist: these gain nothing.

References
----------
Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018.
"""

import io
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from posterity.pixels import resize
from posterity.pixels.decode import ImageArray
from posterity.synthetic import dataset, motifs, scene

NUM_IMAGES = 16
BLACK, WHITE = 0, 255
SEED = 0
# Code on which the scales depend.
SOURCES = (__file__, dataset.__file__, scene.__file__, motifs.__file__, resize.__file__)
BATCH_SIZE = 8
# What computes in 8 bits, unless it is `behind_pooling`. The rest of ONNX Runtime's own list would round outputs of
# pooling, and the head.
OPERATIONS = ("Conv", "Relu", "Clip", "Add", "MaxPool", "AveragePool", "Concat")
# What makes a vector of a map, or takes a vector.
POOLING = {"GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "MatMul", "Gemm", "Flatten"}


def calibration_images(height: int, width: int) -> ImageArray:
    """The images that fix the scales: uint8 (`NUM_IMAGES`, height, width, 3), always the same.

    Examples
    --------
    >>> images = calibration_images(8, 6)
    >>> images.shape, bool((images == calibration_images(8, 6)).all())
    ((16, 8, 6, 3), True)
    """
    drawn = [Image.open(io.BytesIO(dataset.draw_image(SEED, index))) for index in range(NUM_IMAGES)]
    images = np.stack([resize.resize_by_area(np.asarray(image.convert("RGB")), width, height) for image in drawn])
    # Few drawn images need not have both of them, and the steps of the pixels are then not whole levels.
    images[0, 0, 0], images[1, 0, 0] = BLACK, WHITE
    return images


def to_int8(graph: bytes) -> bytes:
    """Quantise a graph of `posterity.nn.inference.export.to_onnx`.

    Parameters
    ----------
    graph : bytes
        An ONNX graph with one input, uint8 (any batch, height, width, 3).

    Returns
    -------
    bytes
        The same graph with ``QuantizeLinear`` and ``DequantizeLinear`` around its convolutions.
    """
    import onnx
    import onnxruntime
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger().addFilter(_is_no_advice)
    onnxruntime.set_default_logger_severity(3)  # errors only; it warns of each constant that it folds into another
    try:
        with tempfile.TemporaryDirectory() as folder:
            whole, prepared, quantised = (Path(folder) / f"{name}.onnx" for name in ("whole", "prepared", "int8"))
            whole.write_bytes(graph)
            quant_pre_process(str(whole), str(prepared), skip_symbolic_shape=True)
            loaded = onnx.load(str(prepared))
            for number, node in enumerate(loaded.graph.node):
                node.name = f"{number}_{node.op_type}"  # what is excluded is told by its name, and not all have one
            onnx.save(loaded, str(prepared))
            tensor = loaded.graph.input[0]
            _, height, width, _ = (size.dim_value for size in tensor.type.tensor_type.shape.dim)
            quantization.quantize_static(
                str(prepared),
                str(quantised),
                _Reader(tensor.name, calibration_images(height, width)),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=list(OPERATIONS),
                nodes_to_exclude=behind_pooling(loaded.graph),
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
                calibration_providers=["CPUExecutionProvider"],
            )
            return quantised.read_bytes()
    finally:
        logging.getLogger().removeFilter(_is_no_advice)


def behind_pooling(graph: Any) -> list[str]:
    """Names of the nodes of an ONNX graph that come after the pooling to a vector that no convolution follows.

    So what recalibrates the channels of a map by their means (Hu et al. 2018) is not among them: its product goes on to
    the next convolution.
    """
    convolved: set[str] = set()  # what a convolution needs
    for node in reversed(graph.node):
        if node.op_type == "Conv" or convolved & set(node.output):
            convolved.update(node.input)
    pooled: set[str] = set()
    behind = []
    for node in graph.node:  # each stands behind those that it needs
        if pooled & set(node.input):
            behind.append(node.name)
            pooled.update(node.output)
        elif node.op_type in POOLING and not convolved & set(node.output):
            pooled.update(node.output)
    return behind


class _Reader:
    """Gives ONNX Runtime's calibration one batch after the other."""

    def __init__(self, name: str, images: ImageArray) -> None:
        self._batches = iter([{name: images[k : k + BATCH_SIZE]} for k in range(0, len(images), BATCH_SIZE)])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


def _is_no_advice(record: logging.LogRecord) -> bool:
    """Hold back ONNX Runtime's advice to prepare the graph, and its notes on tensors that have no range."""
    return record.levelno >= logging.ERROR

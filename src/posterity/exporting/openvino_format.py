"""A Keras model as an OpenVINO file: the ONNX graph, read and written by OpenVINO."""

from pathlib import Path
from typing import Any

from posterity.evaluation.decisions import Decisions
from posterity.exporting import onnx_format
from posterity.nn.inference.export_card import PREFIX, ExportCard

NAME = "model.xml"


def write(folder: Path, model: Any, decisions: Decisions, card: ExportCard) -> None:
    """Write `NAME` and its weights, ``model.bin``, to ``folder``; parameters as of `onnx_format.write`.

    For bf16 the file is that of float32: OpenVINO rounds as it computes. The metadata tell `posterity predict`, and
    the README tells everybody else, to ask it for that.
    """
    import openvino

    graph = onnx_format.merged(model, decisions, card)
    network = openvino.Core().read_model(graph.SerializeToString())
    metadata = card.to_metadata()
    for key in sorted(metadata):
        network.set_rt_info(metadata[key], [PREFIX.rstrip("."), key.removeprefix(PREFIX)])
    openvino.save_model(network, folder / NAME, compress_to_fp16=False)

"""A Keras model as an ONNX file: network, calibration and decisions in one graph."""

import logging
from pathlib import Path
from typing import Any

from posterity.evaluation.decisions import Decisions
from posterity.exporting.decision_graph import decision_function
from posterity.nn.inference import export, quantize
from posterity.nn.inference.export_card import ExportCard
from posterity.nn.inference.graph_names import INPUT, OUTPUTS

NAME = "model.onnx"


def write(folder: Path, model: Any, decisions: Decisions, card: ExportCard) -> None:
    """Write `NAME` to ``folder``.

    Parameters
    ----------
    folder : Path
        An existing folder.
    model : keras.Model
        uint8 images (n, height, width, 3) in, probabilities (n, num_labels) out.
    decisions : Decisions
        What follows the network.
    card : ExportCard
        For the metadata; its precision is float32 or int8.
    """
    graph = merged(model, decisions, card)
    (folder / NAME).write_bytes(graph.SerializeToString())


def merged(model: Any, decisions: Decisions, card: ExportCard) -> Any:
    """The graph as an ``onnx.ModelProto``; its metadata is that of ``card``.

    The network alone is in 8 bits for int8: what decides has to tell 0.4999 from 0.5.
    """
    import onnx
    import onnxruntime

    network = export.to_onnx(model)
    if card.precision == "int8":
        onnxruntime.set_default_logger_severity(3)  # it warns of each constant that it has no use for
        network = quantize.to_int8(network)
    first = onnx.load_from_string(network)
    second = _decisions(decisions, len(card.card.label_names))
    second.ir_version = first.ir_version
    flow = [(first.graph.output[0].name, second.graph.input[0].name)]
    whole = onnx.compose.merge_models(first, second, io_map=flow)
    names = [found.name for found in (*whole.graph.input, *whole.graph.output)]
    _rename(whole.graph, dict(zip(names, (INPUT, *OUTPUTS), strict=True)))
    _number(whole.graph)
    # The batch is free, and named: a runtime shows "n" instead of "unk__123".
    for value in (*whole.graph.input, *whole.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    opset = next(found.version for found in whole.opset_import if not found.domain)
    domains = {found.domain: found.version for found in whole.opset_import} | {"": opset}
    used = {node.domain for node in whole.graph.node} | {""}
    del whole.opset_import[:]
    whole.opset_import.extend(onnx.helper.make_opsetid(name, domains[name]) for name in sorted(used))
    whole.graph.name, whole.producer_name, whole.producer_version = "posterity", "posterity", card.posterity_version
    whole.doc_string = whole.graph.doc_string = ""
    del whole.metadata_props[:]
    onnx.helper.set_model_props(whole, card.to_metadata())
    onnx.checker.check_model(whole)
    return whole


def _decisions(decisions: Decisions, num_labels: int) -> Any:
    """Calibration and decisions as a graph of their own, whose names begin with ``decide/``."""
    import onnx
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    signature = [tf.TensorSpec((None, num_labels), tf.float32, name="scores")]
    function = tf.function(decision_function(decisions), input_signature=signature)
    graph, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=export.OPSET)
    return onnx.compose.add_prefix(graph, "decide/")


def _number(graph: Any) -> None:
    """Name nodes and tensors by their place: the names of TensorFlow count what a process has made before."""
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return  # graphs inside use the names of the one outside
    names: dict[str, str] = {"": "", **{name: name for name in (INPUT, *OUTPUTS)}}
    for place, node in enumerate(graph.node):
        for name in node.input:  # constants: all else has been named by the node that makes it
            names.setdefault(name, f"constant_{len(names)}")
        for number, name in enumerate(node.output):
            names.setdefault(name, f"{node.op_type}_{place}_{number}")
        node.name = f"{node.op_type}_{place}"
    _rename(graph, names)
    constants = {names[found.name]: found for found in graph.initializer if found.name in names}
    for name, found in constants.items():
        found.name = name
    ordered = [constants[name].SerializeToString() for name in names.values() if name in constants]
    del graph.initializer[:], graph.value_info[:]
    for content in ordered:
        graph.initializer.add().ParseFromString(content)


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Give tensors other names, wherever they stand in the graph."""
    for node in graph.node:
        for field in (node.input, node.output):
            for place, name in enumerate(field):
                field[place] = names.get(name, name)
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)

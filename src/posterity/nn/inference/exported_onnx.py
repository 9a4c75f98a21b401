"""Exported ONNX files in ONNX Runtime."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from posterity.nn.inference.export_file import Facts, card_of, read
from posterity.nn.inference.fixed_batches import in_batches
from posterity.nn.inference.graph_names import INPUT, OUTPUTS


def opened(file: Path, threads: int) -> Facts:
    """What `posterity.nn.inference.runtimes.opened` needs to know of the file; data outside it are refused."""
    import onnx
    import onnxruntime

    content = read(file)
    model = onnx.load_from_string(content)
    card = card_of({entry.key: entry.value for entry in model.metadata_props})
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model.graph)) or model.functions:
        raise ValueError("data outside the file, or functions of its own")
    del model
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # see `onnx_engine`
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    types = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(bool)": "bool"}
    ends = (*session.get_inputs(), *session.get_outputs())
    shapes = [(end.name, types.get(end.type, end.type), tuple(end.shape[1:])) for end in ends]
    return card, shapes, in_batches(lambda images: tuple(session.run(list(OUTPUTS), {INPUT: images})))


def _tensors(graph: Any) -> Iterator[Any]:
    """Every constant tensor of an ONNX graph and of the graphs inside it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _tensors(inner)

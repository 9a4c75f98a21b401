"""A SavedModel of TensorFlow, opened only if it can do nothing but compute.

A SavedModel is a program of TensorFlow operations, among which are some that read and write files. So its operations
are looked at before TensorFlow loads it.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from posterity.nn.inference.export_card import LABELS, ExportCard
from posterity.nn.inference.export_file import SAVED, Facts, Scored, read
from posterity.nn.inference.fixed_batches import in_batches
from posterity.nn.inference.graph_names import INPUT, OUTPUTS, SIGNATURE
from posterity.pixels.decode import ImageArray

# What has a state and is allowed: variables, and functions that call functions, which are looked at, too.
_STATEFUL = {"ReadVariableOp", "StatefulPartitionedCall", "If", "While"}
# Of what has no state, these words name what reads files, calls Python or talks to other processes.
_SUSPICIOUS = ("File", "Save", "Restore", "Load", "Py", "Dataset", "Print", "Debug", "Checkpoint", "Send", "Recv")
_OBJECTS = {"user_object", "variable", "constant", "captured_tensor", "function", "bare_concrete_function"}


def opened(folder: Path, threads: int) -> Facts:
    """What `posterity.nn.inference.runtimes.opened` needs to know of the SavedModel in ``folder``.

    TensorFlow has one pool of threads in a process: ``threads`` is not used.

    Raises
    ------
    ValueError
        If it holds an operation that is not allowed.
    Exception
        What TensorFlow raises for a damaged one.
    """
    from posterity.nn import device

    device.load_backend()
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    paths = [folder / SAVED, *sorted((folder / "variables").glob("variables.*")), folder / "assets.extra" / LABELS]
    files = {path.relative_to(folder): read(path, folder.parent) for path in paths}
    content = saved_model_pb2.SavedModel()
    content.ParseFromString(files[Path(SAVED)])
    check(content)
    card: ExportCard | Exception
    try:
        card = ExportCard.from_content(json.loads(files[Path("assets.extra", LABELS)]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        card = error
    with tempfile.TemporaryDirectory() as temporary:  # what is loaded is what was checked
        for path, found in files.items():
            (Path(temporary) / path).parent.mkdir(exist_ok=True)
            (Path(temporary) / path).write_bytes(found)
        loaded = tf.saved_model.load(temporary)
    function = loaded.signatures[SIGNATURE]
    ends = {**function.structured_input_signature[1], **function.structured_outputs}
    shapes = [(name, ends[name].dtype.name, tuple(ends[name].shape[1:])) for name in (INPUT, *OUTPUTS)]

    def run(images: ImageArray) -> Scored:
        found = function(**{INPUT: tf.constant(images)})
        return np.asarray(found[OUTPUTS[0]]), np.asarray(found[OUTPUTS[1]])

    run.loaded = loaded  # type: ignore[attr-defined]  # a function does not keep its variables alive
    return card, shapes, in_batches(run)


def check(content: Any) -> None:
    """Raise a ValueError if a SavedModel (its protocol buffer) can do anything but compute.

    What is looked at is what can run: the functions of its objects, and those that they call. Its main graph and the
    functions that save and restore variables are for the loader of version 1, which is not used.
    """
    if len(content.meta_graphs) != 1 or not content.meta_graphs[0].HasField("object_graph_def"):
        raise ValueError("a SavedModel of version 1")
    graph = content.meta_graphs[0]
    for node in graph.object_graph_def.nodes:
        kind = node.WhichOneof("kind")
        if kind not in _OBJECTS or node.saveable_objects:
            raise ValueError(f"an object of the kind {kind}, which is not allowed")
        if kind == "user_object" and node.user_object.identifier.startswith("_tf_keras"):
            raise ValueError("layers of Keras, which may hold code")
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    waiting, seen = list(graph.object_graph_def.concrete_functions), set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for node in functions[name].node_def:
            if node.op in functions:
                waiting.append(node.op)
            else:
                _check_operation(node.op)
            for value in node.attr.values():
                waiting += [found.name for found in (value.func, *value.list.func) if found.name]


def _check_operation(name: str) -> None:
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(name)
    is_pure = definition is not None and not definition.is_stateful and not any(word in name for word in _SUSPICIOUS)
    if not is_pure and name not in _STATEFUL:
        raise ValueError(f"the operation {name[:100]}, which is not allowed")

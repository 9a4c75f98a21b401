"""Exported model files in their own runtimes, without Keras; without TensorFlow, too, but for a SavedModel.

A file may come from anywhere. None can bring code along: no library of operations is loaded, no Python is unpickled,
and data outside the file are refused. What a file says of itself is checked before an image is computed.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posterity import errors, reading
from posterity.errors import UserError
from posterity.nn.inference.export_card import ExportCard
from posterity.nn.inference.graph_names import INPUT, OUTPUTS
from posterity.pixels.decode import ImageArray
from posterity.text import printable

Scored = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]
Run = Callable[[ImageArray], Scored]

BATCH_SIZE = 16
# The file of each format in the folder of an export, and the name of its runtime for people.
FILES = {"onnx": "model.onnx", "openvino": "model.xml", "litert": "model.tflite", "savedmodel": "model"}
NAMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT", "savedmodel": "TensorFlow"}
_PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert"}
_SUFFIXES = {".onnx": "onnx", ".xml": "openvino", ".tflite": "litert"}
SAVED = "saved_model.pb"


@dataclass(frozen=True)
class ExportedModel:
    """An exported model, ready to compute.

    Attributes
    ----------
    path : Path
        Its file, or the folder of a SavedModel.
    card : ExportCard
        What it says about itself.
    run : callable
        Takes uint8 images (n, height, width, 3), any n, and returns calibrated probabilities, float32 (n, num_labels),
        and decisions, bool (n, num_labels). What comes out for an image does not depend on the others.
    """

    path: Path
    card: ExportCard
    run: Run


def find(path: str | os.PathLike[str]) -> tuple[str, Path] | None:
    """Format and file of an exported model: ``path`` itself, or the one in the folder ``path``; None for others.

    Raises
    ------
    UserError
        If the folder holds several.
    """
    place = Path(path)
    if not os.path.isdir(place):  # noqa: PTH112 - Path raises where a folder may not be entered
        return (_SUFFIXES[place.suffix.lower()], place) if place.suffix.lower() in _SUFFIXES else None
    if (place / SAVED).is_file():
        return "savedmodel", place
    found = [(form, place / name) for form, name in FILES.items() if (place / name).exists()]
    found = [(form, file) for form, file in found if form != "savedmodel" or (file / SAVED).is_file()]
    if len(found) > 1:
        names = " and ".join(file.name for _, file in found)
        raise UserError(f"{printable(path)}: expected the folder of one export. Got {names}. Give one of these files.")
    return found[0] if found else None


def opened(path: str | os.PathLike[str], *, cpu_threads: int | None = None) -> ExportedModel:
    """Open an exported model and check it.

    Parameters
    ----------
    path : path
        The file, or the folder of the export.
    cpu_threads : int, optional
        Number of threads; None for one per core. TensorFlow has its own.

    Raises
    ------
    UserError
        If there is none, if its runtime is not installed, if the file is damaged or was not made by
        `posterity export`, or if the graph is not what its metadata say.
    """
    found = find(path)
    if found is None:
        names = ", ".join(FILES.values())
        raise UserError(
            f"{printable(path)}: expected a model of `posterity export` ({names}). Got none. Correct the path."
        )
    form, file = found
    check_installed(form)
    threads = cpu_threads or os.cpu_count() or 1
    try:
        if form == "savedmodel":
            from posterity.nn.inference import saved_model

            return _checked(form, file, *saved_model.opened(file))
        opener = {"onnx": _onnx, "openvino": _openvino, "litert": _litert}[form]
        return _checked(form, file, *opener(file, threads))
    except UserError:
        raise
    except Exception as error:  # whatever it is, it comes of the file: what the runtimes raise has no end
        if isinstance(error, OSError) and (text := errors.explained(error, file, "read")):
            raise UserError(text) from None
        raise _refusal(form, file, f"{type(error).__name__}: {reading.one_line(error)}") from None


def check_installed(form: str) -> None:
    """Raise a `UserError` that says how to install the runtime of a format if it is not there."""
    package = _PACKAGES.get(form)
    if package is None:
        return
    try:
        importlib.import_module(package)
    except ImportError:
        raise UserError(
            f"A model in the format {form} needs the package {package.replace('_', '-')}, which is not installed. Run "
            f"`pip install -c requirements.lock -e '.[{form}]'`."
        ) from None


def in_batches(run: Callable[[ImageArray], Scored]) -> Run:
    """Run batches of one size only, filled up with black images: kernels for other sizes round differently."""

    def function(images: ImageArray) -> Scored:
        parts = []
        for start in range(0, max(1, len(images)), BATCH_SIZE):  # once for no images: it gives the shape
            part = images[start : start + BATCH_SIZE]
            batch = np.zeros((BATCH_SIZE, *images.shape[1:]), np.uint8)
            batch[: len(part)] = part
            probabilities, decisions = run(batch)
            parts.append((probabilities[: len(part)], decisions[: len(part)]))
        return np.concatenate([one for one, _ in parts]), np.concatenate([other for _, other in parts])

    return function


def _refusal(form: str, file: Path, got: str) -> UserError:
    return UserError(
        f"{printable(file)}: expected a model that `posterity export {form}` made. Got {printable(got)}. "
        f"Make one with `posterity export {form}`, which needs the model of posterity (a .keras file)."
    )


Facts = tuple[ExportCard | Exception, list[tuple[Any, ...]], Run]


def _checked(
    form: str, file: Path, card: ExportCard | Exception, shapes: list[tuple[Any, ...]], run: Run
) -> ExportedModel:
    """Compare the input and the outputs, (name, type, sizes after the batch), with the card."""
    if isinstance(card, Exception):
        got = f"no {card} in its metadata" if isinstance(card, KeyError) else f"metadata with {reading.one_line(card)}"
        raise _refusal(form, file, got)
    if card.format != form:
        raise _refusal(form, file, f"metadata of the format {card.format}")
    image, num_labels = card.card.image, len(card.card.label_names)
    expected = [
        (INPUT, "uint8", (image.height, image.width, 3)),
        (OUTPUTS[0], "float32", (num_labels,)),
        (OUTPUTS[1], "bool", (num_labels,)),
    ]
    if shapes != expected:
        wrong = next((got for got, wanted in zip(shapes, expected, strict=False) if got != wanted), len(shapes))
        raise _refusal(form, file, f"a graph that is not what its metadata say: {wrong}")
    return ExportedModel(file, card, run)


def card_of(metadata: Any) -> ExportCard | Exception:
    """The card in the metadata of a file, or what is wrong with it."""
    try:
        return ExportCard.from_metadata(metadata)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        return error


def _onnx(file: Path, threads: int) -> Facts:
    import onnx
    import onnxruntime

    content = reading.raw_bytes(file)
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


def _openvino(file: Path, threads: int) -> Facts:
    import openvino

    content = reading.raw_bytes(file)
    weights = reading.raw_bytes(file.with_suffix(".bin"))
    core = openvino.Core()
    model = core.read_model(content, weights)
    card = card_of(_rt_info(model))
    types = {"u8": "uint8", "f32": "float32", "boolean": "bool"}
    shapes = []
    for end in (*model.inputs, *model.outputs):
        name, kind = end.get_any_name(), end.get_element_type().get_type_name()
        sizes = tuple(size.get_length() if size.is_static else None for size in list(end.partial_shape)[1:])
        shapes.append((name, types.get(kind, kind), sizes))
    hint = "bf16" if isinstance(card, ExportCard) and card.precision == "bf16" else "f32"
    return card, shapes, _openvino_run(core, model, hint, threads)


def _openvino_run(core: Any, model: Any, hint: str, threads: int) -> Run:
    """One image a request, and as many requests as threads, see `posterity.nn.inference.openvino_engine`."""
    model.reshape([1, *(size.get_length() for size in list(model.input(0).partial_shape)[1:])])
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads}
    compiled = core.compile_model(model, "CPU", settings)
    requests = [compiled.create_infer_request() for _ in range(threads)]

    def run(images: ImageArray) -> Scored:
        some = np.ascontiguousarray(images) if len(images) else np.zeros((1, *images.shape[1:]), np.uint8)
        found: list[tuple[Any, Any]] = []
        for place in range(len(some) + len(requests)):
            request = requests[place % len(requests)]
            if 0 <= place - len(requests) < len(some):
                request.wait()
                found.append(tuple(request.get_output_tensor(k).data[0].copy() for k in (0, 1)))
            if place < len(some):
                request.start_async({0: some[place : place + 1]})
        probabilities, decisions = (np.stack(column)[: len(images)] for column in zip(*found, strict=True))
        return probabilities, decisions.astype(bool)

    return run


def _rt_info(model: Any) -> dict[str, str]:
    """The metadata of an OpenVINO model under ``posterity``, with the keys that `ExportCard.from_metadata` reads."""
    from posterity.nn.inference.export_card import PREFIX

    if not model.has_rt_info([PREFIX.rstrip(".")]):
        return {}
    found = model.get_rt_info([PREFIX.rstrip(".")]).value
    return {PREFIX + key: str(getattr(value, "value", value)) for key, value in found.items()}


def _litert(file: Path, threads: int) -> Facts:
    from ai_edge_litert import interpreter, schema_py_generated

    content = reading.raw_bytes(file)
    running = interpreter.Interpreter(model_content=content, num_threads=threads)  # it verifies the content
    model = schema_py_generated.Model.GetRootAsModel(content, 0)
    metadata: dict[str, str] = {}
    for place in range(model.MetadataLength()):
        entry = model.Metadata(place)
        name = entry.Name().decode()
        if name.startswith("posterity."):
            metadata[name] = bytes(model.Buffers(entry.Buffer()).DataAsNumpy()).decode()
    card = card_of(metadata)
    runner_names = running.get_signature_list()
    inputs, outputs = (runner_names["serving_default"][side] for side in ("inputs", "outputs"))
    runner = running.get_signature_runner("serving_default")
    details = {**runner.get_input_details(), **runner.get_output_details()}
    shapes = [
        (name, np.dtype(details[name]["dtype"]).name, tuple(details[name]["shape_signature"][1:].tolist()))
        for name in (*sorted(inputs), *sorted(outputs, reverse=True))
    ]

    def run(images: ImageArray) -> Scored:
        found = runner(**{INPUT: images})
        return found[OUTPUTS[0]], found[OUTPUTS[1]]

    return card, shapes, in_batches(run)

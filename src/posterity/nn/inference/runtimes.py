"""Exported model files in their own runtimes, without Keras; without TensorFlow, too, but for a SavedModel.

A file may come from anywhere. None can bring code along: no library of operations is loaded, no Python is unpickled,
and data outside the file are refused. What a file says of itself is checked before an image is computed.
"""

import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posterity import errors, reading
from posterity.errors import UserError
from posterity.nn.inference import precision
from posterity.nn.inference.export_card import ExportCard
from posterity.nn.inference.export_file import SAVED, Facts, Run
from posterity.nn.inference.graph_names import INPUT, OUTPUTS
from posterity.text import printable

# The file of each format in the folder of an export, and the name of its runtime for people.
FILES = {"onnx": "model.onnx", "openvino": "model.xml", "litert": "model.tflite", "savedmodel": "model"}
NAMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT", "savedmodel": "TensorFlow"}
_PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert"}
_SUFFIXES = {".onnx": "onnx", ".xml": "openvino", ".tflite": "litert"}


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
    if not file.exists():
        raise UserError(
            f"{printable(file)}: there is no model here. Make one with `posterity export {form}`, or correct the path."
        )
    check_installed(form)
    threads = cpu_threads or os.cpu_count() or 1
    try:
        return _checked(form, file, *_facts(form, file, threads))
    except UserError:
        raise
    except Exception as error:  # whatever it is, it comes of the file: what the runtimes raise has no end
        if isinstance(error, OSError) and (text := errors.explained(error, file, "read")):
            raise UserError(text) from None
        said = re.sub(r"Exception from \S+: |\[ONNXRuntimeError\] : \d+ : ", "", " ".join(str(error).split()))
        raise _refusal(form, file, f"{type(error).__name__}: {said[:200].rstrip('.')}") from None


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


def check_cpu(place: object, form: str, at: str) -> None:
    """Refuse a precision that this CPU does not have in hardware; ``place`` begins the message.

    Without the instructions 8-bit sums overflow, see `posterity.nn.inference.precision`; LiteRT has kernels without
    that flaw.

    Raises
    ------
    UserError
        With what it would need.
    """
    needed = precision.INSTRUCTIONS.get({"bf16": "bfloat16"}.get(at, at), ())
    if form != "litert" and needed and not set(needed) & set(precision.cpu_flags()):
        raise UserError(
            f"{printable(place)}: {at} needs a CPU with {' or '.join(needed)} (see /proc/cpuinfo). This one has "
            "neither, or does not say so. Export the model in float32."
        )


def _facts(form: str, file: Path, threads: int) -> Facts:
    if form == "onnx":
        from posterity.nn.inference import exported_onnx

        return exported_onnx.opened(file, threads)
    if form == "openvino":
        from posterity.nn.inference import exported_openvino

        return exported_openvino.opened(file, threads)
    if form == "litert":
        from posterity.nn.inference import exported_litert

        return exported_litert.opened(file, threads)
    from posterity.nn.inference import exported_saved_model

    return exported_saved_model.opened(file, threads)


def _refusal(form: str, file: Path, got: str) -> UserError:
    return UserError(
        f"{printable(file)}: expected a model that `posterity export {form}` made. Got {printable(got)}. "
        f"Make one with `posterity export {form}`, which needs the model of posterity (a .keras file)."
    )


def _checked(
    form: str, file: Path, card: ExportCard | Exception, shapes: list[tuple[Any, ...]], run: Run
) -> ExportedModel:
    """Compare the input and the outputs, (name, type, sizes after the batch), with the card."""
    if isinstance(card, Exception):
        got = f"no {card} in its metadata" if isinstance(card, KeyError) else f"metadata with {reading.one_line(card)}"
        raise _refusal(form, file, got)
    if card.format != form:
        raise _refusal(form, file, f"metadata of the format {card.format}")
    check_cpu(file, form, card.precision)
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

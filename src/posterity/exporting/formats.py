"""The formats of `posterity export`: which precisions they have, which files they are, and which module writes them."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posterity.nn.inference.export_card import LABELS

if TYPE_CHECKING:
    from posterity.evaluation.decisions import Decisions
    from posterity.nn.inference.export_card import ExportCard

README = "README.md"
# The most by which a probability may differ from that of Keras in float32: rounding in another order gives up to some
# 1e-5 after 50 layers.
TOLERANCE = 1e-4
MAX_LOSS = 0.002  # what a lower precision may add to the loss, by default


@dataclass(frozen=True)
class Format:
    """A format of exported models.

    Attributes
    ----------
    precisions : tuple of str
        Of the arithmetic, as `posterity.nn.inference.export_card.ExportCard` names them.
    files : tuple of str
        All that an export holds, in the patterns of `posterity.files.foreign_entries`.
    module : str
        Writes the files of a model; imported when it is needed, since it imports Keras.
    """

    precisions: tuple[str, ...]
    files: tuple[str, ...]
    module: str

    def write(self, folder: Path, model: Any, decisions: "Decisions", card: "ExportCard") -> None:
        """Write a model to an existing folder; see `posterity.exporting.onnx_format.write`."""
        importlib.import_module(f"posterity.exporting.{self.module}").write(folder, model, decisions, card)


_SAVED = ("saved_model.pb", "variables/variables.*", f"assets.extra/{LABELS}", "assets/*")
FORMATS = {
    "onnx": Format(("float32", "int8"), ("model.onnx", LABELS, README), "onnx_format"),
    "savedmodel": Format(("float32",), (*(f"model/{name}" for name in _SAVED), LABELS, README), "saved_model_format"),
    "openvino": Format(("float32", "bf16", "int8"), ("model.xml", "model.bin", LABELS, README), "openvino_format"),
    "litert": Format(("float32", "int8"), ("model.tflite", LABELS, README), "litert_format"),
}

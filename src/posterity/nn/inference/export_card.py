"""What an exported model file says about itself: the card of the model, and where it comes from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posterity.model_card import ModelCard

FORMATS = ("onnx", "openvino", "litert", "savedmodel")
PRECISIONS = ("float32", "int8", "bf16")
PREFIX = "posterity."  # of the keys in the metadata of a file
LABELS = "labels.json"  # the same content beside the file, for people and other programs
_CARD = ("label_names", "label_frequencies", "image", "decisions")


@dataclass(frozen=True)
class ExportCard:
    """What a prediction needs to know about an exported model, and what people want to know.

    Attributes
    ----------
    card : ModelCard
        Labels, preparation of images, calibration and thresholds, as the Keras model has them. The exported graph
        holds calibration and thresholds already; here they are to be read.
    format : {"onnx", "openvino", "litert", "savedmodel"}
        What kind of file it is.
    precision : {"float32", "int8", "bf16"}
        Of the arithmetic.
    posterity_version : str
        The version that exported it.
    model_sha256 : str
        Digest of the Keras model that was exported.
    data_sha256 : str or None
        Digest of ``data/manifest.csv``, which lists all images with their digests and labels; None if the model was
        exported without the data of its run.
    """

    card: ModelCard
    format: str
    precision: str
    posterity_version: str
    model_sha256: str
    data_sha256: str | None = None

    def to_content(self) -> dict[str, Any]:
        """Plain JSON content, as `from_content` reads it."""
        content: dict[str, Any] = json.loads(self.card.to_json())
        return content | {
            "format": self.format,
            "precision": self.precision,
            "posterity_version": self.posterity_version,
            "model_sha256": self.model_sha256,
            "data_sha256": self.data_sha256,
        }

    def to_json(self, digests: Mapping[str, str] | None = None) -> str:
        """The content of `LABELS`; equal cards give the same text.

        Parameters
        ----------
        digests : mapping, optional
            The sha256 of the files of the export, by their paths in its folder; it goes into the key ``files``.
        """
        content = self.to_content() | ({"files": dict(digests)} if digests else {})
        return json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False) + "\n"

    def to_metadata(self) -> dict[str, str]:
        """The same as a mapping of texts, each of them JSON, for the metadata of a file."""
        content = self.to_content()
        return {PREFIX + key: json.dumps(content[key], sort_keys=True, ensure_ascii=False) for key in sorted(content)}

    @staticmethod
    def from_content(content: Any) -> "ExportCard":
        """Undo `to_content`.

        Raises
        ------
        KeyError, TypeError, ValueError, RecursionError
            If a field is missing, of another type or outside its range.
        """
        if not isinstance(content, Mapping):
            raise TypeError(f"a {type(content).__name__} instead of an object")
        card = ModelCard.from_json(json.dumps({key: content[key] for key in _CARD}))
        texts = {key: content[key] for key in ("format", "precision", "posterity_version", "model_sha256")}
        data = content.get("data_sha256")
        if not all(isinstance(text, str) for text in texts.values()) or not isinstance(data, str | None):
            raise TypeError("a field that is no text")
        for key, allowed in (("format", FORMATS), ("precision", PRECISIONS)):
            if texts[key] not in allowed:
                raise ValueError(f"{key}: expected one of {', '.join(allowed)}")
        return ExportCard(card, **texts, data_sha256=data)

    @staticmethod
    def from_metadata(metadata: Mapping[str, str]) -> "ExportCard":
        """Undo `to_metadata`; other keys are left alone. Raises what `from_content` does."""
        found = {key: text for key, text in metadata.items() if key.startswith(PREFIX)}
        return ExportCard.from_content({key.removeprefix(PREFIX): json.loads(text) for key, text in found.items()})

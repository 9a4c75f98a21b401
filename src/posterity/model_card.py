"""The model card: what a model file says about itself beyond its weights.

It names the labels, says how an image file becomes the network's input, and how scores become decided labels.
"""

import dataclasses
import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posterity import files
from posterity.errors import UserError
from posterity.pixels.spec import ImageSpec
from posterity.text import printable

CARD = "posterity.json"
NETWORK = {"config.json", "model.weights.h5"}  # what Keras puts into a model file
# What `zipfile` raises for a file that is cut short, changed, encrypted or no archive at all.
DAMAGED = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, RuntimeError, ValueError)


@dataclass(frozen=True)
class ModelCard:
    """What a prediction needs to know about a model; it is stored inside the model file.

    Attributes
    ----------
    label_names : tuple of str
        Names of the outputs, in order.
    label_frequencies : tuple of float
        Share of the training rows that carry each label: the best prediction for an image that nobody has looked at.
    image : ImageSpec
        How a file becomes the network's input.
    decisions : dict, optional
        Calibration and thresholds, as `dataclasses.asdict` writes `posterity.evaluation.decisions.Decisions` and
        `Decisions.from_content` reads them. A model that has just been trained has none: stage `evaluate` adds them.
        They are plain JSON content, so that training does not depend on the code that decides.
    """

    label_names: tuple[str, ...]
    label_frequencies: tuple[float, ...]
    image: ImageSpec
    decisions: dict[str, Any] | None = None

    def to_json(self) -> str:
        """Write the card as JSON; equal cards give the same text."""
        content = dataclasses.asdict(self) | {"image": self.image.to_content()}
        return json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False)

    def as_member(self) -> dict[str, bytes]:
        """Name and content of the card inside a model file."""
        return {CARD: self.to_json().encode()}

    @staticmethod
    def from_json(text: str) -> "ModelCard":
        """Read a card that `to_json` wrote."""
        content = json.loads(text)
        return ModelCard(
            label_names=tuple(content["label_names"]),
            label_frequencies=tuple(content["label_frequencies"]),
            image=ImageSpec.from_content(content["image"]),
            decisions=content["decisions"],
        )


def read(path: str | os.PathLike[str]) -> ModelCard:
    """Read the card of a model file, without Keras.

    Raises
    ------
    UserError
        If there is no such file, if it may not be read, or if it is not a model that this pipeline trained.
    """
    if not Path(path).is_file():
        raise UserError(
            f"{printable(path)}: there is no model here. Train one with `dvc repro`, or fetch it with `dvc pull`."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            if not NETWORK.issubset(archive.namelist()):
                raise zipfile.BadZipFile
            content = archive.read(CARD)
    except OSError as error:
        raise UserError(
            f"{printable(path)}: expected a model that can be read. Got: {error.strerror or error}."
        ) from None
    except DAMAGED:
        raise UserError(
            f"{printable(path)}: expected a model that this pipeline trained (a .keras file with {CARD} inside). "
            "Train one with `dvc repro`."
        ) from None
    try:
        return ModelCard.from_json(content.decode())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unreadable(path, error) from None


def unreadable(path: str | os.PathLike[str], reason: Exception | str) -> UserError:
    """Make the error for a card that this version cannot make sense of."""
    got = f"no {reason}" if isinstance(reason, KeyError) else reason
    return UserError(
        f"{printable(path)}: expected {CARD} inside as this version of posterity writes it. Got: {printable(got)}. "
        "Train the model again with `dvc repro`, or use the version that wrote it."
    )


def copy_with(source: str | os.PathLike[str], target: str | os.PathLike[str], card: ModelCard) -> None:
    """Write the model in the file ``source`` to ``target`` with another card, without Keras."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    files.write_archive(target, members | card.as_member())

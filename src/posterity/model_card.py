"""What a model has to know about itself beyond its weights: its labels, how its images are made, how it decides."""

import dataclasses
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from posterity import files
from posterity.errors import UserError
from posterity.evaluation.decisions import Decisions
from posterity.pixels.decode import ImageSpec

CARD = "posterity.json"


@dataclass(frozen=True)
class ModelCard:
    """Travels inside the model file, so that a prediction needs nothing else.

    Attributes
    ----------
    label_names : tuple of str
        Names of the outputs, in order.
    label_frequencies : tuple of float
        Share of the training rows that carry each label: the prediction of someone who has not seen the image.
    image : ImageSpec
        How a file becomes the network's input.
    decisions : Decisions, optional
        Calibration and thresholds; a network fresh from training has none.
    """

    label_names: tuple[str, ...]
    label_frequencies: tuple[float, ...]
    image: ImageSpec
    decisions: Decisions | None = None

    def to_json(self) -> str:
        """Serialise, always to the same text for the same card."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, indent=2, ensure_ascii=False)

    def as_member(self) -> dict[str, bytes]:
        """Name and content of the card inside a model file."""
        return {CARD: self.to_json().encode()}

    @staticmethod
    def from_json(text: str) -> "ModelCard":
        """Undo `to_json`."""
        content = json.loads(text)
        decisions = content["decisions"]
        return ModelCard(
            label_names=tuple(content["label_names"]),
            label_frequencies=tuple(content["label_frequencies"]),
            image=ImageSpec(**content["image"]),
            decisions=None if decisions is None else Decisions.from_content(decisions),
        )


def read(path: str | os.PathLike[str]) -> ModelCard:
    """Read the card of a model file, without Keras.

    Raises
    ------
    UserError
        If the file is missing or not a model of this project.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: there is no model here. Train one with `dvc repro`, or fetch it with `dvc pull`.")
    try:
        with zipfile.ZipFile(path) as archive:
            return ModelCard.from_json(archive.read(CARD).decode())
    except (zipfile.BadZipFile, KeyError, TypeError):
        raise UserError(
            f"{path}: expected a model that this pipeline trained (a .keras file with {CARD} inside). "
            "Train one with `dvc repro`."
        ) from None


def copy_with(source: str | os.PathLike[str], target: str | os.PathLike[str], card: ModelCard) -> None:
    """Write the model of the file ``source`` to ``target`` with another card, without Keras."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    files.write_archive(target, members | card.as_member())

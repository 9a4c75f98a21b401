"""What a model has to know about itself beyond its weights: its labels and how its images are made."""

import json
from dataclasses import asdict, dataclass

from posterity.images import ImageSpec


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
    """

    label_names: tuple[str, ...]
    label_frequencies: tuple[float, ...]
    image: ImageSpec

    def to_json(self) -> str:
        """Serialise, always to the same text for the same card."""
        return json.dumps(asdict(self), sort_keys=True, indent=2, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> "ModelCard":
        """Undo `to_json`."""
        content = json.loads(text)
        return ModelCard(
            label_names=tuple(content["label_names"]),
            label_frequencies=tuple(content["label_frequencies"]),
            image=ImageSpec(**content["image"]),
        )

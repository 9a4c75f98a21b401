"""Model files: a network in a Keras archive with the model card inside."""

import os

import keras

from posterity import card as cards
from posterity import files
from posterity.card import ModelCard
from posterity.nn import archive


def save(model: keras.Model, card: ModelCard, path: str | os.PathLike[str]) -> None:
    """Write ``model`` and ``card`` to one ``.keras`` file, which plain `keras.saving.load_model` reads, too."""
    files.write_archive(path, archive.members(model) | {cards.CARD: card.to_json().encode()})


def load(path: str | os.PathLike[str]) -> tuple[keras.Model, ModelCard]:
    """Read what `save` wrote.

    Raises
    ------
    UserError
        If the file is missing or not a model of this project.
    """
    card = cards.read(path)
    return archive.load(path), card

"""The network of a model file that is open, as its card says that it is."""

import keras

from posterity.errors import UserError
from posterity.model_card import ModelFile
from posterity.nn import keras_file


def load(model: ModelFile) -> keras.Model:
    """Read the network of an open model file; no code from it is run.

    Returns
    -------
    keras.Model
        uint8 images (batch, height, width, 3) in, probabilities (batch, num_labels) out.

    Raises
    ------
    UserError
        If it cannot be read, or if it takes other images or gives another number of scores than the card says.
    """
    network = keras_file.load(model.path, model.stream)
    image = model.card.image
    expected = [(None, image.height, image.width, 3)], [(None, len(model.card.label_names))]
    sides = (getattr(network, "inputs", None) or [], getattr(network, "outputs", None) or [])
    got = tuple([tuple(tensor.shape) for tensor in side] for side in sides)
    if got != expected:
        raise UserError(
            f"{model.path}: expected a network with the inputs {expected[0]} and the outputs {expected[1]}, as the "
            f"card inside says. Got the inputs {got[0]} and the outputs {got[1]}. Train it again with `dvc repro`."
        )
    return network

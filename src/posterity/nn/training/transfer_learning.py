"""Transfer learning: training a head on the features of pretrained backbones, then fine-tuning the backbones."""

import sys
from typing import TYPE_CHECKING

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import layers

from posterity.cache.features import FeatureCache
from posterity.cache.tensors import TensorCache
from posterity.nn import keras_file
from posterity.nn.networks import assemble, tuning
from posterity.nn.networks.head import build_head
from posterity.nn.training.batches import images_of, vectors_of
from posterity.nn.training.trainer import Phase, Trained, Trainer

if TYPE_CHECKING:
    from posterity.config.schema import ModelParams

TOLERANCE = 1e-5  # float32 sums in another order
FINETUNE = "finetune"
WRONG = 0.01  # wrong preprocessing changes probabilities by this much or more


def train(trainer: Trainer, cache: TensorCache, features: FeatureCache, model: "ModelParams") -> Trained:
    """Train a head on cached features and, with ``mode: finetune``, then the backbones below it on images.

    Raises
    ------
    RuntimeError
        If the assembled model and the head on the cached features do not agree, see `check_assembled`.
    """
    recipe, data = trainer.recipe, trainer.data
    backbone = keras_file.load(features.backbone_path)
    backbone.trainable = False
    head = build_head(
        *features.moments(data.train_rows),
        data.label_frequencies,
        hidden_units=model.head.hidden_units,
        dropout=model.head.dropout,
    )
    vector = keras.Input((features.length,), name="vector")
    network = assemble.network(vector, [], head, name="on_features", mixup=recipe.mixup > 0)
    history = trainer.fit(
        [Phase("head", network.training, recipe.epochs)],
        vectors_of(features, flip=recipe.augment.flip),
        vectors_of(features),
        learning_rate=recipe.learning_rate,
    )
    whole = assemble.with_head(backbone, head)
    scores = trainer.score(head, vectors_of(features))
    check_assembled(whole, cache.images(data.validation_rows[:4]), scores[:4])
    if model.mode == "frozen" or not trainer.checkpoints.goes_on_to(FINETUNE):
        return Trained(whole, history, scores)

    tuned = _finetune(whole, backbone, trainer, cache, model)
    tuned["epoch"] += history["epoch"].iloc[-1]
    history = pd.concat([history, tuned], ignore_index=True)
    return Trained(whole, history, trainer.score(whole, images_of(cache)))


def _finetune(
    whole: keras.Model, backbone: keras.Model, trainer: Trainer, cache: TensorCache, model: "ModelParams"
) -> pd.DataFrame:
    """Train ``whole``, of which ``backbone`` is a part, in place on images; return the history."""
    for number, layer in enumerate(layer for layer in backbone.layers if isinstance(layer, keras.Model)):
        if model.finetune.lora_rank is None:
            tuning.freeze(layer, model.finetune.layers)
        else:
            seed = trainer.seed + 1000 * number
            tuning.add_lora(layer, model.finetune.lora_rank, model.finetune.layers, seed=seed)
    images = keras.Input(whole.input_shape[1:], dtype="uint8", name="image")
    # The backbone's input is uint8, which cuts off the fractions of mixed images: adding half a level rounds instead.
    floats = layers.Rescaling(1.0, offset=0.5, dtype="float32", name="floats")
    network = assemble.network(
        images,
        [floats],
        whole,
        name="finetune",
        augment=trainer.augmentation((0.0, 255.0)),
        mixup=trainer.recipe.mixup > 0,
    )
    phases = [Phase(FINETUNE, network.training, model.finetune.epochs)]
    history = trainer.fit_on_images(phases, cache, learning_rate=model.finetune.learning_rate)
    tuning.settle(backbone)
    return history


def check_assembled(whole: keras.Model, images: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32]) -> None:
    """Compare the assembled model with the head on cached features.

    Features that were computed in 16 bits, or those of a deep network by another engine, agree less well than
    `TOLERANCE`; a warning on stderr says so.

    Parameters
    ----------
    whole : keras.Model
        Backbone and head as one model.
    images : array of uint8, shape (n, height, width, 3)
        Some cached images.
    expected : array of float32, shape (n, num_labels)
        Probabilities that the head gives for the cached features of these images.

    Raises
    ------
    RuntimeError
        If the difference is larger than rounding can explain.
    """
    difference = float(np.abs(whole.predict_on_batch(images) - expected).max())
    problem = f"the assembled model differs by {difference:.2g} from the head on the cached features of the same images"
    if difference > WRONG:
        raise RuntimeError(problem)
    if difference > TOLERANCE:
        print(f"WARNING: {problem}; expected at most {TOLERANCE:g}.", file=sys.stderr)

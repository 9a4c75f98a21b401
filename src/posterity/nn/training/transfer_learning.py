"""Transfer learning: training a head on the features of pretrained backbones, then fine-tuning the backbones."""

import sys
from typing import TYPE_CHECKING

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import layers

from posterity import choices
from posterity.cache.features import FeatureCache
from posterity.cache.tensors import TensorCache
from posterity.nn import keras_file
from posterity.nn.networks import assemble, backbones
from posterity.nn.networks.head import build_head
from posterity.nn.training.batches import images_of, vectors_of
from posterity.nn.training.trainer import Phase, Trained, Trainer

if TYPE_CHECKING:
    from posterity.config.schema import ModelParams

TOLERANCE = 1e-5  # float32 sums in another order
FINETUNE = "finetune"
WRONG = 0.01  # wrong preprocessing changes probabilities by this much or more
NUM_COMPARED = {"float32": 4, "bfloat16": 32, "int8": 32}  # images; a mean wants more of them than a largest value


def train(
    trainer: Trainer,
    cache: TensorCache,
    features: FeatureCache,
    model: "ModelParams",
    *,
    precision: choices.InferencePrecision = "float32",
) -> Trained:
    """Train a head on cached features and, with ``mode: finetune``, then the backbones below it on images.

    ``precision`` is that of the cached features. The backbones of the result compute in float32.

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
    compared = NUM_COMPARED[precision]
    check_assembled(whole, cache.images(data.validation_rows[:compared]), scores[:compared], precision=precision)
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
    for layer in backbone.layers:
        if isinstance(layer, keras.Model):
            backbones.freeze(layer, model.finetune.layers)
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
    return trainer.fit_on_images(phases, cache, learning_rate=model.finetune.learning_rate)


def check_assembled(
    whole: keras.Model,
    images: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.float32],
    *,
    precision: choices.InferencePrecision = "float32",
) -> None:
    """Compare the assembled model with the head on cached features.

    Features that were computed in 16 bits, or those of a deep network by another engine, agree less well than
    `TOLERANCE`; a warning on stderr says so. In float32 no probability may differ by more than `WRONG`.

    At a lower precision single probabilities differ by up to 0.3. Then the mean difference may be no more than `WRONG`,
    and a line on stderr states it. On posters, with a hidden layer of 512, it was 0.003 for EfficientNet-Lite0 in int8
    and in bfloat16, and 0.005 and 0.007 for MobileNetV2; 32 images had 0.0076 at most. Images that are prepared wrongly
    give more: moved by 8 pixels 0.015, half as bright 0.022, with red and blue exchanged 0.034.

    Parameters
    ----------
    whole : keras.Model
        Backbone and head as one model.
    images : array of uint8, shape (n, height, width, 3)
        Some cached images.
    expected : array of float32, shape (n, num_labels)
        Probabilities that the head gives for the cached features of these images.
    precision : {"float32", "bfloat16", "int8"}
        Of the cached features.

    Raises
    ------
    RuntimeError
        If the difference is larger than rounding, or the precision, can explain.
    """
    differences = np.abs(whole.predict_on_batch(images) - expected)
    if precision != "float32":
        mean = float(differences.mean())
        problem = f"the model in float32 differs by {mean:.2g} on average from the head on cached {precision} features"
        if not mean <= WRONG:
            raise RuntimeError(f"{problem}; expected at most {WRONG:g}")
        print(f"{problem[0].upper()}{problem[1:]} (allowed: {WRONG:g}).", file=sys.stderr)
        return
    difference = float(differences.max())
    problem = f"the assembled model differs by {difference:.2g} from the head on the cached features of the same images"
    if difference > WRONG:
        raise RuntimeError(problem)
    if difference > TOLERANCE:
        print(f"WARNING: {problem}; expected at most {TOLERANCE:g}.", file=sys.stderr)

"""Transfer learning: training a head on the features of pretrained backbones, then fine-tuning the backbones."""

import sys
from collections.abc import Sequence
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
from posterity.nn.networks import assemble, tuning
from posterity.nn.networks.head import behind_dropout, build_head, standardisation
from posterity.nn.training.batches import IntArray, images_of, standardised_vectors_of, vectors_of
from posterity.nn.training.trainer import Fitted, Phase, Trainer

if TYPE_CHECKING:
    from posterity.config.schema import HeadParams, ModelParams

TOLERANCE = 1e-5  # float32 sums in another order
FINETUNE = "finetune"
MOST_HELD = 1 << 30  # bytes of features that are kept in memory: those of 7,254 posters are 0.13 GB
WRONG = 0.01  # wrong preprocessing changes probabilities by this much or more
NUM_COMPARED = {"float32": 4, "bfloat16": 32, "int8": 32}  # images; a mean wants more of them than a largest value


class TransferLearning:
    """Trains a head on cached features and, with ``mode: finetune``, then the backbones below it on images.

    Parameters
    ----------
    cache : TensorCache
        The images.
    features : FeatureCache
        What the backbones see in them.
    model : ModelParams
        Section ``model`` of params.yaml.
    precision : {"float32", "bfloat16", "int8"}
        That of the cached features. The backbones of the result compute in float32.
    """

    def __init__(
        self,
        cache: TensorCache,
        features: FeatureCache,
        model: "ModelParams",
        precision: choices.InferencePrecision = "float32",
    ) -> None:
        self.cache = cache
        self.features = features
        self.model = model
        self.precision = precision

    def fit(self, trainer: Trainer) -> Fitted:
        data = trainer.data
        on_features = fit_head(trainer, self.features, self.model.head)
        if self.model.mode == "frozen":
            return on_features
        head, history = on_features.network, on_features.history
        backbone = self._backbone()  # one of its own for each network that is fine-tuned
        some = data.validation_rows[: NUM_COMPARED[self.precision]]
        whole = self._whole([head], backbone, some, on_features.score(some))
        if not trainer.checkpoints.goes_on_to(FINETUNE):
            return Fitted(whole, history, on_features.score)
        done = int(history["epoch"].iloc[-1])
        tuned = _finetune(whole, backbone, trainer, self.cache, self.model, epochs_before=done)
        history = pd.concat([history, tuned], ignore_index=True)
        return Fitted(whole, history, lambda rows: trainer.score(whole, images_of(self.cache), rows))

    def join(self, networks: Sequence[keras.Model], rows: IntArray, scores: npt.NDArray[np.float32]) -> keras.Model:
        if self.model.mode == "finetune":
            return assemble.average(networks, name=networks[0].name)
        return self._whole(networks, self._backbone(), rows, scores)

    def _whole(
        self, heads: Sequence[keras.Model], backbone: keras.Model, rows: IntArray, scores: npt.NDArray[np.float32]
    ) -> keras.Model:
        """Put the mean of ``heads`` on ``backbone``, and compare the result with their ``scores`` of some rows."""
        head = assemble.average(heads, name="head")
        whole = assemble.with_head(backbone, head, both_views=self.model.head.both_views)
        compared = NUM_COMPARED[self.precision]
        check_assembled(whole, self.cache.images(rows[:compared]), scores[:compared], precision=self.precision)
        return whole

    def _backbone(self) -> keras.Model:
        backbone = keras_file.load(self.features.backbone_path)
        backbone.trainable = False
        return backbone


def fit_head(trainer: Trainer, features: FeatureCache, settings: "HeadParams") -> Fitted:
    """Train a head on cached features.

    Parameters
    ----------
    trainer : Trainer
        What is to be trained on, and how.
    features : FeatureCache
        What the backbones see in the images of the cache.
    settings : HeadParams
        Section ``model.head`` of params.yaml.
    """
    recipe, data = trainer.recipe, trainer.data
    features.hold(MOST_HELD)
    moments = features.moments(data.train_rows)
    head = build_head(*moments, data.label_frequencies, hidden_units=settings.hidden_units, dropout=settings.dropout)
    scale = standardisation(*moments)
    history = trainer.fit(
        [Phase("head", behind_dropout(head), recipe.epochs)],
        standardised_vectors_of(features, *scale, flip=recipe.augment.flip, dropout=settings.dropout),
        standardised_vectors_of(features, *scale),
        learning_rate=recipe.learning_rate,
    )

    def score(rows: IntArray) -> npt.NDArray[np.float32]:
        views = [vectors_of(features), vectors_of(features, mirrored=True)][: 2 if settings.both_views else 1]
        found = [trainer.score(head, view, rows) for view in views]
        return np.asarray(np.mean(found, axis=0, dtype=np.float64), dtype=np.float32)

    return Fitted(head, history, score)


def _finetune(
    whole: keras.Model,
    backbone: keras.Model,
    trainer: Trainer,
    cache: TensorCache,
    model: "ModelParams",
    *,
    epochs_before: int,
) -> pd.DataFrame:
    """Train ``whole``, of which ``backbone`` is a part, in place on images; return the history."""
    for number, layer in enumerate(layer for layer in backbone.layers if isinstance(layer, keras.Model)):
        if model.finetune.lora_rank is None:
            trained = tuning.freeze(layer, model.finetune.layers)
            if model.finetune.layers is not None and trained < model.finetune.layers:
                print(
                    f"WARNING: model.finetune.layers is {model.finetune.layers}, and {model.backbone[number]} has "
                    f"{trained}: all of them are trained.",
                    file=sys.stderr,
                )
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
    rate = model.finetune.learning_rate
    history = trainer.fit_on_images(phases, cache, learning_rate=rate, epochs_before=epochs_before)
    tuning.settle(backbone)
    return history


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

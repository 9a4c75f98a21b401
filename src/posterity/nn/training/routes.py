"""The two ways to a trained model: from scratch, or from pretrained backbones."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import layers

from posterity.cache.features import FeatureCache
from posterity.cache.tensors import TensorCache
from posterity.nn import keras_file
from posterity.nn.networks import backbones, scratch
from posterity.nn.networks.head import assemble, build_head
from posterity.nn.training import device_images, fit
from posterity.nn.training.batches import Batches, images_of, vectors_of
from posterity.nn.training.trainer import Phase, Trainer

if TYPE_CHECKING:
    from posterity.config.schema import ModelParams

ROUTE_TOLERANCE = 1e-5  # float32 sums in another order
WRONG = 0.01  # what a wrong preprocessing moves probabilities by, and more


@dataclass(frozen=True)
class Trained:
    """What a training leaves.

    Attributes
    ----------
    model : keras.Model
        Images uint8 (batch, height, width, 3) in, probabilities float32 (batch, num_labels) out.
    history : DataFrame
        ``phase``, ``epoch`` and losses, see `posterity.nn.training.fit.fit`; epochs are counted on from phase to phase.
    scores : ndarray of float32, shape (num_validation_rows, num_labels)
        Probabilities of the validation rows.
    """

    model: keras.Model
    history: pd.DataFrame
    scores: npt.NDArray[np.float32]


def from_scratch(trainer: Trainer, cache: TensorCache, name: str) -> Trained:
    """Train the network called ``name``, a key of `models.BLUEPRINTS`, on the images of ``cache``."""
    train = trainer.train
    network = scratch.build(
        name,
        height=cache.spec.height,
        width=cache.spec.width,
        label_frequencies=trainer.label_frequencies,
        augmentation=trainer.augmentation,
        mixup=train.mixup > 0,
        half_size=train.half_size_epochs > 0,
        ema=train.ema,
    )
    phases = [Phase("train", network.training, train.epochs - train.half_size_epochs)]
    if network.half_size is not None:
        phases.insert(0, Phase("half_size", network.half_size, train.half_size_epochs))
    history = _fit_on_images(trainer, cache, phases, learning_rate=train.learning_rate)
    return Trained(network.model, history, _scores(network.model, trainer, cache))


def from_backbone(trainer: Trainer, cache: TensorCache, features: FeatureCache, model: "ModelParams") -> Trained:
    """Train a head on cached features and, with ``mode: finetune``, then the backbone below it.

    Raises
    ------
    RuntimeError
        If the assembled model does not give the scores that the head gives on the cached features (`check_route`).
    """
    train = trainer.train
    backbone = keras_file.load(features.backbone_path)
    backbone.trainable = False
    head = build_head(
        *features.moments(trainer.train_rows),
        trainer.label_frequencies,
        hidden_units=model.head.hidden_units,
        dropout=model.head.dropout,
    )
    network = scratch.network(
        keras.Input((features.length,), name="vector"), [], head, name="on_features", mixup=train.mixup > 0
    )
    vectors = vectors_of(features)
    history = trainer.fit(
        [Phase("head", network.training, train.epochs)],
        vectors_of(features, flip=train.augment.flip),
        vectors,
        learning_rate=train.learning_rate,
    )
    whole = assemble(backbone, head)
    rows = trainer.validation_rows
    batches = Batches(vectors, cache.targets, rows, fit.BATCH_SIZE)
    scores = fit.predict_batches(head, batches)
    check_route(whole, cache.images(rows[:4]), scores[:4])
    if model.mode == "frozen":
        return Trained(whole, history, scores)

    tuned = _finetune(whole, backbone, trainer, cache, model)
    tuned["epoch"] += history["epoch"].iloc[-1]
    return Trained(whole, pd.concat([history, tuned], ignore_index=True), _scores(whole, trainer, cache))


def _finetune(
    whole: keras.Model, backbone: keras.Model, trainer: Trainer, cache: TensorCache, model: "ModelParams"
) -> pd.DataFrame:
    """Train ``whole``, of which ``backbone`` is a part, in place on images; the history of that."""
    for each in backbone.layers:
        if isinstance(each, keras.Model):
            backbones.freeze(each, model.finetune.layers)
    images = keras.Input(whole.input_shape[1:], dtype="uint8", name="image")
    # The backbone's input is uint8 and cuts fractions off, such as those of mixed images: half a level more rounds.
    floats = layers.Rescaling(1.0, offset=0.5, dtype="float32", name="floats")
    network = scratch.network(
        images,
        [floats],
        whole,
        name="finetune",
        augment=trainer.augmentation((0.0, 255.0)),
        mixup=trainer.train.mixup > 0,
    )
    phases = [Phase("finetune", network.training, model.finetune.epochs)]
    return _fit_on_images(trainer, cache, phases, learning_rate=model.finetune.learning_rate)


def _fit_on_images(trainer: Trainer, cache: TensorCache, phases: list[Phase], *, learning_rate: float) -> pd.DataFrame:
    source = images_of(cache)
    if trainer.cache_images:
        images, source = device_images.Images(cache), device_images.rows_only()
        phases = [phase._replace(model=device_images.by_rows(phase.model, images)) for phase in phases]
    return trainer.fit(phases, source, source, learning_rate=learning_rate)


def check_route(whole: keras.Model, images: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32]) -> None:
    """Compare the assembled model on some images, uint8, with what the head said to their cached features.

    Features that were computed in 16 bits, or by another engine for a deep network, agree less well than
    `ROUTE_TOLERANCE`, which is said on stderr.

    Raises
    ------
    RuntimeError
        If the difference is more than rounding can make.
    """
    difference = float(np.abs(whole.predict_on_batch(images) - expected).max())
    problem = f"the assembled model differs by {difference:.2g} from the head on the cached features of the same images"
    if difference > WRONG:
        raise RuntimeError(problem)
    if difference > ROUTE_TOLERANCE:
        print(f"WARNING: {problem}; expected at most {ROUTE_TOLERANCE:g}.", file=sys.stderr)


def _scores(model: keras.Model, trainer: Trainer, cache: TensorCache) -> npt.NDArray[np.float32]:
    batches = Batches(images_of(cache), cache.targets, trainer.validation_rows, fit.BATCH_SIZE)
    return fit.predict_batches(model, batches)

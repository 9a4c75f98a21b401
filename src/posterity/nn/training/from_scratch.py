"""Training a network from scratch."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from posterity.cache.tensors import TensorCache
from posterity.nn.networks import assemble, scratch
from posterity.nn.training.batches import IntArray, images_of
from posterity.nn.training.trainer import Fitted, Phase, Trainer


@dataclass(frozen=True)
class FromScratch:
    """Trains the network called ``name``, a key of `scratch.BLUEPRINTS`, on the images of ``cache``.

    With ``half_size_epochs`` in the recipe, the first epochs see images of half the size.
    """

    cache: TensorCache
    name: str

    def fit(self, trainer: Trainer) -> Fitted:
        recipe, cache = trainer.recipe, self.cache
        network = scratch.build(
            self.name,
            height=cache.spec.height,
            width=cache.spec.width,
            label_frequencies=trainer.data.label_frequencies,
            augmentation=trainer.augmentation,
            mixup=recipe.mixup > 0,
            half_size=recipe.half_size_epochs > 0,
            ema=recipe.ema,
        )
        phases = [Phase("train", network.training, recipe.epochs - recipe.half_size_epochs)]
        if network.half_size is not None:
            phases.insert(0, Phase("half_size", network.half_size, recipe.half_size_epochs))
        history = trainer.fit_on_images(phases, cache, learning_rate=recipe.learning_rate)
        return Fitted(network.model, history, lambda rows: trainer.score(network.model, images_of(cache), rows))

    def join(self, networks: Sequence[keras.Model], rows: IntArray, scores: npt.NDArray[np.float32]) -> keras.Model:
        return assemble.average(networks, name=networks[0].name)

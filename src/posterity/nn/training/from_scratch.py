"""Training a network from scratch."""

from posterity.cache.tensors import TensorCache
from posterity.nn.networks import scratch
from posterity.nn.training.batches import images_of
from posterity.nn.training.trainer import Phase, Trained, Trainer


def train(trainer: Trainer, cache: TensorCache, name: str) -> Trained:
    """Train the network called ``name``, a key of `scratch.BLUEPRINTS`, on the images of ``cache``.

    With ``half_size_epochs`` in the recipe, the first epochs see images of half the size.
    """
    recipe = trainer.recipe
    network = scratch.build(
        name,
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
    return Trained(network.model, history, trainer.score(network.model, images_of(cache)))

"""Models put together from parts: with what changes training images, or a head on top of a backbone."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from posterity.nn.networks.augment import Mix


@dataclass(frozen=True)
class Network:
    """A model in two forms that share their weights.

    Attributes
    ----------
    model : keras.Model
        Inputs in, probabilities float32 (batch, num_labels) out: the form that is saved and that predicts.
    training : keras.Model
        The form that is fitted: the same with augmentation and mixup before the layers that have weights. Both act in
        training only. With mixup its inputs are ``{"input", "partner", "share"}``, as `training.batches.Batches`
        serves them.
    half_size : keras.Model, optional
        The form ``training``, on images that are shrunk to half the size before augmentation: a step takes a third of
        the time.
    """

    model: keras.Model
    training: keras.Model
    half_size: keras.Model | None = None


def network(
    inputs: keras.KerasTensor,
    prepare: Sequence[keras.layers.Layer],
    body: keras.Model,
    *,
    name: str,
    trained_body: keras.Model | None = None,
    augment: Sequence[keras.layers.Layer] = (),
    mixup: bool = False,
) -> Network:
    """Put ``prepare``, in training also ``augment`` and mixup, before ``body``, which has the weights.

    Parameters
    ----------
    inputs : keras.KerasTensor
        Symbolic input of the model, (batch, ...).
    prepare, augment : sequence of keras.layers.Layer
        Layers without weights, to be called one after the other; ``augment`` acts in training only.
    body : keras.Model
        Prepared inputs in, probabilities float32 (batch, num_labels) out.
    name : str
        Of the model that predicts.
    trained_body : keras.Model, optional
        A form of ``body`` with the same weights that is faster in training.
    mixup : bool
        Whether training mixes inputs.
    """
    model = keras.Model(inputs, body(chain(prepare, inputs)), name=name)
    if not augment and not mixup and trained_body is None:
        return Network(model, model)
    trained_body = trained_body or body
    raw = keras.Input(inputs.shape[1:], dtype=inputs.dtype, name="input")
    changed = chain([*prepare, *augment], raw)
    if not mixup:
        return Network(model, keras.Model(raw, trained_body(changed), name="training"))
    partner, share = keras.Input((), dtype="int32", name="partner"), keras.Input((), name="share")
    mixed = Mix(name="mix")(changed, partner, share)
    served = {"input": raw, "partner": partner, "share": share}
    return Network(model, keras.Model(served, trained_body(mixed), name="training"))


def average(networks: Sequence[keras.Model], *, name: str) -> keras.Model:
    """Make a model that answers the mean of the probabilities of ``networks``, which take the same input.

    One network is returned as it is. Several are renamed: a model needs a name of its own for every part.
    """
    if len(networks) == 1:
        return networks[0]
    inputs = keras.Input(networks[0].input_shape[1:], dtype=networks[0].input.dtype, name="input")
    for number, network in enumerate(networks, start=1):
        network.name = f"{name}{number}"
    # float32, whatever the precision policy, as the last layer of every network.
    mean = keras.layers.Average(dtype="float32", name="mean")([network(inputs) for network in networks])
    return keras.Model(inputs, mean, name=name)


def with_head(backbone: keras.Model, head: keras.Model, *, both_views: bool = False) -> keras.Model:
    """Put the head of `networks.head.build_head` on top of a model of `networks.extractor.feature_model`.

    The result takes raw images, uint8 (batch, height, width, 3), and returns probabilities: with ``both_views`` the
    mean of those of the image and of its mirror image.
    """
    images = keras.Input(backbone.input_shape[1:], dtype="uint8", name="image")
    answers = head(backbone(images))
    if both_views:
        mirrored = head(backbone(keras.ops.flip(images, axis=2)))
        answers = keras.layers.Average(dtype="float32", name="mean_of_views")([answers, mirrored])
    return keras.Model(images, answers, name="classifier")


def chain(steps: Sequence[keras.layers.Layer], x: keras.KerasTensor) -> keras.KerasTensor:
    """Call layers one after the other, the first one on ``x``."""
    for step in steps:
        x = step(x)
    return x

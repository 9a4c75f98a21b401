"""Batch normalisation in one pass: what Keras computes in separate operations, for training with TensorFlow."""

from typing import Any

import keras
from keras import layers


def with_fused_norms(body: keras.Model) -> keras.Model:
    """Return a form of ``body`` for training that shares its weights and normalises faster.

    Keras 3 computes the statistics of a batch, the normalisation and its gradient in some twenty operations, each of
    which reads the whole tensor, and in float32 also under mixed precision. TensorFlow has one operation for each
    direction. ``body`` itself stays made of Keras' own layers, so that it can be saved and loaded without this module.

    With another backend than TensorFlow, or without batch normalisation, ``body`` is returned as it is.
    """
    if keras.backend.backend() != "tensorflow" or not any(map(can_be_fused, body.layers)):
        return body
    return keras.models.clone_model(
        body, clone_function=lambda layer: FusedNorm(layer) if can_be_fused(layer) else layer
    )


def can_be_fused(layer: layers.Layer) -> bool:
    """Say whether `FusedNorm` does what ``layer`` does, which may be a layer of any kind.

    Only a batch normalisation of images can be, with channels last, scale and offset, and on one device.
    """
    return bool(
        type(layer) is layers.BatchNormalization  # a subclass may compute something else
        and layer.built
        and layer.scale
        and layer.center
        and not layer.synchronized
        and not getattr(layer, "renorm", False)  # of newer versions of Keras
        and layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
    )


class FusedNorm(layers.Layer):
    """Calls ``norm``, in training by ``tf.compat.v1.nn.fused_batch_norm``, with the weights of ``norm``.

    Sergey Ioffe and Christian Szegedy, "Batch Normalization", 2015. Input and output (batch, height, width, channels).
    """

    def __init__(self, norm: layers.BatchNormalization) -> None:
        super().__init__(name=norm.name, dtype=norm.dtype_policy)
        self.norm = norm

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        norm = self.norm
        if mask is not None or not (training and norm.trainable):
            return norm(inputs, training=training, mask=mask)

        import tensorflow as tf

        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            keras.ops.cast(norm.gamma, "float32"),
            keras.ops.cast(norm.beta, "float32"),
            epsilon=norm.epsilon,
            data_format="NHWC",
            is_training=True,
        )
        # TensorFlow gives the variance of the sample, divided by n - 1; Keras keeps that of the batch, divided by n.
        number = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], "float32")
        variance = variance * (number - 1) / number
        for moving, value in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
            moving.assign(moving * norm.momentum + value * (1.0 - norm.momentum))
        return outputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

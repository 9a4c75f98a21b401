"""Adam and Muon, with weight decay, a schedule of the learning rate, clipping, and an average of the weights."""

from typing import Any

import keras
from keras import ops

from posterity import choices

# Keras searches these in `gamma` on JAX and in `model/layer/gamma:0` on TensorFlow, where a plain "gamma" would hit
# every variable of a layer called `gamma_conv`, too.
NOT_DECAYED = (r"(^|/)(bias|gamma|beta)(:\d+)?$",)
ADAM_SHARE = 0.15  # of Muon's learning rate: 0.02 for Muon goes with 0.003 for Adam


def build(
    name: choices.Optimizer,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    *,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    ema: float | None = None,
) -> keras.optimizers.Optimizer:
    """Make a fresh optimizer.

    With ``ema``, give `ema_callbacks` to `keras.Model.fit` as well, before every other callback. Validation, the
    callbacks after them, and the model that ``fit`` leaves then have the averaged weights. Without them, Keras
    validates with the last weights and puts the average into the model only at the very end.

    Parameters
    ----------
    name : {"adam", "adamw", "muon"}
        Kingma & Ba 2015; Loshchilov & Hutter 2019, whose decay does not pass through the gradients' moments; `Muon`.
    learning_rate : float or LearningRateSchedule
        A constant > 0, or what `learning_rates` returns.
    weight_decay : float
        >= 0: before each step, weights lose this share times the learning rate; biases and the scales and offsets of
        normalisations lose nothing. For ``adamw`` and ``muon``; ``adam`` has none.
    clip_norm : float, optional
        Gradients are scaled down together so that their common L2 norm is at most this, > 0.
    ema : float, optional
        Momentum in (0, 1) of an exponential moving average of the weights; see `Averaging`.

    Raises
    ------
    ValueError
        If ``adam`` is to decay weights.
    """
    if name == "adam" and weight_decay != 0:
        raise ValueError(f"weight_decay must be 0 for adam. Got {weight_decay:g}")
    options: dict[str, Any] = {
        "weight_decay": None if name == "adam" else weight_decay,  # this is all that Keras' AdamW adds to its Adam
        "global_clipnorm": clip_norm,
        "use_ema": ema is not None,
        "ema_momentum": ema or 0.0,
    }
    if name == "muon":
        options |= {"adam_weight_decay": weight_decay, "adam_lr_ratio": ADAM_SHARE, "exclude_layers": ["probabilities"]}
    optimizer = (Muon if name == "muon" else Adam)(learning_rate, **options)
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


def learning_rates(
    learning_rate: float,
    *,
    schedule: choices.Schedule,
    warmup_epochs: float,
    epochs: int,
    steps_per_epoch: int,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Plan the learning rate of each step: call the result with the number of a step, counted from 0.

    Parameters
    ----------
    learning_rate : float
        The highest rate, > 0.
    schedule : {"constant", "cosine"}
        What follows the warm-up: no change, or half a cosine (Loshchilov & Hutter 2017) that would reach 0 one step
        after the last one.
    warmup_epochs : float
        Length of the warm-up in epochs, >= 0 and less than ``epochs``; rounded to whole steps W. The rate grows by the
        same amount each step: from learning_rate / W at step 0 (a rate of 0 would waste the step) to learning_rate at
        step W.
    epochs, steps_per_epoch : int
        Length of the training.

    Raises
    ------
    ValueError
        If the warm-up is as long as the training.
    """
    if warmup_epochs >= epochs:
        raise ValueError(f"warmup_epochs must be less than the {epochs} epochs of training. Got {warmup_epochs:g}")
    steps = epochs * steps_per_epoch
    warmup_steps = min(round(warmup_epochs * steps_per_epoch), steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        learning_rate / warmup_steps if warmup_steps else learning_rate,
        decay_steps=steps - warmup_steps,
        alpha=1.0 if schedule == "constant" else 0.0,  # the cosine goes down to this share of the rate
        warmup_target=learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


class Averaging(keras.optimizers.Optimizer):
    """An optimizer whose average of the weights forgets the first steps sooner than Keras' average does.

    Keras begins the average with the weights after the first step. Their share after t steps is
    ema_momentum ** (t - 1): with 0.99, 83 % after 20 steps. The momentum at step t = 0, 1, ... is therefore at most
    (1 + t) / (10 + t), as in `tf.train.ExponentialMovingAverage`. The average then looks back over about the last tenth
    of the steps, until that is as long as ema_momentum looks back (with 0.99, from step 890 on).
    """

    # Keras asks for the momentum in every step, inside the compiled function.
    @property
    def ema_momentum(self) -> keras.KerasTensor | float:
        if not self.built:
            return self._ema_limit
        step = ops.cast(self.iterations, "float32")
        return ops.minimum(self._ema_limit, (1 + step) / (10 + step))

    @ema_momentum.setter
    def ema_momentum(self, limit: float) -> None:
        self._ema_limit = limit


class Adam(Averaging, keras.optimizers.Adam):
    """Keras' Adam with the average of `Averaging`, with TensorFlow in one operation for each variable.

    Keras computes a step of Adam and of its decay in a dozen operations, each of which reads and writes arrays as large
    as the weights: more than half of a training step of a head with 1.1 million weights. The formulas are the same, and
    so are the results but for rounding.
    """

    def _apply_weight_decay(self, variables: Any) -> None:
        if keras.backend.backend() != "tensorflow":  # `update_step` does it otherwise
            super()._apply_weight_decay(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if keras.backend.backend() != "tensorflow":
            super().update_step(gradient, variable, learning_rate)
            return

        import tensorflow as tf

        def number(value: Any) -> Any:
            return tf.cast(value, variable.dtype)

        if self.weight_decay is not None and self._use_weight_decay(variable):
            variable.assign(variable * (1 - number(self.weight_decay) * number(learning_rate)))
        index, step = self._get_variable_index(variable), number(self.iterations + 1)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(number(self.beta_1), step),
            beta2_power=tf.pow(number(self.beta_2), step),
            lr=number(learning_rate),
            beta1=number(self.beta_1),
            beta2=number(self.beta_2),
            epsilon=number(self.epsilon),
            grad=number(gradient),
        )


class Muon(Averaging, keras.optimizers.Muon):
    """Keras' Muon, also for convolutions: all singular values of a kernel's step are about 1 (Jordan et al. 2024).

    A kernel (height, width, in, out) counts as the matrix (height * width * in, out). Adam trains the kernels that see
    the image itself (three channels), the last layer, and all weights that are not kernels, as Muon's authors advise.
    Steps are scaled to the size of Adam's (Liu et al. 2025), so that a learning rate means the same for matrices of
    every shape.
    """

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        if len(variable.shape) == 4:
            return variable.shape[2] <= 3
        return super()._should_use_adamw(variable)

    def zeropower_via_newtonschulz5(self, x: keras.KerasTensor, steps: int) -> keras.KerasTensor:
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        # Half the time in bfloat16, as in the original; the iteration forgives the rounding.
        matrix = ops.cast(matrix, "bfloat16" if keras.config.dtype_policy().compute_dtype == "bfloat16" else "float32")
        return ops.reshape(ops.cast(super().zeropower_via_newtonschulz5(matrix, steps), x.dtype), x.shape)

    def lr_adjust(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return ops.reshape(super().lr_adjust(ops.reshape(x, (-1, x.shape[-1]))), x.shape)


class AveragedWeights(keras.callbacks.SwapEMAWeights):
    """Puts the averaged weights into the model for each epoch's validation, and for good after the last epoch.

    Keras' own callback leaves the plain weights of the last step in the model if another callback, such as
    `EarlyStopping`, ends the training before its last epoch. The moving mean and variance of a batch normalisation are
    not averaged: they stay as they are (see ``ema`` in `posterity.nn.networks.scratch.build`).
    """

    def __init__(self) -> None:
        super().__init__(swap_on_epoch=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        self._averaged = self.model.get_weights()

    def restore_averaged(self) -> None:
        """Take the weights that are in the model for those that `on_epoch_end` has put there."""
        self._ema_weights_in_model = True
        self._averaged = self.model.get_weights()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self.model.set_weights(self._averaged)


def ema_callbacks(ema: float | None) -> list[keras.callbacks.Callback]:
    """Make the callbacks that an optimizer with ``ema`` needs, to be put before all others; none without ``ema``."""
    return [] if ema is None else [AveragedWeights()]

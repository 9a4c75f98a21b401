import math

import keras
import numpy as np
import pytest

from posterity.nn.training import optimizers

PLAIN = {"learning_rate": 0.1, "schedule": "constant", "warmup_epochs": 0.0, "epochs": 10, "steps_per_epoch": 4}


def build(name="adam", warmup_epochs=0.0, **options):
    rates = optimizers.learning_rates(**PLAIN | {"warmup_epochs": warmup_epochs})
    return optimizers.build(name, rates, **options)


def rates(steps, **changed):
    schedule = optimizers.learning_rates(**PLAIN | changed)
    return [float(schedule(step)) for step in steps]


def network():
    """One weight that starts at 1: after a step of size s on the loss w²/2, whose gradient is w, it is 1 - s."""
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    return keras.Sequential([keras.Input((1,)), dense])


def test_a_constant_rate():
    assert rates([0, 1, 39]) == pytest.approx([0.1] * 3)


def test_half_a_cosine():
    # Steps 10, 20, 30 of 40 are at 45, 90 and 135 degrees.
    expected = [0.1, 0.05 * (1 + math.sqrt(0.5)), 0.05, 0.05 * (1 - math.sqrt(0.5)), 0.0]
    assert rates([0, 10, 20, 30, 40], schedule="cosine") == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_warm_up_starts_above_zero_and_ends_at_the_rate(schedule):
    # 1.25 epochs of 4 steps are 5 steps: 0.02, and 0.016 more with each step.
    expected = [0.02, 0.036, 0.052, 0.068, 0.084, 0.1]
    assert rates(range(6), schedule=schedule, warmup_epochs=1.25) == pytest.approx(expected)


def test_the_cosine_begins_after_the_warm_up():
    # 8 of 40 steps warm up; 16 later, the cosine of 32 steps is half way down.
    assert rates([8, 24, 40], schedule="cosine", warmup_epochs=2.0) == pytest.approx([0.1, 0.05, 0], abs=1e-8)
    assert rates([24, 39], schedule="constant", warmup_epochs=2.0) == pytest.approx([0.1, 0.1])


def test_a_warm_up_that_never_ends_is_refused():
    # 9.99 epochs would round to all the steps there are: the last one still has the full rate.
    assert rates([39], schedule="cosine", warmup_epochs=9.99) == pytest.approx([0.1])
    with pytest.raises(ValueError, match="warmup_epochs must be less than the 10 epochs of training. Got 10"):
        rates([0], warmup_epochs=10.0)


def test_adam_does_not_decay_weights():
    with pytest.raises(ValueError, match="weight_decay must be 0 for adam. Got 0.05"):
        build(weight_decay=0.05)


def test_adam_makes_its_first_steps_by_the_schedule():
    # As long as the gradient stays the same, Adam's step is the learning rate: 0.05, then 0.1.
    optimizer, variable = build(warmup_epochs=0.5), keras.Variable([5.0, -5.0])
    for expected in ([4.95, -4.95], [4.875, -4.875], [4.775, -4.775]):
        optimizer.apply([np.array([3.0, -3.0], np.float32)], [variable])
        np.testing.assert_allclose(variable, expected, rtol=1e-6)


@pytest.mark.parametrize(("name", "weight_decay"), [("adam", 0.0), ("adamw", 0.5)])
def test_adam_in_one_operation_is_the_adam_of_keras(name, weight_decay):
    generator = np.random.default_rng(0)
    shapes = [(30, 20), (20,)]
    starts = [generator.normal(size=shape).astype(np.float32) for shape in shapes]
    rates = optimizers.learning_rates(**PLAIN | {"warmup_epochs": 0.5, "learning_rate": 0.01})
    ours = optimizers.build(name, rates, weight_decay=weight_decay, clip_norm=5.0)
    reference = keras.optimizers.AdamW(rates, weight_decay=weight_decay, global_clipnorm=5.0)
    ends = []
    for optimizer in (ours, reference):
        variables = [keras.Variable(start, name=which) for start, which in zip(starts, ("kernel", "bias"), strict=True)]
        optimizer.exclude_from_weight_decay(var_names=optimizers.NOT_DECAYED)
        drawn = np.random.default_rng(1)
        for _ in range(12):
            gradients = [drawn.normal(size=shape).astype(np.float32) for shape in shapes]
            optimizer.apply(gradients, variables)
        ends.append([*variables, *optimizer._momentums, *optimizer._velocities])
    for got, expected in zip(*ends, strict=True):
        np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=2e-5, atol=1e-6)
    assert all(abs(np.asarray(end) - start).max() > 0.05 for end, start in zip(ends[0][:2], starts, strict=True))


def test_muon_makes_steps_of_equal_singular_values():
    # By hand: a step of Muon is the rate times 0.2 sqrt(max(rows, columns)) times a matrix whose singular values lie
    # near 1 (0.68 to 1.14 after five iterations), whatever those of the gradient are.
    generator = np.random.default_rng(0)
    shapes = [(3, 3, 4, 6), (8, 5)]
    optimizer, variables = build("muon"), [keras.Variable(np.zeros(shape, np.float32)) for shape in shapes]
    gradients = [generator.normal(size=shape).astype(np.float32) for shape in shapes]
    optimizer.apply(gradients, variables)
    for gradient, variable, longest in zip(gradients, variables, (36, 8), strict=True):
        step = -np.asarray(variable).reshape(-1, gradient.shape[-1]) / (0.1 * 0.2 * math.sqrt(longest))
        singular = np.linalg.svd(step, compute_uv=False)
        assert singular.min() > 0.6
        assert singular.max() < 1.25
        # The step leads down: it has the gradient's singular vectors.
        left, _, right = np.linalg.svd(gradient.reshape(step.shape), full_matrices=False)
        np.testing.assert_allclose(left.T @ step @ right.T, np.diag(np.diag(left.T @ step @ right.T)), atol=1e-4)


def test_muon_leaves_the_image_the_last_layer_and_vectors_to_adam():
    # Adam's first step is the rate, here 0.15 of 0.1, with the sign of the gradient.
    images, hidden = keras.Input((4, 4, 3)), keras.layers.Conv2D(5, 3, name="stem")
    last = keras.layers.Dense(2, name="probabilities")
    model = keras.Model(images, last(keras.layers.GlobalAveragePooling2D()(hidden(images))))
    before = model.get_weights()
    gradients = [np.full(weight.shape, 7, np.float32) for weight in before]
    build("muon").apply(gradients, model.trainable_variables)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_allclose(new, old - 0.015, rtol=1e-4, atol=1e-6)


def test_only_kernels_decay():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            # Names that a search for "gamma", "beta" or "bias" anywhere in the path would take for a norm's.
            keras.layers.Dense(2, name="gamma_dense", bias_initializer="ones"),
            keras.layers.BatchNormalization(beta_initializer="ones"),
            keras.layers.LayerNormalization(beta_initializer="ones"),
            keras.layers.Dense(2, name="unbiased"),
        ]
    )
    before = [variable.numpy() for variable in model.trainable_variables]
    optimizer = build("adamw", weight_decay=0.5)
    optimizer.apply([np.zeros(variable.shape, np.float32) for variable in before], model.trainable_variables)
    shares = {}
    for variable, old in zip(model.trainable_variables, before, strict=True):
        shares[variable.path.split("/", 1)[1]] = 1.0 if (variable.numpy() == old).all() else variable.numpy() / old
    kernels = [path for path in shares if path.endswith("kernel")]
    assert kernels == ["gamma_dense/kernel", "unbiased/kernel"]
    for path, share in shares.items():
        np.testing.assert_allclose(share, 0.95 if path in kernels else 1.0, rtol=1e-6)  # 1 - 0.5 · 0.1


def test_the_gradients_are_clipped_together():
    # The first moment shows the gradient that Adam got: 0.1 times it. A norm of 13 (3, 4, 12) is cut to 6.5.
    for clip_norm, share in ((6.5, 0.5), (26.0, 1.0), (None, 1.0)):
        optimizer = build(clip_norm=clip_norm)
        optimizer.apply(
            [np.array([3.0, 4.0], np.float32), np.array([12.0], np.float32)],
            [keras.Variable([0.0, 0.0]), keras.Variable([0.0])],
        )
        moments = np.concatenate([variable.numpy() for variable in optimizer._momentums])
        np.testing.assert_allclose(moments, 0.1 * share * np.array([3.0, 4.0, 12.0]), rtol=1e-5)


class Recorder(keras.callbacks.Callback):
    """The weight after each step; and the end of the training after epoch ``stop``."""

    def __init__(self, stop=None):
        super().__init__()
        self.stop = stop
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(float(self.model.get_weights()[0][0, 0]))

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.stop:
            self.model.stop_training = True


def train(ema, *callbacks, epochs=3, target=0.0):
    """Three steps an epoch towards ``target``; also the averages by hand after each epoch."""
    model, recorder = network(), callbacks[0] if callbacks else Recorder()
    model.compile(optimizer=build(ema=ema), loss="mse")
    x, y = np.ones((3, 1), np.float32), np.full((3, 1), target, np.float32)
    options = {"batch_size": 1, "epochs": epochs, "validation_data": (x, y), "shuffle": False, "verbose": 0}
    history = model.fit(x, y, callbacks=[*optimizers.ema_callbacks(ema), recorder, *callbacks[1:]], **options).history[
        "val_loss"
    ]
    average, averages = recorder.weights[0], []
    for step, weight in enumerate(recorder.weights):
        momentum = min(ema, (1 + step) / (10 + step)) if step else 0.0
        average = momentum * average + (1 - momentum) * weight
        averages.append(average)
    return float(model.get_weights()[0][0, 0]), history, averages[2::3], recorder.weights


# Momenta of 2/11, 3/12, 4/13, 5/14 ... by the number of the step: 0.3 is reached at step 3, 0.99 never.
@pytest.mark.parametrize("ema", [0.3, 0.99])
def test_validation_and_the_final_model_use_the_average(ema):
    weight, val_losses, averages, weights = train(ema)
    assert len(weights) == 9
    assert val_losses == pytest.approx([average**2 for average in averages], rel=1e-5)
    assert weight == pytest.approx(averages[-1], rel=1e-6)
    assert abs(weight - weights[-1]) > 0.01


def test_the_average_of_the_first_steps_by_hand():
    optimizer, variable = build(ema=0.99), keras.Variable([1.0])
    values = []
    for _ in range(3):
        optimizer.apply([np.array([1.0], np.float32)], [variable])
        values.append(variable.numpy()[0])
    optimizer.finalize_variable_values([variable])
    first, second, third = values
    expected = 3 / 12 * (2 / 11 * first + 9 / 11 * second) + 9 / 12 * third
    assert variable.numpy()[0] == pytest.approx(expected, rel=1e-6)


def test_training_that_stops_early_ends_with_the_average():
    weight, _, averages, weights = train(0.8, Recorder(stop=2), epochs=5)
    assert len(weights) == 6
    assert weight == pytest.approx(averages[-1], rel=1e-6)


def test_the_best_epoch_is_restored_with_its_average():
    # From 1 to a target of 0.5, a tenth a step: the second epoch ends nearest, then the weight overshoots.
    best = keras.callbacks.EarlyStopping("val_loss", patience=9, restore_best_weights=True)
    weight, val_losses, averages, _ = train(0.8, Recorder(), best, epochs=4, target=0.5)
    assert np.argmin(val_losses) == 1
    assert weight == pytest.approx(averages[1], rel=1e-6)


def test_without_ema_there_is_nothing_to_call():
    assert optimizers.ema_callbacks(None) == []
    assert not build().use_ema

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from posterity.nn.training import losses

SHARP = {
    "label_frequencies": [0.4, 0.1, 0.002],
    "positive_weight_cap": 10.0,
    "focal_gamma": 0.5,
    "focal_alpha": 0.25,
    "asymmetric_gamma_positive": 0.5,
    "asymmetric_gamma_negative": 0.5,
    "asymmetric_clip": 0.05,
}
NAMES = ["bce", "weighted_bce", "focal", "asymmetric"]


def build(name, label_frequencies=(0.5, 0.5, 0.5), masked=False, **options):
    options = losses.LossOptions(**options)
    return losses.build(name, options, label_frequencies=label_frequencies, masked=masked)


def draw(rows=5, soft=False):
    generator = np.random.default_rng(0)
    y_true = generator.random((rows, 3)) if soft else generator.integers(0, 2, (rows, 3))
    return y_true.astype(np.float32), generator.uniform(0.01, 0.99, (rows, 3)).astype(np.float32)


def value(loss, y_true, y_pred):
    return float(loss(np.array(y_true, np.float32), np.array(y_pred, np.float32)))


def gradient(loss, y_true, y_pred):
    with tf.GradientTape() as tape:
        variable = tf.Variable(np.array(y_pred, np.float32))
        result = loss(np.array(y_true, np.float32), variable)
    return tape.gradient(result, variable).numpy()


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("name", NAMES)
def test_at_its_neutral_setting_each_loss_is_the_cross_entropy(name, smoothing, soft):
    y_true, y_pred = draw(soft=soft)
    expected = value(keras.losses.BinaryCrossentropy(label_smoothing=smoothing), y_true, y_pred)
    assert value(build(name, label_smoothing=smoothing), y_true, y_pred) == pytest.approx(expected, rel=1e-6)


def test_positive_weights_by_hand():
    assert losses.positive_weights([0.5, 0.2, 0.8, 0.001], cap=10.0).tolist() == [1.0, 4.0, pytest.approx(0.25), 10.0]


def test_weighted_bce_by_hand():
    loss = build("weighted_bce", label_frequencies=[0.2, 0.5, 0.01], positive_weight_cap=20.0)
    # Weights 4, 1 and 20 (not 99). Positives 0 and 2 are believed to 0.5 and 0.9, negative 1 to 0.2.
    expected = (4 * math.log(2) - math.log(0.8) - 20 * math.log(0.9)) / 3
    assert value(loss, [[1, 0, 1]], [[0.5, 0.2, 0.9]]) == pytest.approx(expected, rel=1e-6)
    # Half a positive: half of what a positive costs, and half of what a negative does.
    expected = (0.5 * 4 * math.log(2) + 0.5 * math.log(2) - math.log(0.8) - 20 * math.log(0.9)) / 3
    assert value(loss, [[0.5, 0, 1]], [[0.5, 0.2, 0.9]]) == pytest.approx(expected, rel=1e-6)


def test_focal_by_hand():
    loss = build("focal", focal_gamma=2.0)
    expected = (0.1**2 * -math.log(0.9) + 0.2**2 * -math.log(0.8) + 0.75**2 * -math.log(0.25)) / 3
    assert value(loss, [[1, 0, 1]], [[0.9, 0.2, 0.25]]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_is_that_of_keras_on_hard_targets(alpha):
    y_true, y_pred = draw()
    reference = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=alpha is not None, alpha=alpha or 0.25, gamma=1.5
    )
    loss = build("focal", focal_gamma=1.5, focal_alpha=alpha)
    assert value(loss, y_true, y_pred) == pytest.approx(value(reference, y_true, y_pred), rel=1e-5)


def test_asymmetric_by_hand():
    loss = build("asymmetric", asymmetric_gamma_positive=1.0, asymmetric_gamma_negative=4.0, asymmetric_clip=0.05)
    # The negative at 0.65 counts as one at 0.6; the one at 0.04 lies below the clip.
    expected = ((1 - 0.7) * -math.log(0.7) + 0.6**4 * -math.log(0.4)) / 3
    assert value(loss, [[1, 0, 0]], [[0.7, 0.65, 0.04]]) == pytest.approx(expected, rel=1e-5)
    assert gradient(loss, [[1, 0, 0]], [[0.7, 0.65, 0.04]])[0, 2] == 0


def test_the_gradient_goes_through_the_focusing_factor():
    loss = build("asymmetric", asymmetric_gamma_negative=2.0)
    # d/dp of -p² log(1 - p) at 0.4, over 3 labels; held constant, the factor would leave p² / (1 - p) alone.
    expected = (-2 * 0.4 * math.log(0.6) + 0.4**2 / 0.6) / 3
    assert gradient(loss, [[0, 0, 0]], [[0.4, 0.1, 0.1]])[0, 0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("name", NAMES)
def test_a_mixed_target_costs_the_mixture(name, smoothing):
    y_true, y_pred = draw()
    other = 1 - y_true
    loss = build(name, **SHARP | {"label_smoothing": smoothing})
    expected = 0.7 * value(loss, y_true, y_pred) + 0.3 * value(loss, other, y_pred)
    assert value(loss, 0.7 * y_true + 0.3 * other, y_pred) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("name", NAMES)
def test_certainty_has_a_finite_loss_and_gradient(name, gamma):
    gammas = dict.fromkeys(("focal_gamma", "asymmetric_gamma_positive", "asymmetric_gamma_negative"), gamma)
    loss = build(name, **SHARP | gammas)
    pairs = list(itertools.product((0.0, 0.5, 1.0), (0.0, 1e-12, 0.05, 1 - 1e-7, 1.0)))  # 0.05 is the clip
    y_true, y_pred = (np.repeat(np.array(column)[:, None], 3, axis=1) for column in zip(*pairs, strict=True))
    assert math.isfinite(value(loss, y_true, y_pred))
    assert np.isfinite(gradient(loss, y_true, y_pred)).all()


def test_the_wrong_certainty_costs_the_most():
    for name in NAMES:
        loss = build(name, **SHARP)
        right, doubtful, wrong = (value(loss, [[1, 1, 0]], [[p, p, 1 - p]]) for p in (1.0, 0.5, 0.0))
        assert 0 <= right < 1e-4 < doubtful < wrong


def test_rows_are_averaged_and_can_be_weighed():
    y_true, y_pred = draw(rows=2)
    loss = build("asymmetric", **SHARP)
    rows = [value(loss, y_true[k : k + 1], y_pred[k : k + 1]) for k in range(2)]
    assert value(loss, y_true, y_pred) == pytest.approx(sum(rows) / 2, rel=1e-6)
    weighed = float(loss(y_true, y_pred, sample_weight=np.array([2.0, 0.0])))
    assert weighed == pytest.approx(rows[0], rel=1e-6)


def hidden(y_true):
    """``y_true`` with two cells of the first row and the whole second row unknown, and which cells are known."""
    known = np.ones(y_true.shape, bool)
    known[0, :2], known[1] = False, False
    return np.where(known, y_true, np.nan).astype(np.float32), known


@pytest.mark.parametrize("soft", [False, True])  # as mixup makes them
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_target_costs_nothing_and_has_no_gradient(name, smoothing, soft):
    """What is hidden cannot count: put whatever is under the mask, the known cells have the same loss and gradient."""
    y_true, y_pred = draw(soft=soft)
    y_pred[0, 0], y_pred[1] = 0, [0, 1, 0.5]  # where a logarithm or a slope would be infinite
    with_nan, known = hidden(y_true)
    options = SHARP | {"label_smoothing": smoothing}
    masked, plain = build(name, masked=True, **options), build(name, **options)
    found = gradient(masked, with_nan, y_pred)
    assert (found[~known] == 0).all()
    assert (found[known] != 0).all()
    cells = [  # of one label at a time, the plain loss is the cost of each cell
        build(name, **options | {"label_frequencies": [frequency]}).call(y_true[:, [k]], y_pred[:, [k]])
        for k, frequency in enumerate(SHARP["label_frequencies"])
    ]
    expected = np.stack(cells, axis=1)[known].sum() / known.size
    assert value(masked, with_nan, y_pred) == pytest.approx(expected, rel=1e-5)
    for below in (0.0, 1.0, y_true):
        unmasked = gradient(plain, np.where(known, y_true, below), y_pred)
        np.testing.assert_allclose(found[known], unmasked[known], rtol=1e-6)
    # A probability under the mask has no influence either, to the bit.
    np.testing.assert_array_equal(gradient(masked, with_nan, np.where(known, y_pred, 0.3)), found)


@pytest.mark.parametrize("name", NAMES)
def test_with_all_targets_known_the_masked_loss_is_the_plain_one(name):
    y_true, y_pred = draw()
    for options in ({}, SHARP):
        expected = value(build(name, **options), y_true, y_pred)
        assert value(build(name, masked=True, **options), y_true, y_pred) == pytest.approx(expected, rel=1e-6)


def test_the_masked_loss_by_hand():
    # The sum of the two known cells, over all three.
    expected = (math.log(2) - math.log(0.8)) / 3
    assert value(build("bce", masked=True), [[1, np.nan, 0]], [[0.5, 0.9, 0.2]]) == pytest.approx(expected)


def test_the_known_crossentropy_is_the_mean_over_all_known_cells_of_all_batches():
    metric = losses.KnownCrossentropy(name="bce")
    y_true, y_pred = draw(rows=6)
    with_nan, known = hidden(y_true)
    for rows in (slice(0, 2), slice(2, 6)):  # the first batch has 1 known cell, the other one 12
        metric.update_state(with_nan[rows], y_pred[rows])
    costs = -np.log(np.where(y_true == 1, y_pred, 1 - y_pred))[known]
    assert float(metric.result()) == pytest.approx(costs.mean(), rel=1e-6)


def test_the_known_crossentropy_weighs_rows_and_is_that_of_keras_where_all_is_known():
    y_true, y_pred = draw(rows=4)
    weights = np.array([1.0, 1.0, 0.0, 1.0], np.float32)
    ours, reference = losses.KnownCrossentropy(name="bce"), keras.metrics.BinaryCrossentropy(name="bce")
    for metric in (ours, reference):
        metric.update_state(y_true, y_pred, sample_weight=weights)
    assert float(ours.result()) == pytest.approx(float(reference.result()), rel=1e-6)
    y_true[2] = np.nan
    ours.reset_state()
    ours.update_state(y_true, y_pred, sample_weight=weights)
    assert float(ours.result()) == pytest.approx(float(reference.result()), rel=1e-6)

import keras
import numpy as np
import pytest
from keras import layers

from posterity.nn.networks import extractor
from posterity.nn.networks.assemble import with_head
from posterity.nn.networks.head import behind_dropout, build_head, standardisation

FREQUENCIES = [0.5, 0.1, 0.02]


def backbone(*steps, name):
    """A backbone of 4 x 2 images that takes uint8, as `backbones.load` makes them."""
    images = keras.Input((4, 2, 3), dtype="uint8")
    x = keras.ops.cast(images, "float32")
    for step in steps:
        x = step(x)
    return keras.Model(images, x, name=name)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 4, 2, 3), dtype=np.uint8)


def test_pooling_by_hand(images):
    seen = backbone(layers.Rescaling(2.0), name="map")  # a feature map of 4 x 2: the pixels, doubled
    np.testing.assert_allclose(extractor.feature_model([seen])(images), 2.0 * images.mean((1, 2)), rtol=1e-6)


def test_backbones_stand_side_by_side_and_a_vector_stays_what_it_is(images):
    model = extractor.feature_model([backbone(name="map"), backbone(layers.Flatten(), name="vector")])
    assert model.output_shape == (None, 3 + 24)
    got = keras.ops.convert_to_numpy(model(images))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[:, :3], images.mean((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(got[:, -24:], images.reshape(5, 24), rtol=1e-6)


@pytest.mark.parametrize("hidden_units", [0, 7])
def test_the_head_starts_at_the_label_frequencies_whatever_it_sees(hidden_units):
    head = build_head(np.zeros(4), np.ones(4), FREQUENCIES, hidden_units=hidden_units, dropout=0.5)
    vectors = np.random.default_rng(0).normal(0, 3, (6, 4)).astype(np.float32)
    np.testing.assert_allclose(head(vectors), np.tile(FREQUENCIES, (6, 1)), rtol=1e-5)
    # Weights: a hidden layer of 7 has 4 x 7 + 7, the last one 3 biases and 3 for each of its inputs.
    assert sum(int(np.prod(w.shape)) for w in head.trainable_weights) == (35 + 24 if hidden_units else 15)


def test_a_linear_head_by_hand():
    head = build_head(np.array([1.0, -2.0]), np.array([4.0, 0.25]), [0.5], hidden_units=0, dropout=0.9)
    head.get_layer("probabilities").set_weights([np.array([[1.0], [0.5]]), np.array([0.25])])
    # Standardised: (3 - 1) / 2 = 1 and (-1 + 2) / 0.5 = 2; so the log-odds are 1 + 1 + 0.25.
    np.testing.assert_allclose(head(np.array([[3.0, -1.0]])), [[1 / (1 + np.exp(-2.25))]], rtol=1e-6)


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 0.0), (0.1, 1e-18)])
def test_a_feature_that_training_never_saw_change_does_not_explode(mean, variance):
    head = build_head(np.array([mean]), np.array([variance]), [0.5], hidden_units=0, dropout=0.0)
    head.get_layer("probabilities").set_weights([np.array([[1.0]]), np.array([0.0])])
    np.testing.assert_allclose(head(np.array([[mean + 0.5]])), [[1 / (1 + np.exp(-0.5))]], rtol=1e-5)


@pytest.mark.parametrize("hidden_units", [0, 6])
def test_what_is_trained_on_standardised_vectors_is_the_head(hidden_units):
    vectors = np.random.default_rng(0).normal(3, 2, (9, 4)).astype(np.float32)
    vectors[:, 1] = 0.1  # never changes
    moments = vectors.mean(0, dtype=np.float64), vectors.var(0, dtype=np.float64)
    head = build_head(*moments, FREQUENCIES, hidden_units=hidden_units, dropout=0.5)
    trained = behind_dropout(head)
    assert [id(w) for w in trained.trainable_weights] == [id(w) for w in head.trainable_weights]
    last = head.get_layer("probabilities")
    last.kernel.assign(np.random.default_rng(1).normal(size=last.kernel.shape))
    mean, deviation = standardisation(*moments)
    assert deviation[1] == 1
    np.testing.assert_allclose(trained((vectors - mean) / deviation), head(vectors), rtol=1e-5)


def test_the_head_stays_float32_under_mixed_precision():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        head = build_head(np.zeros(4), np.ones(4), FREQUENCIES, hidden_units=7, dropout=0.0)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert head.get_layer("hidden").compute_dtype == "bfloat16"
    assert head.predict_on_batch(np.ones((1, 4), np.float32)).dtype == np.float32


def test_the_assembled_model_is_the_head_on_the_features(images):
    features = extractor.feature_model([backbone(layers.Conv2D(5, 2), name="map")])
    vectors = keras.ops.convert_to_numpy(features(images))
    head = build_head(vectors.mean(0), vectors.var(0), FREQUENCIES, hidden_units=6, dropout=0.5)
    last = head.get_layer("probabilities")
    last.kernel.assign(np.random.default_rng(1).normal(size=last.kernel.shape))
    whole = with_head(features, head)
    assert whole.input_shape == (None, 4, 2, 3)
    scores = keras.ops.convert_to_numpy(whole(images))
    assert len(np.unique(scores[:, 0])) == 5
    np.testing.assert_allclose(scores, head(vectors), rtol=1e-5)

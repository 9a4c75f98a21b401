import keras
import numpy as np
import pytest
from keras import layers

from posterity.errors import UserError
from posterity.nn.networks import pyramid


def bottlenecks():
    """Two reductions; before the second one a map of 12 channels is expanded from 6, and padded."""
    images = keras.Input((32, 24, 3))
    x = layers.Conv2D(6, 3, strides=2, padding="same", name="stem")(images)
    x = layers.Conv2D(12, 1, name="early")(x)
    x = layers.Conv2D(6, 1, name="narrow")(x)
    x = layers.Conv2D(12, 1, name="expanded")(x)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name="padded")(x)
    x = layers.Conv2D(10, 3, strides=2, name="reduced")(x)
    x = layers.Conv2D(20, 1, name="wide")(x)
    x = layers.Conv2D(16, 1, name="last")(x)
    return keras.Model(images, x, name="net")


def names(network):
    return [found._keras_history.operation.name for found in pyramid.find_levels(network)]


def test_a_level_is_the_last_of_the_widest_maps_of_a_resolution():
    assert names(bottlenecks()) == ["last", "expanded"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # The maps that detectors take from these networks.
        ("MobileNetV2", ["out_relu", "block_13_expand_relu", "block_6_expand_relu", "block_3_expand_relu"]),
        ("ResNet50", ["conv5_block3_out", "conv4_block6_out", "conv3_block4_out", "conv2_block3_out"]),
    ],
)
def test_the_levels_of_known_networks(name, expected):
    network = vars(keras.applications)[name](include_top=False, weights=None, input_shape=(96, 64, 3))
    assert names(network)[:4] == expected


def test_levels_are_pooled_side_by_side():
    network = bottlenecks()
    images = np.random.default_rng(0).normal(size=(2, 32, 24, 3)).astype(np.float32)
    whole = pyramid.pooled(network, 2, entry="net")
    inner = keras.Model(network.input, [network.output, network.get_layer("expanded").output])
    maps = [keras.ops.convert_to_numpy(found) for found in inner(images)]
    expected = np.concatenate([found.mean((1, 2)) for found in maps], axis=1)
    assert whole.output_shape == (None, 16 + 12)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(whole(images)), expected, rtol=1e-5, atol=1e-6)


def test_more_levels_than_there_are_is_an_error():
    with pytest.raises(UserError, match=r"model\.pyramid_levels must be at most 2 for net, .* Got 3\. Lower it\."):
        pyramid.pooled(bottlenecks(), 3, entry="net")


def test_a_network_that_gives_a_vector_has_one_level():
    images = keras.Input((8, 8, 3))
    network = keras.Model(images, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, strides=2)(images)))
    assert pyramid.find_levels(network) == []
    with pytest.raises(UserError, match="must be at most 1 for mine"):
        pyramid.pooled(network, 2, entry="mine")

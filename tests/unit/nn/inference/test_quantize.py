"""int8: which parts of a network compute in 8 bits, with what scales, and what the scales depend on."""

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from onnx import helper, numpy_helper

from posterity.nn.inference import export, onnx_engine, quantize
from posterity.nn.networks import assemble, extractor, head


@pytest.fixture(scope="module")
def model():
    """A convolution of 1 x 1 without bias, whose kernel is known, pooling, and a head."""
    keras.utils.set_random_seed(0)
    kernel = np.array([[1.27, 0.0], [0.0, -2.54], [0.01, 0.02]], np.float32).reshape(1, 1, 3, 2)
    inner = [layers.Rescaling(1.0), layers.Conv2D(2, 1, use_bias=False)]
    backbone = keras.Sequential([keras.Input((9, 7, 3), dtype="uint8"), *inner])
    backbone.layers[-1].set_weights([kernel])
    top = head.build_head(np.zeros(2), np.ones(2), [0.5, 0.5, 0.5], hidden_units=4, dropout=0.0)
    return assemble.with_head(extractor.feature_model([backbone]), top)


@pytest.fixture(scope="module")
def graph(model):
    return onnx.load_from_string(quantize.to_int8(export.to_onnx(model))).graph


def source(graph, name):
    """The node that computes a tensor."""
    return next(node for node in graph.node if name in node.output)


def constant(graph, name):
    return next(numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == name)


def test_a_weight_has_the_scale_of_its_channel(graph):
    """The largest of each output channel, 1.27 and 2.54, is 127 steps: 1.27 = 127 x 0.01 and -2.54 = -127 x 0.02."""
    (convolution,) = [node for node in graph.node if node.op_type == "Conv"]
    weights = source(graph, convolution.input[1])
    assert weights.op_type == "DequantizeLinear"
    steps, scales, zero = (constant(graph, name) for name in weights.input)
    assert steps.dtype == np.int8
    np.testing.assert_allclose(scales, [0.01, 0.02], rtol=1e-6)
    assert zero.tolist() == [0, 0]
    assert steps.reshape(2, 3).tolist() == [[127, 0, 1], [0, -127, 1]]


def test_pixels_have_steps_of_one_level(graph):
    """The calibration images have black and white in them, so 0 to 255 are the 256 levels of 8 bits."""
    (convolution,) = [node for node in graph.node if node.op_type == "Conv"]
    pixels = source(graph, convolution.input[0])
    scale, zero = (constant(graph, name) for name in pixels.input[1:])
    assert (scale, zero) == (1, 0)


def test_pooling_and_head_stay_in_float32(graph):
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm", "FusedMatMul")]
    assert len(products) == 2
    quantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    assert not quantised & {name for node in products for name in node.input}
    (pooled,) = [node for node in graph.node if node.op_type in ("GlobalAveragePool", "ReduceMean")]
    following = [node.op_type for node in graph.node if set(pooled.output) & set(node.input)]
    assert "QuantizeLinear" not in following


@pytest.mark.parametrize("both_views", [False, True])
def test_joined_vectors_and_the_mean_of_heads_are_not_rounded(both_views):
    """Two backbones side by side and the mean of three heads: 8 bits of all that would leave 256 different answers."""
    keras.utils.set_random_seed(0)
    parts = [
        keras.Sequential(
            [
                keras.Input((24, 16, 3), dtype="uint8"),
                layers.Rescaling(1 / 255),
                layers.Conv2D(8, 3, activation="relu"),
            ],
            name=f"backbone{number}",
        )
        for number in range(2)
    ]
    features = extractor.feature_model(parts)
    heads = [head.build_head(np.zeros(16), np.ones(16), [0.5] * 9, hidden_units=4, dropout=0.0) for _ in range(3)]
    whole = assemble.with_head(features, assemble.average(heads, name="head"), both_views=both_views)
    images = np.random.default_rng(0).integers(0, 256, (60, 24, 16, 3)).astype(np.uint8)

    for model in (features, whole):
        compute = onnx_engine.session(quantize.to_int8(export.to_onnx(model)), 1)
        answers, expected = compute(images), model.predict(images, verbose=0)
        assert len(np.unique(answers)) > 0.9 * len(np.unique(expected))
        assert np.abs(answers - expected).max() < 0.01


def test_what_leads_to_a_convolution_is_not_behind_pooling():
    """A map is multiplied by what its means say of its channels, and goes on; what a vector is made of comes later."""
    names = [
        ("Conv", ["image", "w1"], "map"),
        ("GlobalAveragePool", ["map"], "means"),
        ("Conv", ["means", "w2"], "weights"),
        ("Mul", ["map", "weights"], "weighted"),
        ("Conv", ["weighted", "w3"], "seen"),
        ("Relu", ["seen"], "positive"),
        ("ReduceMean", ["positive"], "vector"),
        ("Concat", ["vector", "means"], "joined"),
        ("Add", ["joined", "b"], "moved"),
    ]
    nodes = [helper.make_node(kind, inputs, [output], name=output) for kind, inputs, output in names]
    assert quantize.behind_pooling(helper.make_graph(nodes, "g", [], [])) == ["joined", "moved"]


def test_the_same_network_gives_the_same_graph(model, graph):
    """Exported and calibrated anew: nothing of a user's images, and no chance, is in it."""
    again = onnx.load_from_string(quantize.to_int8(export.to_onnx(model))).graph
    scales = [
        [numpy_helper.to_array(tensor).tobytes() for tensor in one.initializer if tensor.name.endswith("_scale")]
        for one in (graph, again)
    ]
    assert len(scales[0]) >= 3
    assert scales[0] == scales[1]


def test_calibration_images_are_of_the_size_of_the_network_and_differ():
    images = quantize.calibration_images(40, 30)
    assert (images.shape, images.dtype) == ((quantize.NUM_IMAGES, 40, 30, 3), np.uint8)
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)
    assert (images.min(), images.max()) == (0, 255)

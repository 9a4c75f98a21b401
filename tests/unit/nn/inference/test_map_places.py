"""Where the cells of a map lie, against hand-made numbers and against what a gradient says."""

import keras
import numpy as np
import pytest
from keras import layers

from posterity.nn.inference.flat_graph import flat_graph
from posterity.nn.inference.map_places import Axis, enlarge, places
from posterity.nn.networks import scratch

SIZE = 48, 40
EVEN = {"kernel_initializer": "ones", "use_bias": False}
STEPS = {
    "unpadded": [layers.Conv2D(1, 5, **EVEN), layers.AveragePooling2D(2), layers.Conv2D(1, 3, dilation_rate=2, **EVEN)],
    "padded": [layers.Conv2D(1, 3, strides=2, padding="same", **EVEN), layers.AveragePooling2D(3, padding="same")],
    "cut": [
        layers.ZeroPadding2D(((0, 3), (1, 0))),
        layers.DepthwiseConv2D(2, depthwise_initializer="ones", use_bias=False),
        layers.Cropping2D(((4, 1), (0, 2))),
        layers.AveragePooling2D(4, strides=3),
    ],
}


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("name", STEPS)
def test_the_middle_of_a_cell_is_the_middle_of_what_it_sees(name, mirrored):
    import tensorflow as tf

    image = keras.Input((*SIZE, 1))
    x = keras.ops.flip(image, axis=2) if mirrored else image
    for step in STEPS[name]:
        x = type(step).from_config(step.get_config())(x)
    model = keras.Model(image, x)
    rows, columns = places(graph := flat_graph(model))[graph.answer]
    row, column = x.shape[1] // 2, x.shape[2] // 2
    values = tf.zeros((1, *SIZE, 1))
    with tf.GradientTape() as tape:
        tape.watch(values)
        seen = model(values)[0, row, column, 0]
    weight = tape.gradient(seen, values).numpy()[0, ..., 0]
    assert (weight.sum(1) @ np.arange(SIZE[0])) / weight.sum() == pytest.approx(rows.first + rows.step * row)
    assert (weight.sum(0) @ np.arange(SIZE[1])) / weight.sum() == pytest.approx(columns.first + columns.step * column)


def test_the_cells_of_the_tutorials_network_do_not_reach_the_rim():
    model = scratch.build("tutorial_cnn", height=400, width=300, label_frequencies=[0.5]).model
    graph = flat_graph(model)
    flatten = next(step for step in graph.steps if isinstance(step.operation, layers.Flatten))
    # Before each of four convolutions 1, 2, 4 and 8 pixels a cell: 2 cells are lost to it, and half a one to pooling.
    assert places(graph)[flatten.inputs[0]] == (Axis(2.5 * 15, 16.0), Axis(2.5 * 15, 16.0))


def test_an_operation_that_is_not_known_stretches_the_cells_evenly():
    image = keras.Input((8, 6, 1))
    model = keras.Model(image, layers.Resizing(2, 3)(image))
    graph = flat_graph(model)
    assert places(graph)[graph.answer] == (Axis(1.5, 4.0), Axis(0.5, 2.0))


def test_enlarging_by_hand():
    cells = np.array([[[4.0, 8.0]]], np.float32)
    (found,) = enlarge(cells, Axis(0.0, 1.0), Axis(2.0, 2.0), 2, 7)
    np.testing.assert_allclose(found, [[0, 2, 4, 6, 8, 4, 0], [0] * 7])
    (mirrored,) = enlarge(cells, Axis(0.0, 1.0), Axis(4.0, -2.0), 1, 7)
    np.testing.assert_allclose(mirrored, [[0, 4, 8, 6, 4, 2, 0]])

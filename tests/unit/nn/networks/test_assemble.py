import keras
import numpy as np

from posterity.nn.networks import assemble


def test_mixup_by_hand():
    images = keras.Input((1, 1, 3), dtype="uint8")
    prepared = keras.Input((1, 1, 3))
    kernel = np.array([[1.0], [2.0], [4.0]])
    dense = keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(kernel.tolist()))
    body = keras.Model(prepared, dense(keras.layers.Flatten()(prepared)))
    halves = keras.layers.Rescaling(0.5)
    network = assemble.network(images, [halves], body, name="network", mixup=True)
    batch = {
        "input": np.array([[[[2, 0, 0]]], [[[0, 4, 8]]]], np.uint8),
        "partner": np.array([1, 0], np.int32),
        "share": np.array([0.75, 0.5], np.float32),
    }
    # Halved, they are 1 0 0 and 0 2 4, which gives 1 and 4 + 16 = 20 without mixing.
    np.testing.assert_allclose(network.model(batch["input"]), [[1], [20]])
    np.testing.assert_allclose(network.training(batch, training=True), [[0.75 + 0.25 * 20], [10.5]])
    np.testing.assert_allclose(network.training(batch, training=False), [[1], [20]])

"""What a network looks at, checked by numbers worked out by hand and on a network of every kind."""

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import small_networks
from posterity.nn import keras_file
from posterity.nn.inference import grad_cam, occlusion, saliency
from posterity.nn.inference.embeddings import embed
from posterity.nn.inference.flat_graph import flat_graph, label_steps, run, with_log_odds
from small_project import environment


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A saved and loaded network of a kind of `small_networks`, made once."""

    @functools.cache
    def load(kind):
        if kind in small_networks.TRANSFORMERS or kind == "resnet":
            pytest.importorskip("keras_hub")
        return small_networks.saved_and_loaded(kind, tmp_path_factory.mktemp("network"))

    return load


def by_hand(size, *steps, kernel, bias=0.0):
    """A network of one label on top of ``steps``, which lead from pixels to a vector."""
    image = keras.Input((size, size, 3), dtype="uint8")
    x = keras.ops.cast(image, "float32")
    for step in steps:
        x = step(x)
    last = layers.Dense(1, activation="sigmoid")
    model = keras.Model(image, last(x))
    last.set_weights([np.reshape(kernel, (-1, 1)).astype(np.float32), np.array([bias], np.float32)])
    return model


def blocks(values, side):
    """An image of red blocks: uint8 (1, rows * side, columns * side, 3)."""
    image = np.zeros((1, *(side * np.array(np.shape(values))), 3), np.uint8)
    image[0, ..., 0] = np.kron(values, np.ones((side, side)))
    return image


RED = np.array([[10, 20], [30, 40]])
MIDDLES = np.ix_([1, 4], [1, 4])  # of 2 x 2 cells of 3 x 3 pixels


def test_behind_an_average_a_cell_counts_by_its_value():
    model = by_hand(6, layers.AveragePooling2D(3), layers.GlobalAveragePooling2D(), kernel=[2.0, 5.0, 5.0])
    (found,) = saliency.explain(model, blocks(RED, 3), [0])
    np.testing.assert_allclose(found[MIDDLES], RED / 40, rtol=1e-6)
    assert saliency.method_of(model) == "Grad-CAM"
    assert found.dtype == np.float32


def test_behind_a_maximum_its_cell_alone_counts():
    model = by_hand(6, layers.AveragePooling2D(3), layers.GlobalMaxPooling2D(), kernel=[2.0, 5.0, 5.0])
    (found,) = saliency.explain(model, blocks(RED, 3), [0])
    np.testing.assert_array_equal(found[MIDDLES], [[0, 0], [0, 1]])


def test_where_a_map_is_flattened_channels_count_by_their_mean_weight_and_what_speaks_against_is_left_out():
    weights = np.zeros((2, 2, 3))
    weights[..., 0] = [[8, 1], [-2, 1]]  # 2 on average
    weights[..., 1] = -1
    image = blocks(RED, 3)
    image[..., 1] = 25
    model = by_hand(6, layers.AveragePooling2D(3), layers.Flatten(), kernel=weights)
    (found,) = saliency.explain(model, image, [0])
    np.testing.assert_allclose(found[MIDDLES], [[0, 15 / 55], [35 / 55, 1]], rtol=1e-6)  # -5, 15, 35 and 55


def test_maps_of_two_resolutions_count_by_the_area_of_their_cells():
    image = keras.Input((12, 12, 3), dtype="uint8")
    fine = layers.AveragePooling2D(3)(keras.ops.cast(image, "float32"))
    coarse = layers.AveragePooling2D(2)(fine)
    vectors = [layers.GlobalAveragePooling2D()(found) for found in (coarse, fine)]
    last = layers.Dense(1, activation="sigmoid")
    model = keras.Model(image, last(layers.Concatenate()(vectors)))
    last.set_weights([np.array([[4.0], [0], [0], [1], [0], [0]], np.float32), np.zeros(1, np.float32)])
    bright = np.zeros((4, 4))
    bright[1, 1] = 100
    (found,) = saliency.explain(model, blocks(bright, 3), [0])
    # Log-odds per pixel, times 144: 100 in the fine cell with its middle at pixel 4; 4 · 25 in the coarse cell with its
    # middle at 2.5, of which pixels 1 and 4, 1.5 of 6 pixels away, get 0.75 in each direction.
    assert found[4, 4] == 1
    np.testing.assert_allclose(found[1, 1], 0.5625 / 1.5625, rtol=1e-6)
    np.testing.assert_allclose(found[1, 4], 0.5625 / 1.5625, rtol=1e-6)


def test_a_probability_that_is_saturated_is_explained_as_any_other():
    steps = layers.AveragePooling2D(3), layers.GlobalAveragePooling2D()
    low, high = (by_hand(6, *steps, kernel=[2.0, 0, 0], bias=bias) for bias in (-50.0, 1000.0))
    image = blocks(RED, 3)
    assert high.predict_on_batch(image)[0, 0] == 1
    found = saliency.explain(high, image, [0])
    np.testing.assert_array_equal(found, saliency.explain(low, image, [0]))
    np.testing.assert_allclose(found[0][MIDDLES], RED / 40, rtol=1e-6)


def test_where_nothing_speaks_for_the_label_the_map_is_zero():
    model = by_hand(6, layers.AveragePooling2D(3), layers.GlobalAveragePooling2D(), kernel=[-1.0, -1, -1])
    assert not saliency.explain(model, blocks(RED, 3), [0]).any()


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.proof] * (kind in ("siglip", "swin"))) for kind in small_networks.MAKERS],
)
def test_a_network_of_every_kind_laid_out_flat_is_the_same_network(network, kind):
    model = network(kind)
    images = small_networks.images_for(model)
    graph = flat_graph(model)
    answer = keras.ops.convert_to_numpy(run(graph.steps, {graph.images: images})[graph.answer])
    np.testing.assert_allclose(answer, model(images), atol=2e-6)
    assert saliency.method_of(model) == ("occlusion" if kind in small_networks.TRANSFORMERS else "Grad-CAM")
    if len(label_steps(graph)) == 1:
        graph = with_log_odds(graph)
        log_odds = keras.ops.convert_to_numpy(run(graph.steps, {graph.images: images})[graph.answer])
        np.testing.assert_allclose(1 / (1 + np.exp(-log_odds)), answer, atol=2e-6)


def test_explaining_leaves_the_layers_of_a_model_as_they_were(network):
    model = network("everything")
    nested = list(model._flatten_layers())
    before = [len(layer._inbound_nodes) for layer in nested]
    saliency.explain(model, small_networks.images_for(model), [0, 1, 2])
    assert [len(layer._inbound_nodes) for layer in nested] == before


def test_with_both_views_the_map_of_the_mirror_image_is_the_mirrored_map(network):
    """Of two backbones of two levels each, and three heads: the maps lie where they belong, mirrored or not."""
    model = network("everything")
    images = small_networks.images_for(model)
    maps = saliency.explain(model, images, [0, 1, 2])
    assert (maps.max((1, 2)) == 1).any()
    mirrored = saliency.explain(model, images[:, :, ::-1], [0, 1, 2])
    np.testing.assert_allclose(mirrored, maps[:, :, ::-1], atol=1e-4)


def test_of_a_mean_of_networks_the_mean_of_their_maps_is_taken(network):
    model = network("mean")
    images, labels = small_networks.images_for(model), [2, 1, 0]
    parts = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    assert len(parts) == 2
    mean = np.mean([grad_cam.GradCam(part)(images, labels) for part in parts], axis=0)
    np.testing.assert_allclose(grad_cam.GradCam(model)(images, labels), mean, atol=1e-6 * np.abs(mean).max())


def test_maps_do_not_depend_on_what_else_is_explained(network):
    model = network("compact_cnn")
    images, labels = small_networks.images_for(model, number=18), [k % 3 for k in range(18)]  # more than a batch
    together = grad_cam.GradCam(model)(images, labels)
    alone = grad_cam.GradCam(model)(images[17:], labels[17:])
    np.testing.assert_allclose(together[17:], alone, atol=1e-6 * np.abs(alone).max())


class OfOnePixel:
    """The log-odds of label 1 are a hundredth of the red of pixel (3, 3); those of label 0 are 0."""

    def predict_on_batch(self, images):
        odds = np.stack([np.zeros(len(images)), images[:, 3, 3, 0] / 100], axis=1)
        return 1 / (1 + np.exp(-odds))


def test_occlusion_by_hand():
    image = np.full((1, 12, 12, 3), 227, np.uint8)  # cells of 2 x 2 pixels; the pixel is in cell (1, 1)
    none, found = occlusion.drops(OfOnePixel(), np.repeat(image, 2, axis=0), [0, 1])
    assert not none.any()
    # Covered by grey, 127, the log-odds drop by 1. All four patches over the cell do that, two of those over a cell
    # beside it, and one of those over a cell at its corner. Pixels lie a quarter of a cell beside the middle of theirs.
    cells = np.zeros((6, 6))
    cells[:3, :3] = np.outer([0.5, 1, 0.5], [0.5, 1, 0.5])
    np.testing.assert_allclose(found[2, 2], (0.75 + 0.25 * 0.5) ** 2, rtol=1e-5)
    np.testing.assert_allclose(found.reshape(6, 2, 6, 2)[:, :, 4:].max(), 0, atol=1e-6)
    np.testing.assert_allclose(found[0, 0], cells[0, 0], rtol=1e-5)
    np.testing.assert_array_equal(found, found.T)


def test_a_transformer_is_explained_by_occlusion(network):
    model = network("vit")
    images = small_networks.images_for(model, number=2)
    maps = saliency.explain(model, images, [0, 1])
    assert maps.shape == (2, 16, 12)
    assert maps.dtype == np.float32
    assert maps.min() == 0
    assert (maps.max((1, 2)) == 1).all()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((1, 6, 5, 3), np.uint8), [0], r"images must be uint8 \(n, 6, 6, 3\). Got uint8 \(1, 6, 5, 3\)"),
        (np.zeros((1, 6, 6, 3), np.float32), [0], r"Got float32 \(1, 6, 6, 3\)"),
        (np.zeros((2, 6, 6, 3), np.uint8), [0], "one label for each of 2 images. Got 1"),
        (np.zeros((2, 6, 6, 3), np.uint8), [0, 1], "labels must be from 0 to 0. Got 1"),
        (np.zeros((1, 6, 6, 3), np.uint8), [-1], "Got -1"),
    ],
)
def test_what_does_not_fit_is_an_error(images, labels, message):
    model = by_hand(6, layers.AveragePooling2D(3), layers.GlobalAveragePooling2D(), kernel=[1.0, 1, 1])
    with pytest.raises(ValueError, match=message):
        saliency.explain(model, images, labels)


def test_no_images_have_no_maps():
    model = by_hand(6, layers.AveragePooling2D(3), layers.GlobalAveragePooling2D(), kernel=[1.0, 1, 1])
    assert saliency.explain(model, np.zeros((0, 6, 6, 3), np.uint8), []).shape == (0, 6, 6)


BY_JAX = """
import sys
import keras
import numpy as np
import small_networks
from small_project import environment
from posterity.nn import keras_file
from posterity.nn.inference import embeddings, saliency
assert keras.backend.backend() == "jax"
model = keras_file.load(sys.argv[1] + "/everything.keras")
images = small_networks.images_for(model)
assert saliency.method_of(model) == "Grad-CAM"
maps, vectors = saliency.explain(model, images, [0, 1, 2]), embeddings.embed(model, images)
np.savez(sys.argv[1] + "/by_jax.npz", maps=maps, vectors=vectors)
"""


@pytest.mark.proof
def test_on_jax_the_maps_and_vectors_are_the_same(network, tmp_path):
    pytest.importorskip("jax")
    model = network("everything")
    keras_file.save(model, tmp_path / "everything.keras")
    command = [sys.executable, "-c", BY_JAX, str(tmp_path)]
    done = subprocess.run(command, env=environment(KERAS_BACKEND="jax"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    by_jax = np.load(tmp_path / "by_jax.npz")
    images = small_networks.images_for(model)
    np.testing.assert_allclose(by_jax["maps"], saliency.explain(model, images, [0, 1, 2]), atol=1e-4)
    np.testing.assert_allclose(by_jax["vectors"], embed(model, images), rtol=1e-4, atol=1e-5)

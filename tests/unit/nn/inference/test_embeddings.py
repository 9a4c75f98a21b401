"""What the last layer before the labels sees."""

import keras
import numpy as np
import pytest

import small_networks
from posterity.nn.inference.embeddings import embed


def test_of_a_network_from_scratch_it_is_the_layer_before_the_last():
    model = small_networks.from_scratch("tutorial_cnn")
    images = small_networks.images_for(model)
    body = model.get_layer("body")
    before = keras.Model(body.input, body.get_layer("probabilities").input)
    found = embed(model, images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, before(images / np.float32(255)), rtol=1e-4, atol=1e-6)


def test_of_several_heads_the_vectors_stand_side_by_side_and_of_two_views_the_mean_is_taken(tmp_path):
    model = small_networks.everything(tmp_path)
    images = small_networks.images_for(model, number=2)
    seen = [model.get_layer("backbone")(view) for view in (images, images[:, :, ::-1])]
    heads = [layer for layer in model.get_layer("head").layers if isinstance(layer, keras.Model)]
    assert len(heads) == 3
    expected = []
    for head in heads:
        hidden = keras.Model(head.input, head.get_layer("probabilities").input)
        expected.append(np.mean([keras.ops.convert_to_numpy(hidden(vectors)) for vectors in seen], axis=0))
    np.testing.assert_allclose(embed(model, images), np.concatenate(expected, axis=1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("number", [0, 1, 17])  # 17 are two batches
def test_one_vector_per_image_whatever_their_number(number):
    image = keras.Input((4, 4, 3), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.ops.cast(image, "float32"))
    model = keras.Model(image, keras.layers.Dense(2, activation="sigmoid")(pooled))
    images = small_networks.images_for(model, number)
    np.testing.assert_allclose(embed(model, images), images.mean((1, 2)).reshape(number, 3), rtol=1e-5)


def test_of_a_model_with_other_last_layers_it_is_the_answer():
    image = keras.Input((4, 4, 3), dtype="uint8")
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(keras.ops.cast(image, "float32")))
    images = small_networks.images_for(model)
    np.testing.assert_allclose(embed(model, images), images.mean((1, 2)), rtol=1e-5)

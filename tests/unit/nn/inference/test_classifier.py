import keras
import numpy as np
import pytest

from posterity.nn.inference import engines
from posterity.nn.inference.classifier import score_images
from posterity.nn.networks import scratch
from posterity.nn.training.batches import Batches, images_of
from posterity.nn.training.fit import predict_batches
from posterity.pixels.decode import ImageProblem
from small_cache import TARGETS


class Recorder:
    """Stands in for an engine: the scores of an image are its first two bytes / 255; remembers the batches."""

    def __init__(self):
        self.batches = []

    def __call__(self, batch):
        self.batches.append(batch)
        return batch[:, 0, 0, :2].astype(np.float32) / 255


def image(value):
    return np.full((2, 3, 3), value, np.uint8)


PROBLEM = ImageProblem("unreadable_image", "is empty")


def test_scores_and_problems_come_in_the_order_of_the_images():
    compute = Recorder()
    stream = [image(51), PROBLEM, image(102), image(153), PROBLEM, image(204), image(255), PROBLEM]
    results = list(score_images(compute, stream, batch_size=3))
    assert [result is PROBLEM for result in results] == [False, True, False, False, True, False, False, True]
    scores = [result[0] for result in results if result is not PROBLEM]
    np.testing.assert_allclose(scores, [0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-6)
    assert [batch.shape for batch in compute.batches] == [(2, 2, 3, 3), (2, 2, 3, 3), (1, 2, 3, 3)]
    assert compute.batches[0].dtype == np.uint8


@pytest.mark.parametrize("stream", [[], [PROBLEM], [PROBLEM] * 5])
def test_without_an_image_the_network_is_not_called(stream):
    compute = Recorder()
    assert list(score_images(compute, stream, batch_size=2)) == stream
    assert compute.batches == []


def test_the_first_scores_come_before_the_last_image_is_read():
    taken = []

    def images():
        for k in range(10):
            taken.append(k)
            yield PROBLEM if k % 2 else image(k)  # a folder of broken files is not gathered, either

    next(score_images(Recorder(), images(), batch_size=4))
    assert taken == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["keras", "onnxruntime"])
def test_an_image_scores_the_same_alone_and_among_65(name):
    keras.utils.set_random_seed(0)
    model = scratch.build("compact_cnn", height=64, width=64, label_frequencies=[0.5, 0.1, 0.3]).model
    images = np.random.default_rng(0).integers(0, 256, (65, 64, 64, 3), dtype=np.uint8)
    compute = engines.batch_function(model, name, images[:4])
    together = np.stack(list(score_images(compute, images)))
    assert together.dtype == np.float32
    assert together.shape == (65, 3)
    assert len(np.unique(together, axis=0)) == 65
    np.testing.assert_allclose(together, model(images), rtol=1e-5)
    for k in (0, 1, 63, 64):
        (alone,) = score_images(compute, images[k : k + 1])
        np.testing.assert_array_equal(alone, together[k])


def test_cached_rows_score_as_the_same_images_given_one_by_one(cache):
    keras.utils.set_random_seed(0)
    model = scratch.build("compact_cnn", height=64, width=64, label_frequencies=[0.5, 0.5, 0.5]).model
    rows = np.array([79, 3, 40, 0, 41])
    scores = predict_batches(model, Batches(images_of(cache), TARGETS, rows, 2))
    assert scores.dtype == np.float32
    by_keras = engines.batch_function(model, "keras", cache.images(rows))
    np.testing.assert_allclose(scores, list(score_images(by_keras, cache.images(rows))), rtol=1e-5)

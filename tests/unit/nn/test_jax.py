"""The same code on Keras' JAX backend, in a process of its own: a backend is chosen once per process."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from posterity.model_card import ModelCard, read
from posterity.nn import keras_file
from posterity.nn.networks import scratch
from posterity.pixels.spec import ImageSpec
from small_project import environment

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")

SCRIPT = """
import sys
from pathlib import Path
from types import SimpleNamespace
from posterity.nn import device
gpu = dict(visible_devices=None, memory_growth=True, memory_limit_mb=None, mixed_precision="off", xla=False, tf32=True,
           strategy="single", deterministic=True, required=False, cpu_threads=None, cpu_isa="AVX2")
scope = device.configure(SimpleNamespace(**gpu), seed=1)
import keras, numpy as np
from posterity.model_card import read
from posterity.nn.training import fit
from posterity.nn.networks import scratch
from posterity.nn.training import optimizers
from posterity.nn import keras_file
from posterity.nn.training.batches import Batches, images_of
from posterity.cache.tensors import TensorCache
from small_cache import TARGETS
assert keras.backend.backend() == "jax"
folder = Path(sys.argv[1])
cache = TensorCache(folder / "tensors")
rows = np.arange(80)

def serve(rows, **options):
    return Batches(images_of(cache), TARGETS, rows, 16, **options)

model, card = keras_file.load(folder / "from_tensorflow.keras"), read(folder / "from_tensorflow.keras")
np.save(folder / "by_jax.npy", fit.predict_batches(model, serve(rows)))

def train():
    keras.utils.set_random_seed(1)
    network = scratch.build("compact_cnn", height=64, width=64, label_frequencies=[0.5, 0.5, 0.9], mixup=True)
    sides = serve(rows[:60], shuffle_seed=1, mixup=0.1), serve(rows[60:], mixup=0.0)
    adam = optimizers.build("adam", 3e-3)
    loss = keras.losses.BinaryCrossentropy()
    return network.model, fit.fit(network.training, *sides, loss=loss, optimizer=adam, epochs=6)

with scope:
    (model, history), (_, again) = train(), train()
assert history["loss"].iloc[-1] < history["loss"].iloc[0], history

import jax
from posterity.nn.training import losses
targets = np.array([[1, np.nan, 0], [0.5, 0, np.nan]], np.float32)
scores = np.array([[0.3, 0, 0.2], [0.9, 0.1, 1]], np.float32)
for name in ("bce", "weighted_bce", "focal", "asymmetric"):
    options = losses.LossOptions(label_smoothing=0.1, focal_gamma=0.5, asymmetric_gamma_negative=0.5)
    masked = losses.build(name, options, label_frequencies=[0.5, 0.5, 0.9], masked=True)
    found = np.asarray(jax.grad(lambda given: masked(targets, given))(scores))
    assert np.isfinite(found).all() and ((found == 0) == np.isnan(targets)).all(), (name, found)
assert history.equals(again)
keras_file.save(model, folder / "from_jax.keras", card.as_member())
np.save(folder / "of_jax.npy", fit.predict_batches(model, serve(rows)))
"""


def test_jax_trains_and_exchanges_models_with_tensorflow(cache):
    folder = cache.folder.parent
    card = ModelCard(("bright", "red", "always"), (0.5, 0.5, 0.9), ImageSpec(64, 64))
    model = scratch.build("compact_cnn", height=64, width=64, label_frequencies=card.label_frequencies).model
    keras_file.save(model, folder / "from_tensorflow.keras", card.as_member())
    settings = environment(KERAS_BACKEND="jax", JAX_PLATFORMS="cpu")
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    images = cache.images(np.arange(80))
    np.testing.assert_allclose(np.load(folder / "by_jax.npy"), model.predict(images, verbose=0), atol=1e-5)
    trained, card_again = keras_file.load(folder / "from_jax.keras"), read(folder / "from_jax.keras")
    assert card_again == card
    np.testing.assert_allclose(np.load(folder / "of_jax.npy"), trained.predict(images, verbose=0), atol=1e-5)

import time
import zipfile

import keras
import numpy as np
import pytest

from posterity import model_card
from posterity.errors import UserError
from posterity.model_card import ModelCard
from posterity.nn import keras_file
from posterity.nn.networks import scratch
from posterity.pixels.spec import ImageSpec

CARD = ModelCard(("N/A", "Ä", "c"), (0.5, 0.1, 0.02), ImageSpec(16, 16, "lanczos", "pad", 99))


@pytest.fixture
def model():
    return scratch.build("compact_cnn", height=16, width=16, label_frequencies=CARD.label_frequencies).model


def test_a_model_comes_back_with_its_card(tmp_path, model):
    keras_file.save(model, tmp_path / "model.keras", CARD.as_member())
    loaded, card = keras_file.load(tmp_path / "model.keras"), model_card.read(tmp_path / "model.keras")
    assert card == CARD
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(loaded.predict_on_batch(images), model.predict_on_batch(images))


def test_plain_keras_reads_it(tmp_path, model):
    keras_file.save(model, tmp_path / "model.keras", CARD.as_member())
    assert keras.saving.load_model(tmp_path / "model.keras").count_params() == model.count_params()


def test_a_network_without_a_card_comes_back(tmp_path, model):
    keras_file.save(model, tmp_path / "network.keras")
    loaded = keras_file.load(tmp_path / "network.keras")
    for expected, got in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert not loaded.compiled


def test_the_time_of_saving_does_not_show(tmp_path, model, monkeypatch):
    keras_file.save(model, tmp_path / "a.keras", CARD.as_member())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    time.sleep(2.1)  # zip stores times in steps of two seconds
    keras_file.save(model, tmp_path / "b.keras", CARD.as_member())
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()


def test_no_model(tmp_path):
    with pytest.raises(UserError, match=r"none\.keras: there is no model here. Train one with `dvc repro`"):
        model_card.read(tmp_path / "none.keras")


def test_a_foreign_file(tmp_path, model):
    (tmp_path / "text.keras").write_text("no zip")
    model.save(tmp_path / "plain.keras")
    with zipfile.ZipFile(tmp_path / "plain.keras") as archive:
        assert model_card.CARD not in archive.namelist()
    for name in ("text.keras", "plain.keras"):
        with pytest.raises(UserError, match="expected a model that this pipeline trained"):
            model_card.read(tmp_path / name)


def test_a_model_that_holds_code_is_refused_without_running_it(tmp_path):
    marker = tmp_path / "ran"
    name = str(marker)
    layer = keras.layers.Lambda(lambda x: (open(name, "w").close(), x)[1], output_shape=(2,))  # noqa: PTH123
    keras.Sequential([keras.Input((2,)), layer]).save(tmp_path / "hostile.keras")
    marker.unlink(missing_ok=True)  # building the layer has run it once
    with pytest.raises(UserError, match=r"hostile\.keras: cannot be read as a Keras model: .*[Ll]ambda"):
        keras_file.load(tmp_path / "hostile.keras")
    assert not marker.exists()


def test_a_damaged_model_is_named(tmp_path):
    (tmp_path / "damaged.keras").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UserError, match=r"damaged\.keras: cannot be read as a Keras model"):
        keras_file.load(tmp_path / "damaged.keras")

"""A model that is replaced or deleted while programs read it."""

import dataclasses
import threading

import keras
import numpy as np
import pytest

from posterity import model_card
from posterity.errors import UserError
from posterity.evaluation.calibration import Calibration
from posterity.evaluation.decisions import Decisions
from posterity.model_card import ModelCard
from posterity.nn import keras_file
from posterity.nn.inference.classifier import Classifier
from posterity.pixels.spec import ImageSpec

# The answer of each model is its name: 0.25 for every image, and so on.
ANSWERS = {"quarter": 0.25, "half": 0.5, "most": 0.75}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, answer in ANSWERS.items():
        images = keras.Input((4, 4, 3), dtype="uint8")
        means = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
        constant = keras.initializers.Constant(answer)
        network = keras.Model(images, keras.layers.Dense(1, "linear", True, "zeros", constant)(means))
        decisions = dataclasses.asdict(Decisions(Calibration("off", ((),)), (0.1,), at_least_one=False))
        keras_file.save(network, folder / name, ModelCard((name,), (answer,), ImageSpec(4, 4), decisions).as_member())
    return folder


def answer(path):
    (found,) = Classifier(path, engine="keras").predict(np.zeros((4, 4, 3), np.uint8))
    return found.scores


def test_card_and_network_are_of_one_model_while_another_program_replaces_the_file(models, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes((models / "half").read_bytes())
    contents = [(models / name).read_bytes() for name in ANSWERS]
    stop, replaced = threading.Event(), [0]

    def replace():
        while not stop.is_set():
            (tmp_path / "new").write_bytes(contents[replaced[0] % 3])
            (tmp_path / "new").replace(path)
            replaced[0] += 1

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        found = [answer(path) for _ in range(40)]
    finally:
        stop.set()
        thread.join()
    assert replaced[0] > 40
    for scores in found:
        ((name, score),) = scores.items()
        assert score == ANSWERS[name]
    assert len({name for scores in found for name in scores}) > 1  # it was replaced between them


def test_a_file_that_is_replaced_after_the_card_is_read(models, tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    path.write_bytes((models / "quarter").read_bytes())
    load = keras_file.load

    def replaced_before(*arguments):
        path.unlink()
        path.write_bytes((models / "most").read_bytes())
        return load(*arguments)

    monkeypatch.setattr(keras_file, "load", replaced_before)
    assert answer(path) == {"quarter": 0.25}


def test_while_there_is_no_model_the_served_one_is_used_and_it_is_said(models, tmp_path, capsys):
    path, served = tmp_path / "model.keras", tmp_path / "served.keras"
    path.write_bytes((models / "most").read_bytes())
    served.write_bytes((models / "half").read_bytes())
    assert answer(path) == {"most": 0.75}
    assert capsys.readouterr().err == ""
    path.unlink()
    assert answer(path) == {"half": 0.5}
    assert capsys.readouterr().err == (
        f"{path} does not exist; {served} is used, which the last run of evaluate left.\n"
    )
    with pytest.raises(UserError, match=r"model\.keras: there is no model here"):
        model_card.read(path)  # a stage takes no other file than the one that DVC gives it
    served.unlink()
    with pytest.raises(UserError, match=r"model\.keras: there is no model here"):
        answer(path)


def test_a_damaged_model_is_not_replaced_by_the_served_one(models, tmp_path):
    (tmp_path / "served.keras").write_bytes((models / "half").read_bytes())
    (tmp_path / "model.keras").write_bytes((models / "half").read_bytes()[:-30])
    with pytest.raises(UserError, match=r"model\.keras: expected a model that this pipeline trained"):
        answer(tmp_path / "model.keras")

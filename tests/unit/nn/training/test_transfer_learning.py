"""Transfer learning: a head and its backbone in one model, and what keeps them from disagreeing."""

from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from posterity.cache import features
from posterity.cache.features import FeatureCache
from posterity.nn import keras_file
from posterity.nn.networks import extractor
from posterity.nn.training.trainer import Trainer, TrainingData
from posterity.nn.training.transfer_learning import TransferLearning, check_assembled
from small_cache import TARGETS


class NoTraining(Trainer):
    """A trainer that gives random weights to the head instead of training, and keeps the networks it was given."""

    def __init__(self):
        recipe = SimpleNamespace(mixup=0.4, epochs=1, learning_rate=0.1, augment=SimpleNamespace(flip=False))
        frequencies = np.array([0.5, 0.4, 0.9])
        super().__init__(recipe, TrainingData(TARGETS, np.arange(60), np.arange(60, 80), frequencies), seed=1)
        self.networks = {}

    def augmentation(self, value_range):
        return []

    def fit(self, phases, training, validation, **options):
        for phase in phases:
            self.networks[phase.name] = phase.model
            if phase.name == "head":
                generator = np.random.default_rng(0)
                for weight in phase.model.trainable_weights:
                    weight.assign(generator.normal(size=weight.shape))
        return pd.DataFrame({"phase": [phase.name for phase in phases], "epoch": range(1, len(phases) + 1)})


@pytest.fixture
def linear(cache, tmp_path):
    """A trainer, and features of the `cache` fixture by a backbone that averages the pixels of each colour."""
    images = keras.Input((64, 64, 3), dtype="uint8")
    backbone = extractor.feature_model([keras.Model(images, keras.ops.cast(images, "float32"))])
    folder = tmp_path / "features"
    folder.mkdir()
    keras_file.save(backbone, folder / features.BACKBONE)
    with features.FeatureWriter(folder, len(cache), 3) as writer:
        writer.append(cache.images(np.arange(len(cache))).mean((1, 2))[:, None].repeat(2, axis=1))
    features.write_meta(folder, ["any"], num_rows=len(cache), length=3)
    return NoTraining(), FeatureCache(folder)


def model_params(mode="finetune", both_views=False):
    head = SimpleNamespace(hidden_units=0, dropout=0.0, both_views=both_views)
    return SimpleNamespace(
        mode=mode, head=head, finetune=SimpleNamespace(epochs=1, learning_rate=0.1, layers=None, lora_rank=None)
    )


def test_mixed_images_are_rounded_for_the_backbone(cache, linear):
    trainer, vectors = linear
    fitted = TransferLearning(cache, vectors, model_params()).fit(trainer)
    flat = [np.full((64, 64, 3), level, np.uint8) for level in (0, 10, 11, 255)]
    batch = {
        "input": np.stack(flat),
        "partner": np.array([0, 2, 1, 3], np.int32),
        "share": np.full(4, 0.75, np.float32),
    }
    # 0.75 · 10 + 0.25 · 11 = 10.25 and 0.75 · 11 + 0.25 · 10 = 10.75, to be rounded to 10 and 11.
    mixed = keras.ops.convert_to_numpy(trainer.networks["finetune"](batch, training=True))
    np.testing.assert_allclose(mixed, fitted.network(np.stack(flat)), rtol=1e-5)
    assert abs(mixed[1] - mixed[2]).max() > 1e-4


def test_other_features_than_the_backbones_are_an_error(cache, linear):
    trainer, vectors = linear
    wrong = vectors.vectors(np.arange(80)) + 5
    vectors.vectors = lambda rows, mirrored=False: wrong[rows]
    with pytest.raises(RuntimeError, match="the assembled model differs by 0"):
        TransferLearning(cache, vectors, model_params()).fit(trainer)


@pytest.mark.parametrize(("shift", "said"), [(0.0, False), (0.003, True)])
def test_a_difference_that_rounding_can_make_is_a_warning(cache, linear, capsys, shift, said):
    trainer, vectors = linear
    wrong = vectors.vectors(np.arange(80)) + shift
    vectors.vectors = lambda rows, mirrored=False: wrong[rows]
    TransferLearning(cache, vectors, model_params()).fit(trainer)
    assert ("WARNING: the assembled model differs by" in capsys.readouterr().err) is said


@pytest.mark.parametrize(("layers", "said"), [(None, False), (9, True)])
def test_more_layers_to_tune_than_there_are_is_said(cache, linear, capsys, layers, said):
    trainer, vectors = linear
    params = model_params()
    params.backbone, params.finetune.layers = ["linear.keras"], layers
    TransferLearning(cache, vectors, params).fit(trainer)
    warning = "WARNING: model.finetune.layers is 9, and linear.keras has 0: all of them are trained."
    assert (warning in capsys.readouterr().err) is said


def assembled(shift):
    """A model that answers 0.5 to everything, and what a head may have said: one of two labels is ``shift`` away."""
    inputs = keras.Input((2, 2, 3), dtype="uint8")
    half = keras.layers.Dense(2, activation="sigmoid", kernel_initializer="zeros")
    model = keras.Model(inputs, half(keras.layers.GlobalAveragePooling2D(dtype="float32")(inputs)))
    return model, np.zeros((4, 2, 2, 3), np.uint8), np.tile(np.array([0.5, 0.5 + shift], np.float32), (4, 1))


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_the_head_on_features_of_a_lower_precision_may_differ_on_average(capsys, precision):
    """The mean of 0 and 0.018 is 0.009, and of 0 and 0.022 it is 0.011."""
    check_assembled(*assembled(0.018), precision=precision)
    assert capsys.readouterr().err == (
        f"The model in float32 differs by 0.009 on average from the head on cached {precision} features (allowed: 0.01)"
        ".\n"
    )
    for wrong in (0.022, np.nan):
        with pytest.raises(RuntimeError, match=f"the head on cached {precision} features; expected at most 0.01$"):
            check_assembled(*assembled(wrong), precision=precision)
    with pytest.raises(RuntimeError, match="the assembled model differs by 0.018 from the head"):
        check_assembled(*assembled(0.018))

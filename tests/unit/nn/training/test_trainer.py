"""That what params.yaml says arrives where it acts; what it does there is tested there."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from posterity.config.load import load_params
from posterity.errors import UserError
from posterity.evaluation import metrics
from posterity.nn.networks import assemble
from posterity.nn.training import fit
from posterity.nn.training.batches import images_of
from posterity.nn.training.trainer import Phase, Trainer, TrainingData
from small_cache import TARGETS

TRAIN, VALIDATION = np.arange(60), np.arange(60, 80)
FREQUENCIES = np.array([0.5, 0.25, 0.9])


def trainer(seed=5, rows_per_shard=1, targets=TARGETS, **changed):
    recipe = load_params(Path(__file__).parents[4] / "params.yaml").train
    recipe = recipe.model_copy(update={"batch_size": 16, "mixup": 0.0, "early_stopping": None} | changed)
    return Trainer(recipe, TrainingData(targets, TRAIN, VALIDATION, FREQUENCIES, rows_per_shard), seed=seed)


def network(mixup):
    """What is trained: the form ``training`` of `assembled`."""
    return assembled(mixup).training


def assembled(mixup):
    images = keras.Input((64, 64, 3), dtype="uint8", name="image")
    prepared = keras.Input((64, 64, 3), name="prepared")
    x = keras.layers.GlobalAveragePooling2D()(prepared)
    body = keras.Model(prepared, keras.layers.Dense(3, activation="sigmoid")(x), name="body")
    return assemble.network(images, [keras.layers.Rescaling(1 / 255)], body, name="tiny", mixup=mixup)


@pytest.fixture
def caught(monkeypatch):
    """What the trainer would have given to `fit.fit`."""
    caught = {}

    def catch(model, training, validation, **options):
        caught.update(options, model=model, training=training, validation=validation)
        return pd.DataFrame({"epoch": [1]})

    monkeypatch.setattr(fit, "fit", catch)
    return caught


def call(trainer, cache, model, epochs=3):
    source = images_of(cache)
    return trainer.fit([Phase("somewhere", model, epochs)], source, source, learning_rate=0.25)


def test_the_recipe_reaches_the_training(cache, caught):
    recipe = {
        "loss": "weighted_bce",
        "positive_weight_cap": 2.0,
        "optimizer": "adamw",
        "weight_decay": 0.125,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
        "clip_norm": 3.0,
        "ema": 0.75,
        "early_stopping": 7,
        "keep_epoch": "best",
    }
    call(trainer(**recipe), cache, network(mixup=False))
    assert caught["loss"].positive_weight == pytest.approx([1, 2, 1 / 9])  # (1 - f) / f = 1, 3, 1/9, the cap being 2
    optimizer = caught["optimizer"]
    assert (optimizer.weight_decay, optimizer.global_clipnorm, optimizer.use_ema) == (0.125, 3.0, True)
    # 3 epochs of 4 batches, 2 steps of them warm up: half way down after 5 of the other 10, at 0 after all.
    rates = [float(optimizer._learning_rate(step)) for step in (2, 7, 12)]
    assert rates == pytest.approx([0.25, 0.125, 0], abs=1e-7)
    assert (caught["epochs"], caught["early_stopping"], caught["keep_epoch"]) == (3, 7, "best")
    np.testing.assert_array_equal(np.sort(caught["training"]._order), TRAIN)
    np.testing.assert_array_equal(caught["validation"]._order, VALIDATION)


def test_shards_are_shuffled_as_the_recipe_says(cache, caught):
    model, source = network(mixup=False), images_of(cache)
    trainer(shuffle_shards=1, rows_per_shard=10).fit([Phase("somewhere", model, 3)], source, source, learning_rate=0.25)
    shards = caught["training"]._order // 10
    assert (np.diff(shards) != 0).sum() == 5  # 6 shards, one after the other
    np.testing.assert_array_equal(np.sort(caught["training"]._order), TRAIN)


def test_only_the_training_side_is_mixed(cache, caught):
    call(trainer(mixup=0.4), cache, network(mixup=True))
    assert (caught["training"][0][0]["share"] < 1).any()
    assert (caught["validation"][0][0]["share"] == 1).all()
    np.testing.assert_array_equal(caught["validation"][1][1], TARGETS[VALIDATION[16:]])


def test_a_network_without_mixup_is_served_plain_images(cache, caught):
    call(trainer(), cache, network(mixup=False))
    for side in ("training", "validation"):
        assert caught[side][0][0].shape == (16, 64, 64, 3)


def test_mixup_trains_and_validates(cache):
    keras.utils.set_random_seed(0)
    history = call(trainer(mixup=0.4), cache, network(mixup=True), epochs=6)
    assert history.columns.tolist() == ["phase", "epoch", "loss", "bce", "val_bce"]
    assert set(history["phase"]) == {"somewhere"}
    assert history["val_bce"].iloc[-1] < history["val_bce"].iloc[0]


def test_phases_share_the_weights_the_optimizer_and_the_order_of_batches(cache):
    """A training cut in two is the training: the same model stands in for itself."""

    def trained(*epochs):
        keras.utils.set_random_seed(0)
        model, source = network(mixup=True), images_of(cache)
        phases = [Phase(f"part {k}", model, number) for k, number in enumerate(epochs)]
        recipe = trainer(mixup=0.4, optimizer="adamw", schedule="cosine", warmup_epochs=1.0)
        return recipe.fit(phases, source, source, learning_rate=0.05)

    whole, cut = trained(5), trained(2, 3)
    assert cut["phase"].tolist() == ["part 0"] * 2 + ["part 1"] * 3
    pd.testing.assert_frame_equal(cut.drop(columns="phase"), whole.drop(columns="phase"), check_exact=True)


def test_early_stopping_is_for_the_last_phase(cache, caught, monkeypatch):
    asked = []
    catch = fit.fit
    monkeypatch.setattr(fit, "fit", lambda *args, **options: (asked.append(options), catch(*args, **options))[1])
    model, source = network(mixup=False), images_of(cache)
    recipe = trainer(early_stopping=4, keep_epoch="best")
    recipe.fit([Phase("one", model, 2), Phase("two", model, 3)], source, source, learning_rate=0.1)
    assert [(o["epochs"], o["early_stopping"], o["keep_epoch"]) for o in asked] == [(2, None, "last"), (3, 4, "best")]


def test_augmentation_is_that_of_the_recipe(cache):
    recipe = load_params(Path(__file__).parents[4] / "params.yaml").train.augment
    off = dict.fromkeys(recipe.model_dump(), 0.0) | {"flip": False}
    assert trainer(augment=recipe.model_copy(update=off)).augmentation((0.0, 1.0)) == []
    flip_and_erase = recipe.model_copy(update=off | {"flip": True, "erase": 1.0})
    flip, erase = trainer(augment=flip_and_erase).augmentation((0.0, 10.0))
    assert (flip.name, erase.name) == ("flip", "erase")
    erased = keras.ops.convert_to_numpy(erase(np.ones((1, 40, 30, 3), np.float32), training=True))
    assert set(np.unique(erased)) == {1.0, 5.0}  # the middle of the range


def with_unknown(rows, share=0.3):
    """The targets with ``share`` of the cells of ``rows`` unknown."""
    targets = TARGETS.copy()
    targets[rows] = np.where(np.random.default_rng(1).random((len(rows), 3)) < share, 2, targets[rows])
    return targets


@pytest.mark.parametrize("rows", [TRAIN, VALIDATION])
def test_unknown_targets_of_either_side_mask_the_loss(cache, caught, rows):
    call(trainer(targets=with_unknown(rows)), cache, network(mixup=False))
    assert caught["loss"].masked


def test_without_an_unknown_target_the_loss_is_the_one_of_keras(cache, caught):
    targets = np.vstack([TARGETS, np.full((5, 3), 2, np.uint8)])  # rows of neither side have no say
    call(trainer(targets=targets), cache, network(mixup=False))
    assert type(caught["loss"]) is keras.losses.BinaryCrossentropy
    call(trainer(targets=targets, loss="focal"), cache, network(mixup=False))
    assert not caught["loss"].masked


@pytest.mark.parametrize("loss", ["bce", "weighted_bce", "focal", "asymmetric"])
@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_a_label_that_no_training_row_knows_keeps_its_weights(cache, loss, mixup):
    """Not one bit of them moves, while the other labels learn: a whole training shows no trace of an unknown cell."""
    targets = with_unknown(np.arange(80))
    targets[TRAIN, 1] = 2
    keras.utils.set_random_seed(0)
    tiny = assembled(mixup=mixup > 0)
    before = tiny.training.get_weights()
    recipe = {
        "loss": loss,
        "mixup": mixup,
        "label_smoothing": 0.1,
        "optimizer": "adam",
        "weight_decay": 0.0,
        "keep_epoch": "best",
    }
    history = call(trainer(targets=targets, **recipe), cache, tiny.training, epochs=3)
    for old, new in zip(before, tiny.training.get_weights(), strict=True):
        assert ((old == new) == [False, True, False]).all()
    if loss == "bce" and not mixup:
        np.testing.assert_allclose(history["loss"], history["bce"], atol=0.1)  # the same scale; targets are smoothed
    # And the loss of the validation side is that of its known cells, as `evaluate` computes it.
    scores = trainer().score(tiny.model, images_of(cache), VALIDATION)
    expected = metrics.binary_cross_entropy(targets[VALIDATION], scores.astype(float))
    assert history["val_bce"].min() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("side", "rows"), [("training", TRAIN), ("validation", VALIDATION)])
def test_a_side_that_knows_nothing_is_an_error(side, rows):
    with pytest.raises(UserError, match=rf"at least one {side} row\. Got unknown in all cells of {len(rows)} rows"):
        trainer(targets=with_unknown(rows, share=1.0))

"""The space of a search: what is read from a file, and what is refused, with the words for it."""

import pytest

from posterity.config import yaml12
from posterity.config.load import load_params
from posterity.errors import UserError
from posterity.searching import space as spaces
from posterity.searching.space import Choices, Range
from small_project import ROOT

BASE = load_params(ROOT / "params.yaml")


def parse(text):
    return spaces.parse(yaml12.parse(text), BASE, "mine.yaml")


def test_lists_are_choices_and_mappings_are_ranges():
    found = parse("""\
model:
  head: {hidden_units: {low: 16, high: 1024, log: true}}
train:
  clip_norm: [null, 1]
  augment: {flip: [true, false]}
  loss: [bce, focal]
  mixup: {low: 0, high: 1, step: 0.25}
""")
    assert found == (
        Range("model.head.hidden_units", 16, 1024, log=True, is_integer=True),
        Choices("train.clip_norm", (None, 1.0)),
        Choices("train.augment.flip", (True, False)),
        Choices("train.loss", ("bce", "focal")),
        Range("train.mixup", 0.0, 1.0, step=0.25),
    )
    assert type(found[4].low) is float  # params.yaml would get 0.0, as it is written there


def test_the_default_space_fits_the_recipe_it_is_for():
    found = parse(spaces.DEFAULT)
    assert len(found) == 7
    assert spaces.values_of(BASE, found)["train.epochs"] == BASE.train.epochs


@pytest.mark.parametrize(
    "text",
    ["train: {optimizer: [adam, adamw], weight_decay: [0.0, 1.0]}", "train: {epochs: [5, 20], warmup_epochs: [1, 12]}"],
)
def test_a_value_that_goes_together_with_one_of_another_parameter_is_possible(text):
    """Beside the parameters as they are each is refused: adam has no weight decay, and 10 epochs no 12 of warm-up."""
    base = spaces.with_values(BASE, {"train.optimizer": "adamw", "train.weight_decay": 1.0}, "here")
    assert len(spaces.parse(yaml12.parse(text), base, "mine.yaml")) == 2


def test_values_are_put_into_their_sections():
    changed = spaces.with_values(BASE, {"model.head.dropout": 0.25, "train.epochs": 7}, "here")
    assert (changed.model.head.dropout, changed.train.epochs) == (0.25, 7)
    put_back = {"model.head.dropout": BASE.model.head.dropout, "train.epochs": BASE.train.epochs}
    assert spaces.with_values(changed, put_back, "here") == BASE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "mine.yaml: expected sections of params.yaml with what to search"),
        ("train: {}", "mine.yaml: expected a parameter to search. Got none."),
        ("seed: [1, 2]", "mine.yaml: seed cannot be searched: expected parameters of train and model.head"),
        ("model: {name: [backbone, compact_cnn]}", "mine.yaml: model.name cannot be searched"),
        ("train: {folds: [2, 5]}", "mine.yaml: train.folds cannot be searched: the search deals the folds"),
        ("train: {keep_epoch: [last, best]}", "keep_epoch cannot be searched: it chooses by the validation side"),
        ("train: {augment: {zoom: [0.0, 0.1]}}", "zoom cannot be searched: on cached features it changes nothing"),
        ("train: {dropout: [0.1, 0.2]}", "mine.yaml: train.dropout is not a parameter of params.yaml"),
        ("train: {focal: [1, 2]}", "mine.yaml: train.focal is not a parameter of params.yaml"),
        ("train: {mixup: {a: {low: 0, high: 1}}}", "mine.yaml: train.mixup.a is not a parameter"),
        ("train: {mixup: 0.5}", "mine.yaml: train.mixup must be a list of values, or {low: ..., high: ...}. Got 0.5."),
        ("train: {mixup: [0.5]}", "train.mixup must be a list of at least two different values. Got [0.5]."),
        ("train: {mixup: [0, 0.0]}", "train.mixup must be a list of at least two different values. Got [0, 0.0]."),
        ("train: {mixup: [0, [1]]}", "train.mixup must be a list of plain values. Got [1] in it."),
        ("train: {mixup: [0, -1]}", "mine.yaml: train.mixup must be a number >= 0. Got -1"),
        ("train: {mixup: {low: -1, high: 1}}", "mine.yaml: train.mixup must be a number >= 0. Got -1"),
        ("train: {mixup: {low: 0}}", "mine.yaml: train.mixup.high must be a number. Got None."),
        ("train: {mixup: {low: 1, high: 0}}", "mine.yaml: train.mixup.low must be less than high, 0. Got 1."),
        ("train: {mixup: {low: 0, high: 1, log: true}}", "train.mixup.low must be above 0 for log: true. Got 0."),
        ("train: {mixup: {low: 0, high: 1, log: 1}}", "train.mixup.log must be true or false. Got 1."),
        ("train: {mixup: {low: 0, high: 1, by: 1}}", "train.mixup must have low and high, and may have log and step."),
        ("train: {mixup: {low: 0, high: 1, step: 0.3}}", "train.mixup.step must be above 0 and lead from low, 0,"),
        ("train: {mixup: {low: 0, high: 1, step: 0}}", "train.mixup.step must be above 0"),
        ("train: {mixup: {low: 1, high: 2, step: 1, log: true}}", "must have either log: true or a step. Got both."),
        ("train: {mixup: {low: 0, high: .inf}}", "mine.yaml: train.mixup.high must be a number. Got inf."),
        ("train: {epochs: {low: 1.5, high: 3}}", "mine.yaml: train.epochs.low must be an integer. Got 1.5."),
        ("train: {epochs: {low: true, high: 3}}", "mine.yaml: train.epochs.low must be an integer. Got True."),
        ("train: {loss: {low: 0, high: 1}}", "mine.yaml: train.loss must be a list of values: it is no number."),
        ("train: {warmup_epochs: [0.5, 12]}", "mine.yaml: train.warmup_epochs must be less than train.epochs, 10."),
    ],
)
def test_what_cannot_be_searched_is_refused(text, message):
    with pytest.raises(UserError) as raised:
        parse(text)
    assert message in str(raised.value)

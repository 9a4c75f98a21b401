"""Which values Optuna proposes: within the space, the same ones again, and better ones than chance."""

import builtins

import pytest

from posterity.errors import UserError
from posterity.searching.space import Choices, Range
from posterity.searching.study import Study

SPACE = (
    Range("train.learning_rate", 0.001, 1.0, log=True),
    Range("train.epochs", 2, 8, step=3, is_integer=True),
    Choices("train.loss", ("bce", "focal")),
)


def run(number, seed=0, loss_of=lambda values: values["train.learning_rate"]):
    pytest.importorskip("optuna")
    study, tried = Study(SPACE, seed), []
    for _ in range(number):
        tried.append(study.ask())
        study.tell(loss_of(tried[-1]))
    return tried


def test_the_values_lie_in_the_space():
    tried = run(30)
    assert {values["train.epochs"] for values in tried} == {2, 5, 8}
    assert {values["train.loss"] for values in tried} == {"bce", "focal"}
    rates = [values["train.learning_rate"] for values in tried]
    assert 0.001 <= min(rates) < max(rates) <= 1.0
    assert [float(f"{rate:.3g}") for rate in rates] == rates  # three digits


def test_the_same_seed_and_losses_give_the_same_values():
    assert run(14) == run(14)
    assert run(14)[:12] == run(12)
    assert run(3) != run(3, seed=1)


def test_it_learns_from_losses():
    """The first ten are drawn at random; of the later ones, most are at the end of the space that has low losses."""
    rates = [values["train.learning_rate"] for values in run(30)]
    assert sum(rate < 0.01 for rate in rates[10:]) > 12


def test_trials_without_a_loss_are_passed_over():
    tried = run(14, loss_of=lambda values: None)
    assert len(tried) == 14


def test_without_optuna_the_message_says_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "optuna":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"needs the package optuna, .* -e '\.\[search\]'"):
        Study(SPACE, 0)

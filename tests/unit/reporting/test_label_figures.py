import numpy as np
import pytest

from label_examples import figures
from posterity.evaluation.bootstrap import bootstrap_intervals, label_intervals
from posterity.evaluation.scored_rows import checked
from posterity.reporting import label_figures
from posterity.reporting.label_figures import worst_first


def test_figures_of_a_label_worked_out_by_hand():
    # From the highest score down: yes, no, yes, no; decided: the first two.
    (found,) = figures([[1], [0], [1], [0]], [[0.9], [0.6], [0.4], [0.1]])
    assert found.support == 2
    assert found.known == 4
    assert found.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert found.prior == 0.5
    assert found.lift == pytest.approx((1 + 2 / 3) / 2 - 0.5)
    assert found.roc_auc == pytest.approx(3 / 4)
    assert (found.precision, found.recall, found.f1) == (0.5, 0.5, 0.5)
    assert (found.decided, found.right) == (2, 1)
    assert found.mean_score == pytest.approx(0.5)
    assert found.low <= found.average_precision <= found.high


def test_unknown_cells_are_in_no_figure():
    with_unknown = figures([[1], [0], [2], [1], [0]], [[0.9], [0.6], [0.99], [0.4], [0.1]])
    without = figures([[1], [0], [1], [0]], [[0.9], [0.6], [0.4], [0.1]])
    assert with_unknown[0].known == 4
    for name in ("support", "average_precision", "prior", "roc_auc", "precision", "recall", "f1", "mean_score"):
        assert getattr(with_unknown[0], name) == getattr(without[0], name), name


def test_a_label_that_no_row_has_cannot_be_judged():
    never, seen = figures([[0, 1], [0, 0]], [[0.1, 0.9], [0.2, 0.1]])
    assert (never.average_precision, never.low, never.roc_auc, never.lift) == (None, None, None, 0.0)
    assert never.trust == "cannot be judged"
    assert worst_first([never, seen]) == [seen]


def test_what_is_said_of_chance_follows_the_rank_test():
    # All 12 positive rows above all 12 negative ones: p = 1 / (24 choose 12), far below 0.05 / 2. The other label has
    # the same scores, its positive rows being every second one.
    score = np.linspace(0.9, 0.1, 24)
    y_true = np.stack([np.arange(24) < 12, np.arange(24) % 2], axis=1).astype(int)
    apart, chance = figures(y_true, np.stack([score, score], axis=1))
    assert apart.trust == "yes"
    assert chance.trust == "not shown"
    few = figures(y_true[9:], np.stack([score, score], axis=1)[9:])[0]  # 3 of 15 rows: p = 1 / 455
    assert few.support < label_figures.FEW_ROWS
    assert few.trust == "yes, few rows"


def test_intervals_of_one_label_are_those_of_the_macro_mean():
    generator = np.random.default_rng(0)
    truth = (generator.random((60, 1)) < 0.3).astype(int)
    score = (0.3 * truth + 0.7 * generator.random((60, 1))).clip(0, 1)
    whole = bootstrap_intervals(truth, score, [0.3], num_samples=50, seed=3)
    low, high = label_intervals(checked(truth, score), num_samples=50, seed=3)[:, 0]
    assert (low, high) == pytest.approx((whole["map_macro_low"], whole["map_macro_high"]))


def test_intervals_of_a_label_that_is_not_scored_are_not_numbers():
    found = label_intervals(checked([[0, 1], [0, 0]], [[0.1, 0.9], [0.2, 0.1]]), num_samples=10, seed=0)
    assert np.isnan(found[:, 0]).all()
    assert not np.isnan(found[:, 1]).any()

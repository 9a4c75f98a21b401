import json
from dataclasses import asdict

import numpy as np
import pytest

from posterity.evaluation import decisions
from posterity.evaluation.calibration import METHODS, Calibration
from posterity.evaluation.decisions import DecisionOptions, Decisions
from posterity.evaluation.thresholds import NEVER


def informative(num_rows=300, seed=0):
    """Labels of 50 %, 30 %, 10 % and 2 % of the rows, with scores that know something of them."""
    rng = np.random.default_rng(seed)
    y_true = (rng.random((num_rows, 4)) < [0.5, 0.3, 0.1, 0.02]).astype(np.uint8)
    return y_true, np.clip(0.3 * y_true + 0.7 * rng.random(y_true.shape), 0, 1)


def f1_of(y_true, decided):
    return 2 * np.sum(y_true & decided) / (y_true.sum() + decided.sum())


def plain(thresholds, at_least_one=False):
    return Decisions(Calibration("off", ((),) * len(thresholds)), tuple(thresholds), at_least_one)


def test_a_score_that_reaches_its_threshold_is_decided():
    calibrated, decided = plain([0.5, 0.2, NEVER]).apply([[0.5, 0.1, 1.0], [0.4, 0.2, 0.0]])
    assert calibrated.tolist() == [[0.5, 0.1, 1.0], [0.4, 0.2, 0.0]]
    assert decided.tolist() == [[True, False, False], [False, True, False]]


def test_at_least_one_gives_a_row_without_a_label_its_likeliest():
    given = [[0.1, 0.3, 0.2], [0.9, 0.8, 0.1], [0.4, 0.4, 0.2]]
    thresholds = [0.6, NEVER, 0.6]
    assert plain(thresholds).apply(given)[1].sum(axis=1).tolist() == [0, 1, 0]
    decided = plain(thresholds, at_least_one=True).apply(given)[1]
    assert decided.tolist() == [[False, True, False], [True, False, False], [True, False, False]]


def test_the_likeliest_label_is_that_of_the_calibrated_score_then_of_the_score():
    curves = (((0.0, 0.1), (1.0, 0.1)), ((0.0, 0.2), (1.0, 0.2)), ((0.0, 0.2), (1.0, 0.2)))
    decided = Decisions(Calibration("isotonic", curves), (NEVER,) * 3, True).apply([[0.9, 0.3, 0.4], [0.9, 0.5, 0.4]])[
        1
    ]
    assert decided.tolist() == [[False, False, True], [False, True, False]]


def test_thresholds_are_chosen_on_calibrated_scores():
    y_true, y_score = informative()
    found = decisions.fit(y_true, y_score, DecisionOptions(calibration="platt"))
    calibrated, decided = found.apply(y_score)
    for label in range(3):
        f1 = [f1_of(y_true[:, label], calibrated[:, label] >= cut) for cut in calibrated[:, label]]
        assert f1_of(y_true[:, label], decided[:, label]) == max(f1)
    # The last label is rare: its threshold is the best one for the calibrated cells of all labels.
    assert y_true[:, 3].sum() < 10
    f1 = [f1_of(y_true, calibrated >= cut) for cut in calibrated.ravel()]
    assert f1_of(y_true, calibrated >= found.thresholds[3]) == max(f1)
    assert f1_of(y_true, y_score >= found.thresholds[3]) < max(f1)


def test_exactly_one_gives_every_row_its_likeliest_and_no_other():
    given = [[0.1, 0.3, 0.2], [0.9, 0.8, 0.1], [0.4, 0.4, 0.2]]
    thresholds = (0.0, NEVER, 0.6)  # without regard to these
    decided = Decisions(Calibration("off", ((),) * 3), thresholds, False, exactly_one=True).apply(given)[1]
    assert decided.tolist() == [[False, True, False], [True, False, False], [True, False, False]]
    flat = ((0.0, 0.2), (1.0, 0.2))
    calibrated = Decisions(Calibration("isotonic", (((0.0, 0.1), (1.0, 0.1)), flat, flat)), thresholds, False, True)
    assert calibrated.apply([[0.9, 0.3, 0.4]])[1].tolist() == [[False, False, True]]


def test_decisions_of_older_models_are_not_exactly_one():
    content = asdict(plain([0.5, 0.2]))
    assert content.pop("exactly_one") is False
    assert Decisions.from_content(content) == plain([0.5, 0.2])


@pytest.mark.parametrize("calibration", METHODS)
@pytest.mark.parametrize("exactly_one", [False, True])
@pytest.mark.parametrize("at_least_one", [False, True])
def test_json_keeps_every_bit(calibration, at_least_one, exactly_one):
    y_true, y_score = informative()
    found = decisions.fit(
        y_true, y_score, DecisionOptions(calibration, at_least_one=at_least_one, exactly_one=exactly_one)
    )
    again = Decisions.from_content(json.loads(json.dumps(asdict(found), allow_nan=False)))
    assert again == found == Decisions.from_content(asdict(found))
    assert again.at_least_one is at_least_one
    assert again.exactly_one is exactly_one

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from posterity.evaluation import bootstrap
from posterity.evaluation.bootstrap import average_precisions, bootstrap_intervals
from posterity.evaluation.metrics import evaluate

FREQUENCIES = [0.3, 0.3, 0.3]


def random_example(num_rows=300, seed=0):
    rng = np.random.default_rng(seed)
    y_true = (rng.random((num_rows, 3)) < 0.3).astype(np.uint8)
    # Rounded, so that there are many ties.
    return y_true, np.clip(0.1 + 0.2 * y_true + 0.4 * rng.random(y_true.shape), 0, 1).round(2)


def width(intervals, name):
    return intervals[f"{name}_high"] - intervals[f"{name}_low"]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=25)
)
@settings(max_examples=200, deadline=None)
def test_average_precision_is_that_of_scikit_learn_on_repeated_rows(rows):
    positive = np.array([row[0] for row in rows])
    score = np.array([row[1] for row in rows]) / 4
    counts = np.array([row[2:] for row in rows])
    found = average_precisions(positive, score, counts)
    for resample in range(2):
        truth = np.repeat(positive, counts[:, resample])
        if truth.size and truth.any() and not truth.all():
            expected = average_precision_score(truth, np.repeat(score, counts[:, resample]))
            assert found[resample] == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(found[resample])


def test_average_precision_worked_out_by_hand():
    # From the top: 0.9 yes, 0.5 no twice and yes once (one step), 0.1 yes.
    positive = np.array([True, False, True, True])
    found = average_precisions(positive, np.array([0.9, 0.5, 0.5, 0.1]), np.array([[1], [2], [1], [1]]))
    assert found == pytest.approx([1 / 3 * 1 + 1 / 3 * 2 / 4 + 1 / 3 * 3 / 5])


def test_intervals_are_the_percentiles_of_a_plain_loop():
    y_true, y_score = random_example(num_rows=40)
    y_true[:, 2] = 0
    y_true[7, 2] = 1  # in a third of the resamples, label 2 has no positive row
    drawn = np.random.default_rng(5).integers(40, size=(60, 40))
    results = [evaluate(y_true[rows], y_score[rows], FREQUENCIES) for rows in drawn]
    assert {result["labels_scored"] for result in results} == {2, 3}
    intervals = bootstrap_intervals(y_true, y_score, FREQUENCIES, num_samples=60, seed=5, level=0.8)
    for name in ("skill", "map_macro"):
        low, high = np.quantile([result[name] for result in results], [0.1, 0.9])
        assert intervals[f"{name}_low"] == pytest.approx(low)
        assert intervals[f"{name}_high"] == pytest.approx(high)


def test_the_interval_holds_the_score_of_the_data():
    y_true, y_score = random_example()
    intervals, found = bootstrap_intervals(y_true, y_score, FREQUENCIES, seed=0), evaluate(y_true, y_score, FREQUENCIES)
    for name in ("skill", "map_macro"):
        assert intervals[f"{name}_low"] < found[name] < intervals[f"{name}_high"]


def test_fewer_rows_and_a_higher_level_make_a_wider_interval():
    y_true, y_score = random_example(num_rows=1600)
    whole = bootstrap_intervals(y_true, y_score, FREQUENCIES, seed=0)
    part = bootstrap_intervals(y_true[:100], y_score[:100], FREQUENCIES, seed=0)
    narrow = bootstrap_intervals(y_true, y_score, FREQUENCIES, seed=0, level=0.5)
    for name in ("skill", "map_macro"):
        # A sixteenth of the rows: four times the width, give or take the draw.
        assert 2.5 < width(part, name) / width(whole, name) < 6.5
        assert width(narrow, name) < width(whole, name)


def test_the_seed_decides_and_the_chunk_length_does_not(monkeypatch):
    y_true, y_score = random_example()
    first = bootstrap_intervals(y_true, y_score, FREQUENCIES, num_samples=100, seed=0)
    assert bootstrap_intervals(y_true, y_score, FREQUENCIES, num_samples=100, seed=0) == first
    assert bootstrap_intervals(y_true, y_score, FREQUENCIES, num_samples=100, seed=1) != first
    monkeypatch.setattr(bootstrap, "_CELLS_PER_CHUNK", 7 * 300)
    chunked = bootstrap_intervals(y_true, y_score, FREQUENCIES, num_samples=100, seed=0)
    assert chunked == pytest.approx(first, abs=1e-12)


def test_copies_of_rows_add_nothing_when_groups_are_drawn():
    y_true, y_score = random_example()
    single = bootstrap_intervals(y_true, y_score, FREQUENCIES, num_samples=200, seed=0)
    rows = np.repeat(np.arange(300), 2)
    twice = {"y_true": y_true[rows], "y_score": y_score[rows], "train_frequencies": FREQUENCIES}
    grouped = bootstrap_intervals(**twice, num_samples=200, seed=0, groups=10 * rows + 3)
    assert grouped == pytest.approx(single, abs=1e-12)
    as_rows = bootstrap_intervals(**twice, num_samples=200, seed=0)
    for name in ("skill", "map_macro"):
        assert width(as_rows, name) < 0.85 * width(single, name)  # 1 / sqrt(2), give or take the draw


def test_groups_of_one_row_change_nothing():
    y_true, y_score = random_example()
    arguments = {"num_samples": 50, "seed": 0}
    plain = bootstrap_intervals(y_true, y_score, FREQUENCIES, **arguments)
    assert bootstrap_intervals(y_true, y_score, FREQUENCIES, **arguments, groups=np.arange(300)) == plain


def test_an_undefined_interval_is_left_out_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        intervals = bootstrap_intervals(np.zeros((5, 3)), np.full((5, 3), 0.2), FREQUENCIES, num_samples=10, seed=0)
    assert set(intervals) == {"skill_low", "skill_high"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_samples": 0}, r"num_samples must be >= 1 and level in \(0, 1\)\. Got 0 and 0\.95"),
        ({"level": 95}, r"num_samples must be >= 1 and level in \(0, 1\)\. Got 1000 and 95"),
        ({"groups": [1, 2]}, r"groups must have shape \(300,\)\. Got \(2,\)"),
        ({"train_frequencies": [0.1]}, r"train_frequencies must have shape \(3,\)\. Got \(1,\)"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    y_true, y_score = random_example()
    arguments = {"y_true": y_true, "y_score": y_score, "train_frequencies": FREQUENCIES, "seed": 0}
    with pytest.raises(ValueError, match=message):
        bootstrap_intervals(**(arguments | changes))

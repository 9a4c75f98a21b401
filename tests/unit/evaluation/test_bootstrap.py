import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import average_precision_score

from posterity.evaluation import bootstrap
from posterity.evaluation.bootstrap import average_precisions, bootstrap_intervals
from posterity.evaluation.metrics import binary_cross_entropy, evaluate

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


def plain_figures(y_true, y_score, drawn):
    """Skill, map_macro, and map_macro without the own row, of the rows ``drawn``."""
    found = evaluate(y_true[drawn], y_score[drawn], FREQUENCIES)
    of_label = []
    for label in range(y_true.shape[1]):
        positive, score = y_true[drawn, label], y_score[drawn, label]
        if not 0 < positive.sum() < len(drawn):
            continue
        # The copies of a row that is drawn twice are left out with it.
        precisions = []
        for row in np.flatnonzero(positive):
            reached = (score >= score[row]) & (drawn != drawn[row])
            precisions.append(positive[reached].mean() if reached.any() else 1.0)
        of_label.append(np.mean(precisions))
    return found["skill"], found["map_macro"], np.mean(of_label)


def weibull(values, level):
    """Quantiles between the order statistics, of which the k-th one of B counts as k / (B + 1)."""
    ranks = np.arange(1, len(values) + 1) / (len(values) + 1)
    return np.interp(level, ranks, np.sort(values))


def expanded_ends(level, number):
    """Percentiles that are as far out as Student's distribution says, for a deviation that is divided by n - 1."""
    distance = np.sqrt(number / (number - 1)) * stats.t(number - 1).isf((1 - level) / 2)
    return stats.norm.cdf([-distance, distance])


@pytest.mark.parametrize("number", [5, 10, 30, 700])
def test_of_a_mean_the_percentiles_make_students_interval(number):
    """Means of resamples are spread, nearly normally, by the deviation that is divided by n, over the root of n."""
    values = np.random.default_rng(0).normal(size=number)
    half_width = stats.norm.isf((1 - bootstrap.expanded(0.9, number)) / 2) * values.std() / number**0.5
    expected = stats.t.interval(0.9, number - 1, loc=values.mean(), scale=stats.sem(values))
    assert (values.mean() - half_width, values.mean() + half_width) == pytest.approx(expected)


def test_of_one_group_nothing_is_expanded():
    assert bootstrap.expanded(0.95, 1) == 0.95


def test_intervals_are_those_of_a_plain_loop():
    y_true, y_score = random_example(num_rows=40)
    y_true[:, 2] = 0
    y_true[7, 2] = 1  # in a third of the resamples, label 2 has no positive row
    drawn = np.random.default_rng(5).integers(40, size=(60, 40))
    results = [evaluate(y_true[rows], y_score[rows], FREQUENCIES) for rows in drawn]
    assert {result["labels_scored"] for result in results} == {2, 3}
    skills, map_macros, left_outs = np.transpose([plain_figures(y_true, y_score, rows) for rows in drawn])
    skill, map_macro, left_out = plain_figures(y_true, y_score, np.arange(40))
    intervals = bootstrap_intervals(y_true, y_score, FREQUENCIES, num_samples=60, seed=5, level=0.8)

    ends = expanded_ends(0.8, 40)
    low, high = weibull(skills, ends) - skills.mean() + skill
    assert (intervals["skill_low"], intervals["skill_high"]) == pytest.approx((low, high))
    assert intervals["map_macro_high"] == pytest.approx(weibull(map_macros, ends[1]) - map_macros.mean() + map_macro)
    shifted = weibull(left_outs, ends[0]) - left_outs.mean() + left_out
    pivotal = 2 * left_out - weibull(left_outs, ends[1])
    assert intervals["map_macro_low"] == pytest.approx(min(shifted, pivotal))


def test_own_row_left_out_by_hand():
    # From the top: yes, no, yes, yes, where the first and the last row are copies. Without the own copies down to it:
    # the first row has nobody above (1), the third one a yes and a no (1/2), and the last one a no and a yes (1/2).
    positive, score = np.array([True, False, True, True]), np.array([0.9, 0.7, 0.5, 0.3])
    found = bootstrap._average_precisions(
        positive, score, np.array([4, 1, 2, 4]), np.array([[1, 2], [1, 1], [1, 0], [1, 2]])
    )
    assert found[:, 0] == pytest.approx([(1 + 2 / 3 + 3 / 4) / 3, (1 + 1 / 2 + 1 / 2) / 3])
    # Drawn twice, the copies have only the no beside them, once.
    assert found[:, 1] == pytest.approx([(2 + 2 * 4 / 5) / 4, (2 * 1 + 2 * 0) / 4])


def test_unknown_rows_of_a_label_have_no_part_in_its_groups():
    y_true, y_score = random_example(num_rows=60)
    groups = np.arange(60) // 2
    y_true[::2] = 2  # one row of each group says nothing
    with_unknown = bootstrap_intervals(y_true, y_score, FREQUENCIES, num_samples=40, seed=1, groups=groups)
    without = bootstrap_intervals(y_true[1::2], y_score[1::2], FREQUENCIES, num_samples=40, seed=1)
    assert with_unknown == pytest.approx(without, abs=1e-12)


def test_the_interval_holds_the_score_of_the_data():
    y_true, y_score = random_example()
    intervals, found = bootstrap_intervals(y_true, y_score, FREQUENCIES, seed=0), evaluate(y_true, y_score, FREQUENCIES)
    for name in ("skill", "map_macro"):
        assert intervals[f"{name}_low"] < found[name] < intervals[f"{name}_high"]


def rare_example(rng, num_rows=200, num_labels=40, frequency=0.01, separation=0.8):
    """Labels and scores, normal before the sigmoid, whose average precision on endless data is known."""
    y_true = rng.random((num_rows, num_labels)) < frequency
    return y_true.astype(np.uint8), expit(rng.normal(size=y_true.shape) + separation * y_true)


def endless_average_precision(frequency, separation):
    cut = np.linspace(-9, 9 + separation, 4001)
    found, false = frequency * norm.sf(cut - separation), (1 - frequency) * norm.sf(cut)
    return np.trapezoid(found / (found + false) * norm.pdf(cut - separation), cut)


def test_with_many_rare_labels_the_interval_holds_the_figure():
    """The resamples alone all lie above it."""
    y_true, y_score = rare_example(np.random.default_rng(2), separation=0)
    intervals = bootstrap_intervals(y_true, y_score, [0.01] * 40, num_samples=300, seed=0)
    found = evaluate(y_true, y_score, [0.01] * 40)
    drawn = np.random.default_rng(0).integers(200, size=(10, 200))
    resampled = [evaluate(y_true[rows], y_score[rows], [0.01] * 40)["map_macro"] for rows in drawn]
    assert found["map_macro"] < min(resampled)
    for name in ("skill", "map_macro"):
        assert intervals[f"{name}_low"] < found[name] < intervals[f"{name}_high"]


@pytest.mark.parametrize(
    ("shape", "separation"),
    [((200, 40, 0.01), 0.8), ((200, 40, 0.01), 2.0), ((200, 8, 0.25), 0.8)],
    ids=["rare labels", "rare labels that are told apart", "ordinary labels"],
)
def test_intervals_cover_the_truth(shape, separation):
    """In at least 92 % of 125 data sets, for a nominal 95 %; the truth is that of endless data."""
    num_rows, num_labels, frequency = shape
    rng = np.random.default_rng(5)
    frequencies, truth = [frequency] * num_labels, endless_average_precision(frequency, separation)
    y_true, y_score = rare_example(np.random.default_rng(4), 100_000, num_labels, frequency, separation)
    prior = np.full(y_true.shape, frequency)
    skill = 1 - binary_cross_entropy(y_true, y_score) / binary_cross_entropy(y_true, prior)
    covered = []
    for seed in range(125):
        y_true, y_score = rare_example(rng, num_rows, num_labels, frequency, separation)
        ends = bootstrap_intervals(y_true, y_score, frequencies, num_samples=250, seed=seed)
        covered.append(
            [
                ends["map_macro_low"] <= truth <= ends["map_macro_high"],
                ends["skill_low"] <= skill <= ends["skill_high"],
            ]
        )
    of_map_macro, of_skill = np.mean(covered, axis=0)
    assert of_map_macro >= 0.92
    assert of_skill >= 0.92


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

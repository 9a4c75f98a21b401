import math

import numpy as np
import pytest
from sklearn.metrics import log_loss

from posterity.evaluation.metrics import (
    binary_cross_entropy,
    evaluate,
    label_frequencies,
    prior_scores,
)

Y_TRUE = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 0]], np.uint8)
Y_SCORE = np.array([[0.9, 0.2, 0.4], [0.3, 0.6, 0.1], [0.6, 0.7, 0.2], [0.2, 0.1, 0.3]])
FREQUENCIES = [0.5, 0.25, 0.25]


def random_example(num_rows=200, num_labels=5, seed=0):
    rng = np.random.default_rng(seed)
    y_true = (rng.random((num_rows, num_labels)) < 0.3).astype(np.uint8)
    return y_true, np.clip(0.3 * y_true + 0.7 * rng.random(y_true.shape), 0, 1)


# Worked out by hand from the three arrays above; at threshold 0.5 one label is missed (row 0, label 2) and one is
# predicted wrongly (row 2, label 1).
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # p of what was the case: 0.9 0.8 0.4 | 0.7 0.6 0.9 | 0.6 0.3 0.8 | 0.8 0.9 0.7
        ("bce", -math.log(0.9**3 * 0.8**3 * 0.7**2 * 0.6**2 * 0.4 * 0.3) / 12),
        ("bce_prior", (4 * math.log(2) + 2 * math.log(4) + 6 * math.log(4 / 3)) / 12),
        ("map_macro", (1 + 1 / 2 + 1) / 3),
        ("map_macro_prior", (2 / 4 + 1 / 4 + 1 / 4) / 3),
        # Steps at 0.9 (1 of 1), 0.6 twice (3 of 4) and 0.4 (4 of 5); four positives.
        ("map_micro", 1 / 4 * 1 + 2 / 4 * 3 / 4 + 1 / 4 * 4 / 5),
        # Label 0 first: 2 of 4; then everything: 4 of 12.
        ("map_micro_prior", 2 / 4 * 2 / 4 + 2 / 4 * 4 / 12),
        ("roc_auc_macro", (1 + 2 / 3 + 1) / 3),
        ("f1_micro", 2 * 3 / (2 * 3 + 1 + 1)),
        ("f1_macro", (1 + 2 / 3 + 0) / 3),
        ("hamming_loss", 2 / 12),
        ("subset_accuracy", 2 / 4),
        ("lrap", (1 + 1 + 1 / 2 + 1) / 4),  # the row without a label counts as 1
        ("coverage_error", (2 + 1 + 2 + 0) / 4),  # and as 0 here
        ("hit_at_1", 2 / 4),  # and as a miss here
        ("hit_at_1_prior", 2 / 4),
        ("precision_at_3", 4 / 12),
        ("precision_at_3_prior", 4 / 12),
        ("labels_scored", 3),
        ("rows_scored", 4),
    ],
)
def test_scores_worked_out_by_hand(name, expected):
    assert evaluate(Y_TRUE, Y_SCORE, FREQUENCIES)[name] == pytest.approx(expected, abs=1e-12)


def test_skill_is_the_share_of_the_prior_loss_that_is_saved():
    found = evaluate(Y_TRUE, Y_SCORE, FREQUENCIES)
    assert found["skill"] == pytest.approx(1 - found["bce"] / found["bce_prior"])
    assert len(found) == 20


def test_values_are_plain_numbers():
    assert {type(value) for value in evaluate(Y_TRUE, Y_SCORE.astype(np.float32), FREQUENCIES).values()} == {int, float}


def test_the_prior_itself_has_no_skill():
    y_true, _ = random_example()
    frequencies = np.array([0.1, 0.25, 0.3, 0.35, 0.6])
    found = evaluate(y_true, prior_scores(frequencies, len(y_true)), frequencies)
    assert found["skill"] == 0
    assert found["map_macro"] == pytest.approx(found["map_macro_prior"], abs=1e-12)
    assert found["map_micro"] == found["map_micro_prior"]
    assert found["hit_at_1"] == found["hit_at_1_prior"]
    assert found["precision_at_3"] == found["precision_at_3_prior"]
    assert found["roc_auc_macro"] == 0.5


def test_right_answers_score_the_best_there_is():
    y_true, _ = random_example()
    found = evaluate(y_true, y_true, y_true.mean(axis=0))
    assert found["skill"] == pytest.approx(1, abs=1e-6)
    for name in ("map_macro", "map_micro", "roc_auc_macro", "f1_micro", "f1_macro", "subset_accuracy", "lrap"):
        assert found[name] == 1
    assert found["hamming_loss"] == 0


def test_the_prior_is_the_training_frequencies_not_those_of_the_rows():
    y_true = np.array([[1], [0]])
    found = evaluate(y_true, [[0.5], [0.5]], [0.9])
    assert found["bce_prior"] == pytest.approx(-(math.log(0.9) + math.log(0.1)) / 2)
    assert found["map_macro_prior"] == 0.5


def test_precision_at_3_looks_at_three_labels_and_breaks_ties_to_the_left():
    y_true = [[1, 0, 1, 1, 0], [0, 0, 0, 1, 1]]
    y_score = [[0.1, 0.9, 0.8, 0.7, 0.2], [0.5, 0.5, 0.5, 0.5, 0.5]]
    found = evaluate(y_true, y_score, [0.5] * 5)
    assert found["precision_at_3"] == (2 + 0) / 6
    assert found["hit_at_1"] == 0
    assert evaluate([[1, 0], [0, 1]], [[0.5, 0.5], [0.5, 0.5]], [0.5, 0.5])["hit_at_1"] == 0.5


def test_the_threshold_is_inclusive():
    assert evaluate([[1], [0]], [[0.3], [0.1]], [0.5], threshold=0.3)["f1_micro"] == 1
    assert evaluate([[1], [0]], [[0.3], [0.1]], [0.5], threshold=0.31)["f1_micro"] == 0


def test_bce_agrees_with_log_loss_and_is_clipped_as_in_keras():
    y_true, y_score = random_example()
    assert binary_cross_entropy(y_true, y_score) == pytest.approx(log_loss(y_true.ravel(), y_score.ravel()))
    assert binary_cross_entropy([[1]], [[0.0]]) == pytest.approx(-math.log(1e-7))
    assert binary_cross_entropy([[0]], [[1.0]]) == pytest.approx(-math.log(1e-7))


def test_labels_without_both_kinds_of_rows_are_left_out_and_counted():
    # Label 1 is absent, label 2 is everywhere: only label 0 is scored.
    y_true = [[1, 0, 1], [0, 0, 1], [1, 0, 1]]
    y_score = [[0.2, 0.1, 0.1], [0.3, 0.2, 0.2], [0.4, 0.3, 0.3]]
    found = evaluate(y_true, y_score, [0.5, 0.1, 0.9])
    assert found["labels_scored"] == 1
    assert found["map_macro"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert found["map_macro_prior"] == pytest.approx(2 / 3)
    assert found["roc_auc_macro"] == 1 / 2


def test_undefined_scores_are_left_out():
    nothing = evaluate([[0, 0], [0, 0]], [[0.1, 0.2], [0.3, 0.4]], [0.1, 0.2])
    assert nothing["labels_scored"] == 0
    assert {"map_macro", "map_macro_prior", "roc_auc_macro", "f1_macro", "map_micro", "map_micro_prior"}.isdisjoint(
        nothing
    )
    assert all(math.isfinite(value) for value in nothing.values())
    single = evaluate([[1], [0]], [[0.8], [0.1]], [0.5])
    assert {"lrap", "coverage_error"}.isdisjoint(single)
    assert single["f1_micro"] == single["map_macro"] == 1


def test_one_label_f1_micro_is_the_f1_of_the_label_not_the_accuracy():
    assert evaluate([[1], [0], [0], [0]], [[0.9], [0.9], [0.1], [0.1]], [0.5])["f1_micro"] == pytest.approx(2 / 3)


def test_frequencies_of_labels_on_no_row_and_on_every_row_stay_inside_zero_and_one():
    assert label_frequencies(np.array([[0, 1], [0, 1], [0, 1], [0, 1]], np.uint8)).tolist() == [0.1, 0.9]


def test_prior_scores_repeat_the_frequencies():
    assert prior_scores([0.2, 0.7], 3).tolist() == [[0.2, 0.7]] * 3


@pytest.mark.parametrize(
    ("y_true", "y_score", "frequencies", "message"),
    [
        ([1, 0], [0.5, 0.5], [0.5], r"y_true must have shape \(num_rows, num_labels\), both at least 1\. Got \(2,\)"),
        (np.zeros((0, 2)), np.zeros((0, 2)), [0.5, 0.5], r"both at least 1\. Got \(0, 2\)"),
        ([[1, 0]], [[0.5]], [0.5, 0.5], r"y_score must have the shape of y_true, \(1, 2\)\. Got \(1, 1\)"),
        ([[1, 3]], [[0.5, 0.5]], [0.5, 0.5], r"y_true must be 0, 1 or 2 \(unknown\) in every cell\. Got 3"),
        ([[2, 2]], [[0.5, 0.5]], [0.5, 0.5], r"0 or 1 in at least one cell\. Got 2 \(unknown\) in all 2"),
        (
            [[1, 0]],
            [[0.5, np.nan]],
            [0.5, 0.5],
            r"y_score must be finite and lie in \[0, 1\]\. Got nan \(1 such values\)",
        ),
        (
            [[1, 0]],
            [[-0.5, 1.5]],
            [0.5, 0.5],
            r"y_score must be finite and lie in \[0, 1\]\. Got -0\.5 \(2 such values\)",
        ),
        ([[1, 0]], [[0.5, 0.5]], [0.5], r"train_frequencies must have shape \(2,\)\. Got \(1,\)"),
        ([[1, 0]], [[0.5, 0.5]], [0.5, 7], r"train_frequencies must be finite and lie in \[0, 1\]\. Got 7\.0"),
    ],
)
def test_wrong_arguments_are_named(y_true, y_score, frequencies, message):
    with pytest.raises(ValueError, match=message):
        evaluate(y_true, y_score, frequencies)

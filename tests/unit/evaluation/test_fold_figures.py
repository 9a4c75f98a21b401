import numpy as np
import pandas as pd
import pytest

from posterity.evaluation import metrics
from posterity.evaluation.fold_figures import OutOfFold, fold_figures, validation_line
from posterity.evaluation.folds import training_folds
from posterity.evaluation.scored_rows import checked


def example(repeats=2):
    rng = np.random.default_rng(0)
    targets = (rng.random((90, 3)) < [0.5, 0.3, 0.2]).astype(np.uint8)
    scores = np.clip(0.5 * targets + 0.5 * rng.random((repeats, 90, 3)), 0.01, 0.99).astype(np.float32)
    groups = np.arange(90) // 2
    return OutOfFold(targets, scores, training_folds(groups, folds=3, repeats=repeats, seed=1), groups, pd.DataFrame())


def test_a_fold_is_scored_beside_the_frequencies_of_the_others():
    found = example()
    figures, table = fold_figures(found, metrics.label_frequencies(found.targets), num_samples=20, seed=0)
    assert table["repeat"].tolist() == [1, 1, 1, 2, 2, 2]
    assert table["part"].tolist() == ["fold 1", "fold 2", "fold 3"] * 2
    for number, line in table.iterrows():
        repeat, fold = divmod(number, 3)
        held_out = found.folds[repeat] == fold
        expected = metrics.evaluate(
            found.targets[held_out],
            found.scores[repeat, held_out],
            metrics.label_frequencies(found.targets[~held_out]),
        )
        assert line["rows"] == held_out.sum()
        for name in ("bce", "bce_prior", "skill", "map_macro", "labels_scored"):
            assert line[name] == pytest.approx(expected[name])
    assert (figures["folds"], figures["repeats"], figures["rows_scored"]) == (3, 2, 90)
    assert figures["bce_mean"] == pytest.approx(table["bce"].mean())
    assert figures["bce_std"] == pytest.approx(np.std(table["bce"], ddof=1))


def test_figures_of_all_rows_are_those_of_the_mean_over_the_repeats():
    found = example()
    frequencies = metrics.label_frequencies(found.targets)
    figures, _ = fold_figures(found, frequencies, num_samples=20, seed=0)
    expected = metrics.evaluate(found.targets, found.scores.mean(axis=0), frequencies)
    for name in ("bce", "bce_prior", "skill", "map_macro"):
        assert figures[name] == pytest.approx(expected[name])
    assert figures["skill_low"] < figures["skill"] < figures["skill_high"]


def test_a_label_that_only_some_folds_have_is_counted_in_them():
    """Its one positive row is in one of three folds: the mean over the folds is of 2, 2 and 3 labels."""
    found = example(repeats=1)
    found.targets[:, 2] = 0
    found.targets[5, 2] = 1
    figures, table = fold_figures(found, metrics.label_frequencies(found.targets), num_samples=20, seed=0)
    assert sorted(table["labels_scored"]) == [2, 2, 3]
    assert (figures["labels_scored"], figures["labels_scored_mean"]) == (3, pytest.approx(7 / 3))


def test_the_validation_rows_are_a_line_to_compare_with():
    found = example()
    rows, frequencies = checked(found.targets, found.scores[0]), np.array([0.4, 0.3, 0.3])
    table = validation_line(rows, frequencies)
    expected = metrics.evaluate(found.targets, found.scores[0], frequencies)
    assert (table["part"].item(), table["rows"].item()) == ("validation", 90)
    for name in ("bce", "bce_prior", "skill", "map_macro"):
        assert table[name].item() == pytest.approx(expected[name])

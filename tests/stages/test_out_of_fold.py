"""Stage `evaluate` with out-of-fold scores of the training rows."""

import numpy as np
import pytest

from posterity import files, model_card
from posterity.cache import rows
from small_project import run_script
from stages.test_evaluate import LABELS, NUM_TRAIN, NUM_VALIDATION, Y_TRUE
from stages.test_evaluate import project as hand_made  # noqa: F401 - a fixture
from stages.test_verify import EVALUATE, wrong

WITH_FOLDS = EVALUATE.replace("train.folds: 1", "train.folds: 2").replace("train.repeats: 1", "train.repeats: 2")


@pytest.fixture
def with_folds(hand_made):  # noqa: F811
    """Eight training rows, of which `low` is told apart at 0.28 and 0.9; on the validation rows, at 0.1 and 0.3."""
    hand_made.params({"train.folds": 2, "train.repeats": 2})
    targets = Y_TRUE[: NUM_TRAIN + NUM_VALIDATION]
    rows.write("data/rows", rows.read("data/rows").index, np.concatenate([targets[:NUM_TRAIN], Y_TRUE]), LABELS)
    scores = np.where(targets[:NUM_TRAIN] == 1, [0.9, 0.8, 0.01], [0.28, 0.6, 0.01])
    # The mean of both repeats is what counts.
    np.save("data/out_of_fold.npy", np.stack([scores - 0.005, scores + 0.005]).astype(np.float32))
    return hand_made


def test_training_rows_have_a_part_in_the_thresholds(with_folds):
    assert run_script("evaluate").code == 0
    decisions = model_card.read("models/model.keras").decisions
    assert decisions is not None
    assert decisions["thresholds"][:2] == pytest.approx([0.29, 0.7])  # midway between 0.28 and 0.3, 0.6 and 0.8
    with_folds.params({"train.folds": 1, "train.repeats": 1})
    np.save("data/out_of_fold.npy", np.zeros((0, NUM_TRAIN, 3), np.float32))
    assert run_script("evaluate").code == 0
    decisions = model_card.read("models/model.keras").decisions
    assert decisions is not None
    assert decisions["thresholds"][:2] == pytest.approx([0.2, 0.7])


def test_the_figures_of_the_folds_are_written(with_folds):
    assert run_script("evaluate").code == 0
    found = files.read_json("metrics/folds.json")
    assert (found["rows_scored"], found["folds"], found["repeats"]) == (NUM_TRAIN, 2, 2)
    assert found["map_macro"] == 1
    assert found["bce_std"] > 0
    table = files.read_csv("metrics/plots/folds.csv")
    assert table["part"].tolist() == ["validation", *["fold 1", "fold 2"] * 2]
    assert table["rows"].tolist() == ["24", "4", "4", "4", "4"]
    assert files.read_csv("data/suspect_labels.csv").columns.tolist() == ["line", "id", "label", "given", "score"]


def test_all_of_it_is_computed_again(with_folds):
    assert run_script("evaluate").code == 0
    assert not wrong(WITH_FOLDS)
    np.save("data/out_of_fold.npy", 1 - np.load("data/out_of_fold.npy"))
    assert {"metrics/folds.json", "metrics/plots/folds.csv", "models/model.keras: card"} <= set(wrong(WITH_FOLDS))


def test_scores_without_folds_are_refused(with_folds):
    with_folds.params({"train.folds": 1})
    run = run_script("evaluate")
    assert run.code == 2
    assert "expected scores of shape (0, 8, 3): repeats, training rows, labels. Got (2, 8, 3)." in run.stderr


@pytest.mark.parametrize("shape", [(0, NUM_TRAIN, 3), (2, NUM_TRAIN + 1, 3), (1, NUM_TRAIN, 3)])
def test_scores_of_other_folds_are_refused(with_folds, shape):
    np.save("data/out_of_fold.npy", np.zeros(shape, np.float32))
    run = run_script("evaluate")
    assert run.code == 2
    assert run.stderr == (
        "error: data/out_of_fold.npy: expected scores of shape (2, 8, 3): repeats, training rows, labels. "
        f"Got {shape}. Run `dvc repro train`.\n"
    )

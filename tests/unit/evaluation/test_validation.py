import numpy as np
import pandas as pd
import pytest

from posterity.evaluation import decisions
from posterity.evaluation.decisions import DecisionOptions
from posterity.evaluation.fold_figures import OutOfFold
from posterity.evaluation.folds import training_folds
from posterity.evaluation.scored_rows import checked
from posterity.evaluation.validation import ScoringOptions, validate_checked


def draw(num_rows, seed):
    rng = np.random.default_rng(seed)
    y_true = (rng.random((num_rows, 3)) < 0.4).astype(np.uint8)
    return y_true, np.clip(0.3 * y_true + 0.7 * rng.random(y_true.shape), 0, 1)


@pytest.mark.parametrize("objective", ["f1", "precision", "recall"])
def test_training_rows_have_a_part_in_thresholds_but_not_in_a_promise(objective):
    (y_true, y_score), (train_true, train_score) = draw(60, 0), draw(80, 1)
    index = pd.DataFrame({"line": np.arange(80), "id": [str(k) for k in range(80)]})
    groups = np.arange(80)
    folds = training_folds(groups, folds=4, repeats=1, seed=1)
    out_of_fold = OutOfFold(train_true, train_score[None], folds, groups, index)
    options = ScoringOptions(0.5, 20, 3, 0, DecisionOptions(objective=objective))
    rows = checked(y_true, y_score)
    found = validate_checked(rows, index[:60], ["a", "b", "c"], np.full(3, 0.4), np.arange(60), options, out_of_fold)
    alone = decisions.fit(y_true, y_score, options.decisions)
    joined = decisions.fit(np.vstack([y_true, train_true]), np.vstack([y_score, train_score]), options.decisions)
    assert alone != joined
    assert found.decisions == (alone if objective == "recall" else joined)

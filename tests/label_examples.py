"""Figures of labels for tests of the report, from labels and scores as lists."""

from typing import Any

import numpy as np

from posterity.evaluation.scored_rows import checked
from posterity.reporting.label_figures import LabelFigures, all_labels


def figures(y_true: Any, y_score: Any, decided: Any = None) -> list[LabelFigures]:
    """Labels are called "label 0", ...; those with a score of 0.5 and more are decided, unless ``decided`` is given."""
    rows = checked(y_true, y_score)
    decided = rows.scores >= 0.5 if decided is None else np.asarray(decided, dtype=bool)
    names = [f"label {column}" for column in range(rows.num_labels)]
    thresholds = [0.5] * rows.num_labels
    return all_labels(rows, decided, thresholds, names, groups=np.arange(len(rows)), num_samples=50, seed=0)

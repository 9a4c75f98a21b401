"""The scores of the finished run with what they are scores of: rows, labels, sides and decisions."""

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity import files, reading
from posterity.cache import rows as cached_rows
from posterity.errors import UserError
from posterity.evaluation.score_file import read_scores
from posterity.evaluation.scored_rows import BoolArray, IntArray, ScoredRows, checked
from posterity.showing import run
from posterity.splitting import split_file


@dataclass(frozen=True, eq=False)
class Scored:
    """The N validation rows of a run of L labels.

    Attributes
    ----------
    rows : ScoredRows
        Labels, and the network's own scores, before calibration.
    numbers : ndarray of int64, shape (N,)
        Their row numbers in the cache, ascending.
    decided : ndarray of bool, shape (N, L), or None
        What is decided, by thresholds that the row had no part in; None if stage evaluate has not run.
    """

    rows: ScoredRows
    numbers: IntArray
    decided: BoolArray | None


def read(cached: cached_rows.Rows, sides: split_file.RowsBySide) -> Scored | None:
    """Read the scores of the validation rows; None if there are none yet.

    Raises
    ------
    UserError
        If a file is damaged, or of other rows.
    """
    place = run.path("scores")
    if not place.exists():
        return None
    targets, scores = cached.targets[sides.validation], read_scores(place)
    if scores.shape != targets.shape:
        raise UserError(f"{place}: expected scores {targets.shape}. Got {scores.shape}. Run `dvc repro train`.")
    decided = _decided(cached, sides) if run.path("table").exists() else None
    return Scored(checked(targets, scores), sides.validation, decided)


def out_of_fold(cached: cached_rows.Rows, sides: split_file.RowsBySide) -> npt.NDArray[np.float64] | None:
    """Scores of the training rows by networks that did not see them, (rows, labels); None without folds."""
    place = run.path("out-of-fold")
    if not place.exists():
        return None
    scores = reading.read_array(place, "train", np.float32, ndim=3)
    if not len(scores):
        return None
    expected = (len(sides.train), len(cached.label_names))
    if scores.shape[1:] != expected:
        raise UserError(f"{place}: expected scores {expected}. Got {scores.shape[1:]}. Run `dvc repro train`.")
    return np.asarray(scores.mean(axis=0, dtype=np.float64))


def _decided(cached: cached_rows.Rows, sides: split_file.RowsBySide) -> BoolArray:
    place = run.path("table")
    table = files.read_csv(place, "evaluate", ["line", "decided"])
    lines = cached.index["line"].iloc[sides.validation].astype(str)
    if table["line"].tolist() != lines.tolist():
        raise UserError(f"{place}: expected the {len(lines):,} validation rows. Got others. Run `dvc repro evaluate`.")
    return _cells(table["decided"], cached.label_names)


def _cells(texts: pd.Series, names: list[str]) -> BoolArray:
    """Cells of JSON lists of label names as a bool array (rows, labels)."""
    places = {name: place for place, name in enumerate(names)}
    found = np.zeros((len(texts), len(names)), dtype=bool)
    try:
        for row, text in enumerate(texts):
            found[row, [places[name] for name in json.loads(text)]] = True
    except (ValueError, KeyError, TypeError, RecursionError):
        what = "a JSON list of labels in every cell of column 'decided'"
        raise reading.damaged(run.path("table"), what, repr(str(text)[:100]), "evaluate") from None
    return found

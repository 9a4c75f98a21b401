"""The table that people read row by row: what is true, what is decided, and every score."""

import json
import os

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity import files, reading
from posterity.errors import UserError
from posterity.evaluation.scored_rows import BoolArray, ScoredRows

STAGE = "evaluate"


def score_table(index: pd.DataFrame, rows: ScoredRows, decided: BoolArray, label_names: list[str]) -> pd.DataFrame:
    """List rows with their true labels, their decided labels and their scores.

    Parameters
    ----------
    index : DataFrame
        ``line`` (of the labels CSV) and ``id`` of the N rows.
    rows : ScoredRows
        Labels, and the network's own scores, before calibration.
    decided : ndarray of bool, shape (N, L)
        What is decided, by thresholds that the row had no part in: `posterity.evaluation.cross_fitting.cross_fit`.
    label_names : list of str, length L
        Names of the columns.

    Returns
    -------
    DataFrame
        One line per row: ``line``, ``id``, ``true`` and ``decided`` (JSON lists of label names), and one column
        ``score:LABEL`` for each label. If a cell is unknown, ``unknown`` (the same) stands before ``decided``.

    Examples
    --------
    >>> index = pd.DataFrame({"line": [7], "id": ["poster-6"]})
    >>> rows = ScoredRows(np.array([[True, False]]), np.array([[0.75, 0.5]]))
    >>> table = score_table(index, rows, np.array([[True, True]]), ["Comedy", "Crime"])
    >>> table.columns.tolist()
    ['line', 'id', 'true', 'decided', 'score:Comedy', 'score:Crime']
    >>> table["decided"].tolist(), table["score:Crime"].tolist()
    (['["Comedy", "Crime"]'], [0.5])
    """
    names = np.asarray(label_names, dtype=object)

    def as_json(cells: npt.NDArray[np.bool_]) -> list[str]:
        return [json.dumps(names[carried].tolist(), ensure_ascii=False) for carried in cells]

    unknown = {} if rows.known is None else {"unknown": as_json(~rows.known)}
    table = index[["line", "id"]].reset_index(drop=True)
    table = table.assign(true=as_json(rows.truth), **unknown, decided=as_json(decided))
    scores = pd.DataFrame(rows.scores, columns=[f"score:{name}" for name in label_names])
    return pd.concat([table, scores], axis=1)


def read_decided(path: str | os.PathLike[str], index: pd.DataFrame, label_names: list[str]) -> BoolArray:
    """Read what is decided from a table that stage `evaluate` wrote, bool (num_rows, num_labels).

    Parameters
    ----------
    path : path
        The file.
    index : DataFrame
        ``line`` of the rows that it has to be of.
    label_names : list of str
        Names of the columns of the result.

    Raises
    ------
    UserError
        If the file is missing or damaged, not what dvc.lock says of it, or of other rows.
    """
    table = files.read_csv(path, STAGE, ["line", "decided"])
    if table["line"].tolist() != index["line"].astype(str).tolist():
        raise UserError(f"{path}: expected the {len(index):,} validation rows. Got others. Run `dvc repro evaluate`.")
    places = {name: place for place, name in enumerate(label_names)}
    decided = np.zeros((len(table), len(places)), dtype=bool)
    try:
        for row, text in enumerate(table["decided"]):
            decided[row, [places[name] for name in json.loads(text)]] = True
    except (ValueError, KeyError, TypeError, RecursionError):
        what = "a JSON list of labels in every cell of column 'decided'"
        raise reading.damaged(path, what, repr(str(text)[:100]), STAGE) from None
    return decided

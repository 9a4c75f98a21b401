"""Which validation rows of a label are worth a look: its best hits and its worst mistakes."""

from dataclasses import dataclass

import numpy as np

from posterity.evaluation.scored_rows import BoolArray, ScoredRows


@dataclass(frozen=True)
class Picks:
    """Places among the validation rows, the most telling first."""

    hits: list[int]
    false_positives: list[int]
    false_negatives: list[int]


def picks(rows: ScoredRows, decided: BoolArray, label: int, *, each: int) -> Picks:
    """Pick rows of one label.

    Parameters
    ----------
    rows : ScoredRows of N rows
        Labels and scores; a row where the label is unknown is not picked.
    decided : ndarray of bool, shape (N, L)
        Decided labels.
    label : int
        Column of the label.
    each : int
        Most rows of a kind.

    Returns
    -------
    Picks
        Hits and false positives with the highest scores, false negatives with the lowest; equal scores in the order of
        the rows.

    Examples
    --------
    >>> rows = ScoredRows(np.array([[True], [True], [False]]), np.array([[0.9], [0.1], [0.8]]))
    >>> picks(rows, np.array([[True], [False], [True]]), 0, each=3)
    Picks(hits=[0], false_positives=[2], false_negatives=[1])
    """
    truth, score, answer = rows.truth[:, label], rows.scores[:, label], decided[:, label]
    known = np.ones(len(truth), dtype=bool) if rows.known is None else rows.known[:, label]

    def highest(chosen: BoolArray, key: np.ndarray) -> list[int]:
        places = np.flatnonzero(chosen)
        return [int(place) for place in places[np.argsort(-key[places], kind="stable")][:each]]

    return Picks(
        hits=highest(truth & answer, score),
        false_positives=highest(known & ~truth & answer, score),
        false_negatives=highest(truth & ~answer, -score),
    )

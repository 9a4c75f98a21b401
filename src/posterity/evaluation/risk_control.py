"""One threshold for all labels that promises a recall on new images: conformal risk control."""

import math

import numpy as np

from posterity.evaluation.scored_rows import ScoredRows

ALWAYS = 0.0  # the threshold that every score reaches
_ROUNDING = 1e-9  # 1 - 0.9 is a little less than 1/10 in floating point


def recall_threshold(rows: ScoredRows, target_recall: float) -> float:
    """Choose the highest threshold that promises ``target_recall`` per image, on average over new images.

    The loss of an image is the share of its labels whose scores lie below the threshold (its false-negative rate); it
    is at most 1 and grows with the threshold. The threshold is the highest one for which [1]

        n / (n + 1) * mean loss + 1 / (n + 1) <= 1 - target_recall

    over the n rows that have a label. Then the expected loss of a new image is at most ``1 - target_recall``, the
    expectation being over the n rows and the new one. It is no promise for one image, or for one label.

    This holds if the new image and the n rows are exchangeable: if they might as well have come in any other order, as
    they do when all of them are drawn at random from the same images. Scores must not depend on which of them were
    given, so the model, and a calibration, must be those of other rows. Copies of a row are not exchangeable with new
    images; n is then in effect smaller. Rows without a label have no recall: they have no part in it, and nothing is
    promised for them. Unknown cells are left out; the promise is then about the labels that are known.

    As elsewhere, the threshold lies midway between two scores of these rows, here below the one that it must not leave
    out. That is lower than need be, so the promise holds, and it decides the same on these rows.

    Parameters
    ----------
    rows : ScoredRows of N rows and L labels
        Labels, and scores that mean the same in every column.
    target_recall : float
        Above 0 and below 1.

    Returns
    -------
    float
        In [0, 1]; `ALWAYS`, which decides every label on every row, if nothing else keeps the promise. That is so
        whenever there are fewer than `rows_needed` rows with a label.

    Raises
    ------
    ValueError
        If the target is out of range.

    References
    ----------
    [1] Angelopoulos, Bates, Fisch, Lei & Schuster (2024), Conformal Risk Control, ICLR, theorem 1 with B = 1.

    Examples
    --------
    Of four rows with one label each, a recall of 1/2 allows a sum of losses of (4 + 1) / 2 - 1 = 1.5. So one label may
    be missed, that of score 0.2, and 0.4 must be decided; the next score below it is 0.2.

    >>> from posterity.evaluation.scored_rows import checked
    >>> rows = checked([[1], [1], [1], [1]], [[0.8], [0.2], [0.4], [0.6]])
    >>> round(recall_threshold(rows, 0.5), 4)
    0.3
    """
    _check(target_recall)
    labels_of_row = rows.truth.sum(axis=1)
    num_rows = int((labels_of_row > 0).sum())
    allowed = (1 - target_recall) * (num_rows + 1) - 1 + _ROUNDING  # the sum of losses
    if allowed < 0:
        return ALWAYS
    row, label = np.nonzero(rows.truth)
    score, loss = rows.scores[row, label], 1 / labels_of_row[row]
    order = np.argsort(score, kind="stable")
    score, loss = score[order], loss[order]
    # Cells of one score are missed together: what lies below the first of them is what a threshold there misses.
    first = np.searchsorted(score, score, side="left")
    missed = np.concatenate([[0.0], np.cumsum(loss)])[first]
    highest = float(score[np.flatnonzero(missed <= allowed)[-1]])
    _, scores = rows.cells()
    below = scores[scores < highest]
    if not below.size:
        return ALWAYS
    middle = (highest + float(below.max())) / 2
    return middle if below.max() < middle else highest  # there is no number between two neighbours


def rows_needed(target_recall: float) -> int:
    """How many rows with a label it takes to promise ``target_recall`` by another threshold than `ALWAYS`.

    Raises
    ------
    ValueError
        If the target is out of range.

    Examples
    --------
    1 / (n + 1) must not be above 1/10.

    >>> rows_needed(0.9)
    9
    """
    _check(target_recall)
    return max(math.ceil(1 / (1 - target_recall) - 1 - _ROUNDING), 1)


def _check(target_recall: float) -> None:
    if not 0 < target_recall < 1:
        raise ValueError(f"target_recall must be above 0 and below 1. Got {target_recall}")

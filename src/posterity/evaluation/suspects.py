"""Label cells that are likely to be wrong, by scores of networks that did not see them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from posterity.evaluation.scored_rows import ScoredRows

COLUMNS = ["line", "id", "label", "given", "score"]
# Confident learning compares with the mean score of the rows that have a label, and of those that do not: a mean of
# fewer says little.
MIN_EXAMPLES = 5


def suspect_cells(rows: "ScoredRows", index: pd.DataFrame, label_names: Sequence[str]) -> pd.DataFrame:
    """Rank the label cells that are likely to be wrong, by confident learning [1] as cleanlab does it.

    Each label is judged by itself, on the rows where it is known. Its cells are compared with the mean score of the
    rows that have it, and with that of those that do not; so a rare label, whose scores are all low, is judged by its
    own standards. How many cells of a label are suspect follows from how many lie on the wrong side. They are ranked by
    the probability that the networks give to what the table says. (Ranked by cleanlab's adjusted probability instead,
    16 % of the first 100 cells were among the 2 % that had been flipped in the labels of the posters, not 90 %.)

    Parameters
    ----------
    rows : ScoredRows of N rows and L labels
        Labels, and scores by networks that were trained without the row.
    index : DataFrame
        ``line`` and ``id`` of the N rows.
    label_names : sequence of str, length L
        Names of the labels. Those with fewer than `MIN_EXAMPLES` rows of either kind are left out.

    Returns
    -------
    DataFrame
        `COLUMNS`, the most suspect cell first: ``given`` is what the table says, 0 or 1, and ``score`` the probability
        of the label by the networks.

    References
    ----------
    [1] Northcutt, Jiang & Chuang (2021), "Confident Learning: Estimating Uncertainty in Dataset Labels".
    """
    # Not before it is needed: it takes a second to load, and most runs have no such scores.
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    found = []
    lines, ids = index["line"].to_numpy(), index["id"].to_numpy()
    for label, name in enumerate(label_names):
        truth, scores = rows.column(label)
        if min(truth.sum(), (~truth).sum()) < MIN_EXAMPLES:
            continue
        known = np.arange(len(rows)) if rows.known is None else np.flatnonzero(rows.known[:, label])
        probabilities = np.stack([1 - scores, scores], axis=1)
        given = truth.astype(np.int64)
        # One process: the others would import everything again, for a fraction of a second of work.
        suspect = np.flatnonzero(find_label_issues(given, probabilities, n_jobs=1))
        quality = get_label_quality_scores(given, probabilities)
        found.append(
            pd.DataFrame(
                {
                    "line": lines[known[suspect]],
                    "id": ids[known[suspect]],
                    "label": name,
                    "given": given[suspect],
                    "score": scores[suspect],
                    "quality": quality[suspect],
                }
            )
        )
    if not found:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.concat(found, ignore_index=True)
    return table.sort_values(["quality", "line", "label"], kind="stable", ignore_index=True)[COLUMNS]

"""Whether every row has one label, as `exactly_one` takes for granted."""

import sys

import numpy as np
import pandas as pd

from posterity.errors import UserError
from posterity.evaluation.scored_rows import ScoredRows


def check_single_label(rows: ScoredRows, index: pd.DataFrame) -> None:
    """Refuse validation rows of which one has several labels, and warn of rows that are known to have none.

    Parameters
    ----------
    rows : ScoredRows of N rows
        Their labels.
    index : DataFrame
        ``line`` and ``id`` of the N rows.

    Raises
    ------
    UserError
        If a row has two labels or more: it cannot be decided right.
    """
    numbers = rows.truth.sum(axis=1)
    several = np.flatnonzero(numbers > 1)
    if several.size:
        first = index.iloc[int(several[0])]
        example = f"{first['id']!r} (line {first['line']}) with {numbers[several[0]]}"
        raise UserError(
            "params.yaml: decide.exactly_one: true needs data in which every image has one label. Got "
            f"{several.size:,} of {len(rows):,} validation images with two labels or more, such as {example}. "
            "Set decide.exactly_one: false, or correct the labels."
        )
    without = numbers == 0
    if rows.known is not None:
        without &= rows.known.all(axis=1)  # an unknown label may be the one
    if without.any():
        print(
            f"WARNING: {int(without.sum()):,} of {len(rows):,} validation images have no label. With "
            "decide.exactly_one: true they get one like all others, and it counts as wrong.",
            file=sys.stderr,
        )

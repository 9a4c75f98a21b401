"""Whether rows are such that decisions can be what they are to be: single-label data, and enough of them."""

import sys

import numpy as np
import pandas as pd

from posterity.errors import UserError
from posterity.evaluation.decisions import DecisionOptions
from posterity.evaluation.risk_control import rows_needed
from posterity.evaluation.scored_rows import ScoredRows


def check_rows(rows: ScoredRows, index: pd.DataFrame, options: DecisionOptions) -> None:
    """Refuse rows that ``exactly_one`` cannot decide, and warn on stderr of those for which decisions will be poor.

    Parameters
    ----------
    rows : ScoredRows of N rows
        The validation rows.
    index : DataFrame
        ``line`` and ``id`` of the N rows.
    options : DecisionOptions
        How decisions are to be chosen.

    Raises
    ------
    UserError
        As `check_single_label`.
    """
    if options.exactly_one:
        check_single_label(rows, index)
    if options.objective == "recall":
        warn_of_few_rows(rows, options.target_recall)


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


def warn_of_few_rows(rows: ScoredRows, target_recall: float) -> None:
    """Say on stderr if there are too few rows with a label for ``target_recall``."""
    number, needed = int(rows.truth.any(axis=1).sum()), rows_needed(target_recall)
    if number < needed:
        print(
            f"WARNING: decide.target_recall is {target_recall:g}, which takes at least {needed:,} validation images "
            f"with a label to promise. Got {number:,}: every label is decided on every image. Lower it, or validate on "
            "more images (split.validation_fraction).",
            file=sys.stderr,
        )

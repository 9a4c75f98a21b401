"""Sides that the data set itself gives: texts of a column as sides, and copies that they would tear apart."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from posterity import choices
from posterity.errors import UserError
from posterity.splitting.exact_count import BoolArray, IntArray
from posterity.splitting.split_file import LEAVE_OUT, TEST, TRAIN, VALIDATION, SideArray
from posterity.text import json_text

TEXTS_SHOWN = 10
EXAMPLES_SHOWN = 3
# From the side that may influence everything to the one that may influence nothing.
_ORDER = (TRAIN, VALIDATION, TEST)


def read_sides(texts: Sequence[str], meaning: Mapping[str, str], *, column: str) -> SideArray:
    """Translate the cells of a side column.

    Parameters
    ----------
    texts : sequence of str, length N
        The cells.
    meaning : mapping of str to {"train", "validation", "test", "leave_out"}
        What a text means, in upper or lower case; ``""`` is an empty cell.
    column : str
        Name of the column, for messages.

    Returns
    -------
    ndarray of str, shape (N,)

    Raises
    ------
    UserError
        If a text has no meaning; the message has the lines to add.

    Examples
    --------
    >>> read_sides(["Train", "val", "train"], {"train": "train", "val": "validation"}, column="fold").tolist()
    ['train', 'validation', 'train']
    """
    known = {text.casefold(): side for text, side in meaning.items()}
    unknown = Counter(text for text in texts if text.casefold() not in known)
    if unknown:
        most = unknown.most_common(TEXTS_SHOWN)
        found = ", ".join(f"{text!r} in {rows:,} row{'s' * (rows > 1)}" for text, rows in most)
        more = f", ... ({len(unknown)} texts in all)" if len(unknown) > TEXTS_SHOWN else ""
        line = f"{json_text(most[0][0])}: leave_out"
        raise UserError(
            f"params.yaml: split.sides must say which side every text of column {column!r} (split.side_column) means. "
            f"It has no line for {found}{more}. Add one for each below split.sides, such as `{line}` (or train, "
            "validation, test), or name another column."
        )
    return np.array([known[text.casefold()] for text in texts], dtype=np.str_)


def settle_conflicts(
    sides: SideArray, groups: IntArray, index: pd.DataFrame, *, policy: choices.SideConflict, column: str
) -> tuple[SideArray, int]:
    """Find the rows that must stay together and are given different sides, and do what ``policy`` says.

    Rows that are left out are on no side, so they tear nothing apart.

    Parameters
    ----------
    sides : ndarray of str, shape (N,)
        Side of every row.
    groups : ndarray of int, shape (N,)
        Which rows must stay together.
    index : DataFrame of N rows
        ``line``, ``id``, ``sha256`` and perhaps ``group``, for the examples of the message.
    policy : {"fail", "leave_out", "keep"}
        ``leave_out`` keeps the rows of a group that are on the most protected side (test, then validation) and leaves
        out the others. ``keep`` changes nothing.
    column : str
        Name of the side column, for the message.

    Returns
    -------
    sides : ndarray of str, shape (N,)
    conflicts : int
        Number of groups on several sides.

    Raises
    ------
    UserError
        If there are such groups and the policy is ``fail``.

    Examples
    --------
    >>> index = pd.DataFrame({"line": [2, 3], "id": ["a", "b"], "sha256": ["x", "x"]})
    >>> sides, conflicts = settle_conflicts(
    ...     np.array(["train", "test"]), np.array([0, 0]), index, policy="leave_out", column="fold"
    ... )
    >>> sides.tolist(), conflicts
    (['leave_out', 'test'], 1)
    """
    place = np.select([sides == side for side in _ORDER], range(len(_ORDER)), -1)
    highest = np.full(groups.max(initial=-1) + 1, -1)
    np.maximum.at(highest, groups, place)
    below: BoolArray = (place >= 0) & (place < highest[groups])  # rows that share a group with a more protected side
    torn = np.unique(groups[below])
    if torn.size and policy == "fail":
        examples = [_example(index, sides, groups == group, below) for group in torn[:EXAMPLES_SHOWN]]
        more = [f"  ... and {torn.size - EXAMPLES_SHOWN:,} more"] if torn.size > EXAMPLES_SHOWN else []
        several = "1 group of rows that belong" if torn.size == 1 else f"{torn.size:,} groups of rows that belong"
        raise UserError(
            "\n".join(
                [
                    f"params.yaml: column {column!r} (split.side_column) must keep copies on one side, or the figures "
                    f"flatter the model. Got {several} together and lie on several sides:",
                    *examples,
                    *more,
                    "  Correct the column, or set split.side_conflict: leave_out (keeps the test rows of such a group, "
                    f"else its validation rows; {int(below.sum()):,} rows would be left out) or keep (only warns).",
                ]
            )
        )
    if policy == "leave_out":
        sides = np.where(below, LEAVE_OUT, sides)
    return sides, int(torn.size)


def _example(index: pd.DataFrame, sides: SideArray, is_member: BoolArray, below: BoolArray) -> str:
    """Two rows of a group on different sides, and what holds them together."""
    member = np.flatnonzero(is_member & (sides != LEAVE_OUT))
    low, high = int(member[below[member]][0]), int(member[~below[member]][0])
    reasons = {
        "id": "the same id",
        "sha256": "the same image bytes",
        "group": "the same group",
        "look": "images that look alike",
    }
    both = index.iloc[[low, high]]
    shared = (why for key, why in reasons.items() if key in both and both[key].iloc[0] == both[key].iloc[1] != "")
    first, second = (
        f"line {both['line'].iloc[k]}, {both['id'].iloc[k]!r}: {sides[row]}" for k, row in ((0, low), (1, high))
    )
    return f"  {first}; {second} ({next(shared, 'together through other rows')})"

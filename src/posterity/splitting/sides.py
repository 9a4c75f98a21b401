"""The side of every row: what a column of the data gives, and what is drawn from the rest; with the counts of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity.errors import UserError
from posterity.splitting.draw import draw
from posterity.splitting.exact_count import IntArray
from posterity.splitting.groups import groups_of
from posterity.splitting.options import SplitOptions
from posterity.splitting.side_column import read_sides, settle_conflicts
from posterity.splitting.split_file import LEAVE_OUT, TEST, TRAIN, VALIDATION, SideArray
from posterity.targets import is_known, is_present


@dataclass(frozen=True, eq=False)
class Split:
    """Rows that are divided into sides.

    Attributes
    ----------
    sides : ndarray of str, shape (N,)
        ``train``, ``validation``, ``test`` or ``leave_out``.
    groups : ndarray of int64, shape (N,)
        Rows of one group were kept together.
    notes : list of str
        What somebody who reads the figures has to know, in whole sentences.
    """

    sides: SideArray
    groups: IntArray
    notes: list[str]


def divide(
    index: pd.DataFrame, options: SplitOptions, *, seed: int, labels: npt.NDArray[np.uint8] | None = None
) -> Split:
    """Divide rows into sides.

    Parameters
    ----------
    index : DataFrame of N rows
        ``line``, ``id`` and ``sha256``; ``group``, a text that holds rows together, and ``side``, the text of the side
        column, where the data have such columns.
    options : SplitOptions
        How rows are divided.
    seed : int
        Of what is drawn.
    labels : ndarray of uint8, shape (N, L), or None
        To stratify by, see `posterity.splitting.assign.assign`.

    Raises
    ------
    UserError
        If a text of the side column has no meaning, if it tears copies apart and the policy is ``fail``, or if a side
        would get no row, or validation only copies of one image.

    Examples
    --------
    >>> names = [f"image{k}" for k in range(10)]
    >>> index = pd.DataFrame({"line": range(2, 12), "id": names, "sha256": names})
    >>> split = divide(index, SplitOptions(validation_fraction=0.2, test_fraction=0.3), seed=42)
    >>> counts(split, np.ones((10, 1), np.uint8), ["cat"])["labels"]
    [{'label': 'cat', 'train': 5, 'validation': 2, 'test': 3}]
    """
    groups, given = groups_of(index), None
    notes = _about_groups(index["group"].tolist()) if "group" in index else []
    if options.side_column is not None:
        column, policy = options.side_column, options.side_conflict
        given = read_sides(index["side"].tolist(), options.sides, column=column)
        given, torn = settle_conflicts(given, groups, index, policy=policy, column=column)
        if torn:
            kept = "they lie on several sides, and the figures flatter the model"
            what = kept if policy == "keep" else "those on the less protected side are left out"
            several = "1 group of rows that belong" if torn == 1 else f"{torn:,} groups of rows that belong"
            notes.append(f"WARNING: {several} together: {what} (split.side_conflict).")
        notes += _about_fractions(given, options)
    sides = draw(index["id"].tolist(), groups, options, seed=seed, labels=labels, given=given)
    return Split(sides, groups, notes)


def check_known(sides: SideArray, targets: npt.NDArray[np.uint8]) -> None:
    """Check that something is known of the labels on every side that has rows.

    Parameters
    ----------
    sides : ndarray of str, shape (N,)
        Side of every row.
    targets : ndarray of uint8, shape (N, L)
        Labels, see `posterity.targets`.

    Raises
    ------
    UserError
        If every cell of a side is unknown: there is nothing to learn from it, or to measure on it.
    """
    for side in (TRAIN, VALIDATION, TEST):
        on_side = targets[sides == side]
        if len(on_side) and not is_known(on_side).any():
            raise UserError(
                f"params.yaml: section split must give every side a row of which a label is known. Got none among the "
                f"{len(on_side):,} rows of side {side}. Give it more rows, or take rows of which nothing is known "
                "out of the table."
            )


def counts(split: Split, targets: npt.NDArray[np.uint8], label_names: Sequence[str]) -> dict[str, Any]:
    """Content of metrics/split.json: the rows and the groups, and the rows of each side that have each label.

    Parameters
    ----------
    split : Split
        The rows, divided.
    targets : ndarray of uint8, shape (N, L)
        Multi-hot labels.
    label_names : sequence of str, length L
        Names of the columns.
    """
    rows = count_rows(split.sides)
    positives = {side: is_present(targets[split.sides == side]).sum(axis=0) for side in rows if side != LEAVE_OUT}
    return {
        "rows": rows,
        "groups": int(split.groups.max()) + 1,
        # A list, which `dvc metrics show` leaves out: a table of every label twice would push the figures off the
        # screen.
        "labels": [
            {"label": name, **{side: int(number[label]) for side, number in positives.items()}}
            for label, name in enumerate(label_names)
        ],
    }


def count_rows(sides: SideArray) -> dict[str, int]:
    """Count the rows of each side: train and validation always, test and leave_out if they have any.

    >>> count_rows(np.array(["train", "validation", "train"]))
    {'train': 2, 'validation': 1}
    """
    rows = {side: int((sides == side).sum()) for side in (TRAIN, VALIDATION, TEST, LEAVE_OUT)}
    return {side: number for side, number in rows.items() if number or side in (TRAIN, VALIDATION)}


def in_words(rows: dict[str, int]) -> str:
    """Say how many rows each side has.

    >>> in_words({"train": 1800, "validation": 200, "leave_out": 7})
    '1,800 rows for training, 200 for validation, 7 left out.'
    """
    words = {VALIDATION: "for validation", TEST: "for the test", LEAVE_OUT: "left out"}
    others = (f", {rows[side]:,} {word}" for side, word in words.items() if side in rows)
    return f"{rows[TRAIN]:,} rows for training{''.join(others)}."


def _about_groups(texts: Sequence[str]) -> list[str]:
    without = texts.count("")
    rest = f"; {without:,} of {len(texts):,} rows have none and stand alone" if without else ""
    return [f"Rows of one group stay on one side: {len(set(texts) - {''}):,} groups{rest}."]


def _about_fractions(given: SideArray, options: SplitOptions) -> list[str]:
    """Which fraction is used beside the side column, and which is not."""
    column, notes = options.side_column, []
    for side, fraction in ((TEST, options.test_fraction), (VALIDATION, options.validation_fraction)):
        if not fraction:
            continue
        if not (given == side).any():
            notes.append(
                f"Column {column!r} gives no {side} rows: a share of {fraction:g} of its training rows is drawn "
                f"(split.{side}_fraction)."
            )
        elif side == TEST:
            notes.append(f"Column {column!r} gives the test rows; split.test_fraction is not used.")
    return notes

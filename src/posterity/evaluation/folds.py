"""Folds: parts that rows are dealt into, so that each part can be judged by what was made without it."""

import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from posterity.errors import UserError
from posterity.evaluation.scored_rows import IntArray


def assign_folds(
    groups: npt.ArrayLike,
    *,
    folds: int,
    seed: int | Sequence[int],
    key: str = "decide.folds",
    images: str = "validation images",
    fix: str = "Change it, or validate on more images (split.validation_fraction).",
) -> IntArray:
    """Deal whole groups into ``folds`` parts of about as many rows each: (N,), 0 to folds - 1.

    The largest groups come first, those of a size in an order that is drawn, and each goes to the part with the fewest
    rows so far. So rows that all differ make parts of as many rows each, give or take one, and a group that is larger
    than such a part has one for itself.

    The labels play no part in it, although they could spread rare labels more evenly: the part that a row lies in would
    then depend on its labels, and so would what it is judged by.

    Parameters
    ----------
    groups : array-like of int, shape (N,)
        Rows of one group stay in one part; `posterity.splitting.groups.group_rows` makes them.
    folds : int
        From 2 to the number of groups.
    seed : int or sequence of int
        The same one gives the same folds.
    key, images, fix : str
        For the message: the key of params.yaml that asks for the folds, what the rows are, what to do.

    Raises
    ------
    UserError
        If ``folds`` is below 2 or above the number of groups.

    Examples
    --------
    A group of 6 of 10 rows has a part for itself, whichever that is; the other rows are dealt into the other two.

    >>> sorted(np.bincount(assign_folds([7] * 6 + [0, 1, 2, 3], folds=3, seed=0)).tolist())
    [2, 2, 6]
    """
    names, group_of_row, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if not 2 <= folds <= len(names):
        different = f"different {images} (copies, and images of one split.group_column, count as one)"
        if len(names) < 2:
            raise UserError(f"params.yaml: {key} is {folds}: expected two {different}. Got {len(names)}. {fix}")
        raise UserError(
            f"params.yaml: {key} must be an integer from 2 to the number of {different}, which is {len(names)}. "
            f"Got {folds}. {fix}"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of_group = np.empty(len(names), dtype=np.int64)
    rows_of_fold = np.zeros(folds, dtype=np.int64)
    for group in order:
        fold = int(rows_of_fold.argmin())
        fold_of_group[group] = fold
        rows_of_fold[fold] += sizes[group]
    return np.asarray(fold_of_group[group_of_row], dtype=np.int64)


def training_folds(groups: npt.ArrayLike, *, folds: int, repeats: int, seed: int) -> IntArray:
    """Deal the training rows into folds, ``repeats`` times: (repeats, N), 0 to folds - 1.

    The parameters are those of `assign_folds`; with ``folds=1`` all rows are in one part.

    Raises
    ------
    UserError
        If ``folds`` is above the number of groups.

    Examples
    --------
    Each pair of copies stays together, whoever else is in its fold.

    >>> folds = training_folds([0, 0, 1, 1, 2, 2, 3, 3], folds=2, repeats=3, seed=0)
    >>> folds.shape, bool((folds[:, ::2] == folds[:, 1::2]).all()), np.bincount(folds[0]).tolist()
    ((3, 8), True, [4, 4])
    """
    number = len(np.asarray(groups))
    if folds == 1:
        return np.zeros((repeats, number), dtype=np.int64)
    return np.stack(
        [
            assign_folds(
                groups,
                folds=folds,
                seed=[seed, repeat],
                key="train.folds",
                images="training images",
                fix="Lower it (1 = one network that sees all of them), or train on more images.",
            )
            for repeat in range(repeats)
        ]
    )


def warn_of_large_part(fold_of_row: IntArray) -> None:
    """Say on stderr if a part of `training_folds` has more than twice its share: a network learns from the rest only.

    That is what a large group makes: nothing else can be larger than its share by more than the largest group.
    """
    sizes = np.bincount(fold_of_row[0])  # those of the other repeats are alike
    largest, number, folds = int(sizes.max()), fold_of_row.shape[1], len(sizes)
    if folds > 1 and largest * folds > 2 * number:
        print(
            f"WARNING: one of {folds} folds (train.folds) has {largest:,} of {number:,} training images, since they "
            "belong together (copies, or split.group_column). Its network learns from the other "
            f"{number - largest:,}, and is as large a part of the model as the others are.",
            file=sys.stderr,
        )

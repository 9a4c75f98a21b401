"""Folds: parts that rows are dealt into, so that each part can be judged by what was made without it."""

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
    fix: str = "validate on more images (split.validation_fraction)",
) -> IntArray:
    """Deal whole groups, shuffled, into ``folds`` parts of as many groups each, give or take one: (N,), 0 to folds - 1.

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
        For the message: the key of params.yaml that asks for the folds, what the rows are, another way out.

    Raises
    ------
    UserError
        If ``folds`` is below 2 or above the number of groups.
    """
    names, group_of_row = np.unique(np.asarray(groups), return_inverse=True)
    if not 2 <= folds <= len(names):
        raise UserError(
            f"params.yaml: {key} must be an integer from 2 to the number of different {images}, which "
            f"is {len(names)}. Got {folds}. Change it, or {fix}."
        )
    fold_of_group = np.random.default_rng(seed).permutation(len(names)) % folds
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
                fix="train on more images",
            )
            for repeat in range(repeats)
        ]
    )

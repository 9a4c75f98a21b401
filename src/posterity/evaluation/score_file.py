"""The scores of the validation rows on disk, which stage `train` writes."""

import os

import numpy as np
import numpy.typing as npt

from posterity import reading

STAGE = "train"


def read_scores(path: str | os.PathLike[str]) -> npt.NDArray[np.float32]:
    """Read the scores: float32 (num_rows, num_labels) in [0, 1].

    Raises
    ------
    UserError
        If the file is missing or damaged, not what dvc.lock says of it, or holds anything else.
    """
    scores = reading.read_array(path, STAGE, np.float32, ndim=2)
    wrong = scores[~((scores >= 0) & (scores <= 1))]  # written so that NaN is wrong, too
    if wrong.size:
        got = f"{wrong[0]} ({wrong.size:,} such values)"
        raise reading.damaged(path, "scores that are finite and lie in [0, 1]", got, STAGE)
    return scores

"""The rows of the tensor cache without their pixels: which images they are, and their labels.

A small folder beside the large one of `posterity.cache.tensors`, so that what needs no pixels does not depend on them::

    index.csv     line, id, sha256 of every cached row, in order; group, side and look, if the data have such
    targets.npy   uint8 (num_rows, num_labels), see `posterity.targets`
    labels.json   label names, in the order of the target columns
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity import files, reading, recorded
from posterity.errors import UserError
from posterity.targets import ABSENT, PRESENT, UNKNOWN

STAGE = "preprocess"  # which makes the folder
INDEX = "index.csv"
TARGETS = "targets.npy"
LABELS = "labels.json"
HOLDS = (INDEX, TARGETS, LABELS)  # all files of the folder
INDEX_COLUMNS = ["line", "id", "sha256"]
LOOK = "look"  # the same text for rows whose pictures look alike, "" for those that are like no other
# For the split: of data with split.group_column or split.side_column, or of which some rows look alike.
SPLIT_COLUMNS = ["group", "side", LOOK]


@dataclass(frozen=True)
class Rows:
    """What is known of the rows of a tensor cache beside their pixels.

    Attributes
    ----------
    index : DataFrame
        `INDEX_COLUMNS`: the line of the labels CSV on which the row begins (int64), its id, and the sha256 of its image
        file. Row k of the cache is line k of this table, counted from 0. Then those of `SPLIT_COLUMNS` that the data
        have, as text.
    targets : ndarray of uint8, shape (num_rows, num_labels)
        Multi-hot labels.
    label_names : list of str
        Names of the target columns.
    """

    index: pd.DataFrame
    targets: npt.NDArray[np.uint8]
    label_names: list[str]

    def __len__(self) -> int:
        return len(self.targets)


def read(folder: str | os.PathLike[str]) -> Rows:
    """Read what `write` wrote.

    Raises
    ------
    UserError
        If a file is missing or damaged, if the folder is not what dvc.lock says of it, or if the files do not belong
        together.
    """
    path = Path(folder)
    contents = {name: reading.raw_bytes(path / name) for name in HOLDS}
    recorded.check_folder(path, contents)
    index = reading.parsed_csv(contents[INDEX], path / INDEX, STAGE, INDEX_COLUMNS, line="int64")
    targets = reading.parsed_array(contents[TARGETS], path / TARGETS, STAGE, np.uint8, ndim=2)
    names = reading.as_names(reading.parsed_json(contents[LABELS], path / LABELS, STAGE), path / LABELS, STAGE)
    expected = (len(index), len(names))
    if targets.shape != expected:
        raise UserError(
            f"{path / TARGETS}: expected {expected[0]} rows and {expected[1]} labels, as {INDEX} and {LABELS} "
            f"beside it have. Got an array {targets.shape}. Run `dvc repro preprocess`."
        )
    if targets.max(initial=0) > UNKNOWN:
        what = f"{ABSENT}, {PRESENT} or {UNKNOWN} in every cell"
        raise reading.damaged(path / TARGETS, what, str(targets.max()), STAGE)
    return Rows(index, targets, names)


def write(
    folder: str | os.PathLike[str], index: pd.DataFrame, targets: npt.NDArray[np.uint8], label_names: Sequence[str]
) -> None:
    """Write a folder, in the place of an older one.

    Parameters
    ----------
    folder : path
        The folder to write.
    index : DataFrame
        Has at least the columns `INDEX_COLUMNS`; `SPLIT_COLUMNS` are written where there are such columns.
    targets : ndarray of uint8, shape (len(index), len(label_names))
        Multi-hot labels.
    label_names : sequence of str
        Names of the target columns.

    Raises
    ------
    ValueError
        If the shapes do not match.
    UserError
        If the folder holds files of somebody's own.
    """
    if targets.shape != (len(index), len(label_names)):
        raise ValueError(f"{len(index)} rows, {len(label_names)} labels and targets {targets.shape} do not match")
    with files.replacing_folder(folder, holds=HOLDS) as temporary:
        temporary.mkdir()
        columns = [*INDEX_COLUMNS, *(name for name in SPLIT_COLUMNS if name in index.columns)]
        files.write_csv(temporary / INDEX, index[columns])
        np.save(temporary / TARGETS, targets.astype(np.uint8))
        files.write_json(temporary / LABELS, list(label_names))

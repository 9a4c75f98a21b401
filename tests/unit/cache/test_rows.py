"""Index, targets and label names of the cached rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from posterity.cache import rows
from posterity.errors import UserError

INDEX = pd.DataFrame({"line": [2, 3, 5], "id": ["a", "007", "N/A"], "sha256": ["0", "1", "2"]})
TARGETS = np.array([[1, 0], [0, 0], [1, 1]], np.uint8)
NAMES = ["N/A", "Été"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows.write(tmp_path / "rows", INDEX.assign(path="x"), TARGETS, NAMES)
    return tmp_path / "rows"


def test_what_is_written_is_read(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(rows.HOLDS)
    read = rows.read(folder)
    pd.testing.assert_frame_equal(read.index, INDEX, check_dtype=False)
    assert read.index["line"].dtype == np.int64
    assert (str(read.targets.dtype), read.targets.tolist()) == ("uint8", TARGETS.tolist())
    assert read.label_names == NAMES
    assert len(read) == 3


def test_columns_for_the_split_are_text_and_only_there_if_the_data_have_them(tmp_path: Path) -> None:
    index = INDEX.assign(side=["train", "", "1"], group=["007", "N/A", ""])
    rows.write(tmp_path / "rows", index, TARGETS, NAMES)
    assert (tmp_path / "rows/index.csv").read_text() == (
        "line,id,sha256,group,side\n2,a,0,007,train\n3,007,1,N/A,\n5,N/A,2,,1\n"
    )
    assert rows.read(tmp_path / "rows").index["group"].tolist() == ["007", "N/A", ""]
    rows.write(tmp_path / "rows", index.drop(columns="group"), TARGETS, NAMES)
    assert list(rows.read(tmp_path / "rows").index.columns) == ["line", "id", "sha256", "side"]


def test_the_looks_are_kept_as_text(tmp_path: Path) -> None:
    rows.write(tmp_path / "rows", INDEX.assign(look=["", "0", "0"], path="x"), TARGETS, NAMES)
    assert (tmp_path / "rows" / "index.csv").read_text().splitlines() == [
        "line,id,sha256,look",
        "2,a,0,",
        "3,007,1,0",
        "5,N/A,2,0",
    ]
    assert rows.read(tmp_path / "rows").index["look"].tolist() == ["", "0", "0"]


def test_an_older_folder_is_replaced_and_one_of_the_users_is_not(folder: Path) -> None:
    rows.write(folder, INDEX[:1], TARGETS[:1], NAMES)
    assert len(rows.read(folder)) == 1
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"mine\.txt"):
        rows.write(folder, INDEX, TARGETS, NAMES)
    assert (folder / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", rows.HOLDS)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        rows.read(folder)


def test_files_that_do_not_belong_together_are_refused(folder: Path) -> None:
    np.save(folder / "targets.npy", TARGETS[:2])
    with pytest.raises(UserError, match=r"targets\.npy: expected 3 rows and 2 labels.* Got an array \(2, 2\)"):
        rows.read(folder)


def test_shapes_that_do_not_match_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"3 rows, 1 labels and targets \(3, 2\) do not match"):
        rows.write(tmp_path / "rows", INDEX, TARGETS, ["one"])
    assert list(tmp_path.iterdir()) == []

import numpy as np
import pandas as pd
import pytest

from posterity.errors import UserError
from posterity.splitting import split_file

INDEX = pd.DataFrame({"line": [2, 3, 5, 9], "id": ["a", "N/A", "01", "a,b"], "sha256": ["0", "1", "2", "3"]})


@pytest.fixture
def split(tmp_path):
    path = tmp_path / "split.csv"
    split_file.write(path, INDEX, np.array(["train", "validation", "test", "leave_out"]))
    return path


def test_the_file(split):
    assert split.read_text(encoding="utf-8") == (
        'line,id,side\n2,a,train\n3,N/A,validation\n5,01,test\n9,"a,b",leave_out\n'
    )


def test_rows_come_back_in_cache_numbering(split):
    rows = split_file.read(split, INDEX)
    assert (rows.train.tolist(), rows.validation.tolist(), rows.test.tolist()) == ([0], [1], [2])
    assert {side.dtype for side in rows} == {np.dtype(np.int64)}


@pytest.mark.parametrize(
    "index",
    [INDEX[:3], INDEX.iloc[[1, 0, 2, 3]], INDEX.assign(line=[2, 3, 5, 10]), pd.concat([INDEX, INDEX[3:]])],
    ids=["fewer rows", "other order", "another row", "more rows"],
)
def test_a_split_of_other_rows_is_refused(split, index):
    with pytest.raises(UserError, match=r"split\.csv: expected one side .* for each cached row. Run `dvc repro split`"):
        split_file.read(split, index)


@pytest.mark.parametrize(
    "text",
    [
        "line,id,side\n2,a,train\n3,b,Test\n5,c,train\n9,d,train\n",
        "line,id,side\n2,a,train\n3,b,\n5,c,train\n9,d,train\n",
        "line,id,side\ntwo,a,train\n3,b,train\n5,c,train\n9,d,train\n",
        "line,id\n2,a\n3,b\n5,c\n9,d\n",
        "id,side\na,train\nb,train\nc,train\nd,train\n",
    ],
    ids=["unknown side", "no side", "text as a row", "no column side", "no column row"],
)
def test_a_split_written_by_hand_may_be_wrong(split, text):
    split.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="expected one side"):
        split_file.read(split, INDEX)


def test_no_split(tmp_path):
    with pytest.raises(UserError, match=r"split\.csv does not exist. An earlier stage makes it: run `dvc repro`"):
        split_file.read(tmp_path / "split.csv", INDEX)

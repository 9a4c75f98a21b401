import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posterity.cache.npy_rows import NpyRows
from posterity.errors import UserError


@pytest.fixture
def path(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(60, dtype=np.float32).reshape(10, 2, 3))
    return tmp_path / "a.npy"


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.integers(0, 9), max_size=20), dtype=st.sampled_from([np.uint8, np.float32, np.int64]))
def test_rows_in_any_order(tmp_path_factory, rows, dtype):
    path = tmp_path_factory.mktemp("rows") / "a.npy"
    array = np.arange(60).reshape(10, 2, 3).astype(dtype)
    np.save(path, array)
    read = NpyRows(path, (2, 3)).read(rows)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, array[rows])


def test_the_first_axes_count_as_one(path):
    rows = NpyRows(path, (3,))
    assert rows.num_rows == 20
    np.testing.assert_array_equal(rows.read([7, 1]), [[21, 22, 23], [3, 4, 5]])


def test_a_long_run_takes_more_than_one_read(tmp_path):
    array = np.arange(3000, dtype=np.int64).reshape(3000, 1)
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(NpyRows(tmp_path / "a.npy", (1,)).read(np.arange(3000)[::-1]), array[::-1])


def test_rows_go_to_their_places(path):
    out = np.zeros((4, 2, 3), np.float32)
    NpyRows(path, (2, 3)).read_to(np.array([9, 0]), out, np.array([1, 3]))
    assert out[:, 0, 0].tolist() == [0, 54, 0, 0]
    assert out[3].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_short_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"a.npy: expected 10 rows. Got a file cut short at 367 bytes"):
        NpyRows(path, (2, 3))


def test_a_file_that_is_cut_short_later_is_noticed(path):
    rows = NpyRows(path, (2, 3))
    with path.open("r+b") as file:
        file.truncate(128 + 24 * 9 + 5)
    assert rows.read([8])[0, 0, 0] == 48
    with pytest.raises(UserError, match="a.npy: the file has become shorter"):
        rows.read([9])


def test_a_folder_in_the_place_of_a_file(tmp_path):
    (tmp_path / "a.npy").mkdir()
    with pytest.raises(UserError, match=r"a\.npy: cannot be read: a folder where a file is expected\. Move it out"):
        NpyRows(tmp_path / "a.npy", (3,))


def test_objects_are_never_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[None]], dtype=object))
    with pytest.raises(UserError, match=r"a\.npy: expected numbers\. Got object"):
        NpyRows(tmp_path / "a.npy", (1,))
    with pytest.raises(UserError, match=r"a\.npy: expected values of type uint8\. Got object"):
        NpyRows(tmp_path / "a.npy", (1,), np.uint8)


def test_other_shapes_and_other_files_are_refused(path, tmp_path):
    with pytest.raises(UserError, match=r"expected rows of shape \(3, 2\). Got an array \(10, 2, 3\)"):
        NpyRows(path, (3, 2))
    (tmp_path / "b.npy").write_bytes(b"no array at all")
    with pytest.raises(UserError, match="b.npy: expected an .npy file"):
        NpyRows(tmp_path / "b.npy", (3,))


@pytest.mark.parametrize("rows", [[-1], [0, 10]])
def test_rows_outside_the_file_are_refused(path, rows):
    with pytest.raises(IndexError, match=r"a.npy: rows must lie in \[0, 10\)"):
        NpyRows(path, (2, 3)).read(rows)


def test_values_of_another_type_are_refused(path):
    with pytest.raises(UserError, match="a.npy: expected values of type int32. Got float32"):
        NpyRows(path, (2, 3)).read_to(np.array([0]), np.empty((1, 2, 3), np.int32), np.array([0]))

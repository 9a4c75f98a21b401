import json

import numpy as np
import pandas as pd
import pytest

from posterity import files
from posterity.errors import UserError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fail_half_way():
        with files.replacing(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_parents_are_made(tmp_path):
    files.write_json(tmp_path / "a" / "b.json", {})
    assert (tmp_path / "a" / "b.json").read_text() == "{}\n"


def test_json_is_sorted_rounded_and_plain(tmp_path):
    content = {"b": np.float32(0.5), "a": [np.int64(3), 1 / 3, -1e-9], "c": "Ä"}
    files.write_json(tmp_path / "x.json", content)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"a": [3, 0.333333, 0.0], "b": 0.5, "c": "Ä"}
    assert text.index('"a"') < text.index('"b"') < text.index('"c"')
    assert "-0.0" not in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_is_not_finite(tmp_path, value):
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "x.json", {"a": value})
    assert not list(tmp_path.iterdir())


def test_csv_round_trip_keeps_text_that_pandas_takes_for_missing(tmp_path):
    table = pd.DataFrame({"id": ["N/A", "007", ""], "score": [1 / 3, 2.0, 0.5], "n": [1, 2, 3]})
    files.write_csv(tmp_path / "x.csv", table)
    back = files.read_csv(tmp_path / "x.csv", score="float64", n="int64")
    assert back["id"].tolist() == ["N/A", "007", ""]
    assert back["score"].tolist() == [0.333333, 2.0, 0.5]
    assert back["n"].tolist() == [1, 2, 3]


def test_csv_refuses_infinities(tmp_path):
    with pytest.raises(ValueError, match="infinity"):
        files.write_csv(tmp_path / "x.csv", pd.DataFrame({"a": [float("inf")]}))


@pytest.mark.parametrize("read", [files.read_json, files.read_csv])
def test_a_missing_input_names_the_file_and_the_fix(tmp_path, read):
    with pytest.raises(UserError, match=r"none\.x does not exist.*dvc repro"):
        read(tmp_path / "none.x")


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "precious").write_text("")
    with pytest.raises(UserError, match="results is a folder; expected the path of a file"):
        files.write_json(tmp_path / "results", {})
    with pytest.raises(UserError, match="results is a folder"), files.replacing(tmp_path / "results"):
        pytest.fail("the work began")
    assert [path.name for path in tmp_path.rglob("*")] == ["results", "precious"]


def test_what_can_be_written_is_known_before_the_work(tmp_path):
    (tmp_path / "old.txt").write_text("old")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    files.check_writable(tmp_path / "new.txt", tmp_path / "old.txt")
    assert (tmp_path / "old.txt").read_text() == "old"
    with pytest.raises(UserError, match="folder is a folder; expected the path of a file"):
        files.check_writable(tmp_path / "new.txt", tmp_path / "folder")
    with pytest.raises(UserError, match=r"x\.txt: cannot be written: .*file.* where a folder is expected"):
        files.check_writable(tmp_path / "old.txt" / "x.txt")
    assert sorted(tmp_path.rglob("*")) == before


HOLDS = ("images-*.npy", "meta.json", "parts/*.txt")


def fill(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


@pytest.mark.parametrize(
    "names",
    [[], ["meta.json"], ["images-0.npy", "images-1.npy", "parts/a.txt", ".DS_Store", "parts/Thumbs.db"]],
)
def test_a_folder_with_nothing_but_what_is_made_is_replaced(tmp_path, names):
    target = tmp_path / "folder"
    target.mkdir()
    fill(target, names)
    with files.replacing_folder(target, HOLDS) as temporary:
        fill(temporary, ["images-00000.npy"])
    assert [path.name for path in target.iterdir()] == ["images-00000.npy"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_write_leaves_the_old_folder(tmp_path):
    target = tmp_path / "folder"
    fill(target, ["meta.json"])

    def fail_half_way():
        with files.replacing_folder(target, HOLDS) as temporary:
            fill(temporary, ["images-0.npy"])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "meta.json"]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["mine.npy"], "mine.npy"),
        (["meta.json", "sub/meta.json"], "sub"),
        (["parts/a.csv", "parts/a.txt"], "parts/a.csv"),
        (["parts/sub/a.txt"], "parts/sub"),
        (["meta.json/a"], "meta.json"),
        (["1", "2", "3", "4", "5"], r"1, 2, 3, \.\.\."),
    ],
)
def test_a_folder_with_anything_else_is_refused_before_the_work(tmp_path, names, shown):
    target = tmp_path / "folder"
    fill(target, names)
    match = (
        rf"folder would be replaced as a whole.*nothing but images-\*\.npy, meta\.json.*also holds {shown}\. Nothing"
    )
    with pytest.raises(UserError, match=match), files.replacing_folder(target, HOLDS):
        pytest.fail("the work began")
    assert sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()) == names


def test_what_comes_into_a_folder_during_the_work_is_not_deleted(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()

    def work():
        with files.replacing_folder(target, HOLDS) as temporary:
            fill(temporary, ["meta.json"])
            fill(target, ["mine"])

    with pytest.raises(UserError, match="also holds mine"):
        work()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "mine"]


def test_a_folder_does_not_take_the_place_of_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(UserError, match="file is a file; expected the path of a folder"),
        files.replacing_folder(tmp_path / "file", HOLDS),
    ):
        pytest.fail("the work began")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_link_to_a_folder_is_followed_and_one_inside_is_not(tmp_path):
    target = tmp_path / "folder"
    fill(target, ["meta.json"])
    (tmp_path / "link").symlink_to(target)
    with files.replacing_folder(tmp_path / "link", HOLDS) as temporary:
        fill(temporary, ["images-1.npy"])
    assert (tmp_path / "link").is_symlink()
    assert (target / "images-1.npy").is_file()
    (tmp_path / "mine").mkdir()
    (target / "parts").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="also holds parts"), files.replacing_folder(target, HOLDS):
        pytest.fail("the work began")

"""Every kind of damage to outs and to the cache, and that the advised commands mend it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from posterity.errors import UserError
from posterity.verifying.recorded import read_project
from unit.verifying.small_outs import cached, check, flip, make, wrong

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries of DVC


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify") / "project"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(folder)
    return folder


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def follow(fix):
    """Run what is advised, as somebody would at the terminal."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command, environment = ["bash", "-c", fix], os.environ | {"PATH": path}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_whole_project_has_a_row_for_every_file_and_object(project):
    found = [(row.what, row.state) for row in check()]
    in_workspace = ["a.txt", "added.csv", "figures.json", "folder/below/two", "folder/one"]
    assert found[0] == ("later.txt", "unrecorded")  # its stage has never run
    assert sorted(found[1:6]) == [(name, "right") for name in in_workspace]
    objects = {cached(text).as_posix() for text in ("a", "Id,Genre\n", "1", "2")}
    rest = {what for what, state in found[6:] if state == "right"}
    assert len(rest) == len(found[6:]) == 5  # a metric that lies in Git has no object; the folder has a list
    assert objects < rest


@pytest.mark.parametrize("name", ["a.txt", "folder/below/two", "added.csv"])
def test_a_flipped_byte_in_the_workspace_is_found_and_mended_from_the_cache(project, name):
    before = Path(name).read_bytes()
    flip(Path(name))
    (path, (state, fix)) = wrong().popitem()
    assert (path, state) == (name, "damaged")
    follow(fix.removeprefix("dvc add added.csv if you changed it, or "))
    assert Path(name).read_bytes() == before
    assert not wrong()


@pytest.mark.parametrize("name", ["a.txt", "folder/one", "folder", "added.csv"])
def test_what_is_missing_is_found_and_mended_from_the_cache(project, name):
    if Path(name).is_dir():
        shutil.rmtree(name)
    else:
        Path(name).unlink()
    found = wrong()
    assert found[name][0] == "missing"
    assert len(found) == 1
    follow(found[name][1])
    assert not wrong()


@pytest.mark.parametrize("text", ["a", "2"])
@pytest.mark.parametrize("damage", [flip, Path.unlink], ids=["flipped", "missing"])
def test_an_object_is_made_again_of_the_workspace(project, text, damage):
    damage(cached(text))
    found = wrong()
    state = "missing" if damage is Path.unlink else "damaged"
    assert {path: row[0] for path, row in found.items()} == {cached(text).as_posix(): state}
    follow(found[cached(text).as_posix()][1])
    assert not wrong()
    assert cached(text).read_text() == text


@pytest.mark.parametrize("damage", [flip, Path.unlink], ids=["flipped", "missing"])
def test_the_list_of_a_folder_is_made_again_if_the_folder_is_right(project, damage):
    (listed,) = Path(".dvc/cache").rglob("*.dir")
    damage(listed)
    found = wrong()
    assert list(found) == [listed.as_posix()]
    follow(found[listed.as_posix()][1])
    assert not wrong()


def test_without_its_list_a_changed_folder_is_made_again_as_a_whole(project):
    (listed,) = Path(".dvc/cache").rglob("*.dir")
    flip(listed)
    flip(Path("folder/one"))
    found = wrong()
    assert found["folder"][0] == "damaged"
    assert [row for row in found.values() if row[1]] == [found["folder"]]  # one command mends all
    follow(found["folder"][1])
    assert not wrong()


@pytest.mark.parametrize("damage", [flip, Path.unlink], ids=["flipped", "missing"])
def test_what_is_bad_in_both_places_is_made_again(project, damage):
    damage(Path("a.txt"))
    flip(cached("a"))
    found = wrong()
    assert {path: row[0] for path, row in found.items()} == {
        "a.txt": "missing" if damage is Path.unlink else "damaged",
        cached("a").as_posix(): "damaged",
    }
    follow(found["a.txt"][1])
    assert not wrong()
    assert Path("a.txt").read_text() == cached("a").read_text() == "a"


def test_data_that_are_bad_in_both_places_are_not_removed(project):
    flip(Path("added.csv"))
    flip(cached("Id,Genre\n"))
    found = wrong()
    assert found["added.csv"] == ("damaged", "dvc add added.csv if you changed it, or bring it back from where it came")


def test_a_file_too_many_in_a_folder_is_found(project):
    Path("folder/below/extra").write_text("x")
    assert wrong() == {"folder/below/extra": ("extra", "move folder/below/extra out of folder")}


def test_what_dvc_ignores_is_not_too_many(project):
    Path(".dvcignore").write_text(".DS_Store\n")
    Path("folder/.DS_Store").write_text("x")
    assert not wrong()


def test_a_metric_in_git_is_made_again(project):
    Path("figures.json").write_text("{ }")
    found = wrong()
    assert found["figures.json"] == ("damaged", "rm -rf figures.json && dvc repro copy")
    follow(found["figures.json"][1])
    assert not wrong()


def test_linked_files_are_read_once_and_damaged_together(project):
    Path("a.txt").unlink()
    os.link(cached("a"), "a.txt")
    flip(Path("a.txt"))
    found = wrong()
    assert {path: row[0] for path, row in found.items()} == {"a.txt": "damaged", cached("a").as_posix(): "damaged"}
    follow(found["a.txt"][1])
    assert not wrong()


def test_a_folder_in_place_of_a_file_and_a_pipe_are_no_regular_files(project):
    Path("a.txt").unlink()
    Path("a.txt").mkdir()
    Path("folder/one").unlink()
    os.mkfifo("folder/one")
    rows = {row.what: (row.state, row.detail) for row in check() if row.is_wrong}
    assert rows["a.txt"] == ("damaged", "it is no regular file")
    assert rows["folder/one"] == ("damaged", "it is no regular file")


def test_a_project_that_has_not_run_is_a_mistake_of_the_user(project):
    Path("dvc.lock").unlink()
    with pytest.raises(UserError, match="dvc.lock does not exist here: nothing has been recorded"):
        read_project()


def test_a_folder_without_dvc_is_a_mistake_of_the_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="There is no DVC project here"):
        read_project()


def test_a_lock_with_conflict_markers_is_a_mistake_of_the_user(project):
    Path("dvc.lock").write_text("<<<<<<< HEAD\n" + Path("dvc.lock").read_text())
    with pytest.raises(UserError, match=r"DVC cannot read the records of this project: .*`posterity check`"):
        read_project()

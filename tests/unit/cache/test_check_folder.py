"""What machine.reuse_folder may be, and that nothing of the user's is touched there."""

import shutil
from pathlib import Path

import pytest

from posterity.cache import run_notes
from posterity.cache.reuse_folder import MARKER, check_folder
from posterity.errors import UserError
from unit.cache.tiny_builds import Builds


@pytest.fixture
def builds(tmp_path):
    return Builds(tmp_path)


def tree(folder):
    """All files below ``folder`` with their bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The current folder, with the inputs and outputs that `check_folder` is told of."""
    for name in ("posters/images", "data/tensors"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "posters/labels.csv").write_text("Id,Genre\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


OTHERS = {
    "data.images": Path("posters/images"),
    "data.labels": Path("posters/labels.csv"),
    "--tensors": Path("data/tensors"),
    "--manifest": Path("data/manifest.csv"),  # an output that does not exist yet
}


@pytest.mark.parametrize(
    ("folder", "relation"),
    [
        (".", "is the current folder"),
        ("..", "holds the current folder"),
        ("data", r"holds data/tensors \(--tensors\)"),
        ("posters", r"holds posters/images \(data.images\)"),
        ("data/tensors", r"is data/tensors \(--tensors\)"),
        ("data/../data/tensors/", r"is data/tensors \(--tensors\)"),
        ("data/tensors/kept", r"lies inside data/tensors \(--tensors\)"),
        ("posters/images/kept", r"lies inside posters/images \(data.images\)"),
        ("link", r"is data/tensors \(--tensors\)"),
    ],
)
def test_a_folder_that_overlaps_inputs_or_outputs_is_refused(project, folder, relation):
    (project / "link").symlink_to(project / "data/tensors")
    with pytest.raises(UserError, match=f"machine.reuse_folder must be a folder of its own.*which {relation}.*null"):
        check_folder(Path(folder), OTHERS)


@pytest.mark.parametrize("folder", ["data/.reuse", "data/empty", "../elsewhere", "data/tensors-kept"])
def test_a_folder_of_its_own_is_accepted(project, folder):
    (project / "data/empty").mkdir()
    check_folder(Path(folder), {**OTHERS, ".": Path()})
    check_folder(project / folder, OTHERS)


@pytest.mark.parametrize("name", ["tensors/mine.npy", "tensors/images-00000.npy", "files.json", "a/b/c.txt"])
def test_a_folder_of_the_users_own_is_refused_and_left_alone(builds, name):
    mine = builds.root / "precious" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("x")
    top = name if "a/" not in name else "a"
    builds.kept = builds.root / "precious"
    before = tree(builds.kept)
    with pytest.raises(UserError, match=f"does not exist yet.*precious, which holds {top.split('/')[0]}.*Nothing was"):
        check_folder(builds.kept, {})
    with pytest.raises(UserError, match=f"holds {top.split('/')[0]}.*, which posterity did not make"):
        builds.build(range(3))
    assert tree(builds.kept) == before


def test_things_of_the_user_among_the_kept_shards_are_not_deleted(builds, monkeypatch):
    builds.build(range(3))
    (builds.kept / "notes.txt").write_text("mine")  # is in nobody's way
    check_folder(builds.kept, {})
    (builds.kept / "tensors/mine.npy").write_text("x")
    with pytest.raises(UserError, match=r"which holds tensors/mine\.npy"):
        check_folder(builds.kept, {})
    with pytest.raises(UserError, match=r"holds tensors/mine\.npy, which posterity did not make"):
        builds.build(range(3))
    assert (builds.kept / "tensors/mine.npy").read_text() == "x"
    assert (builds.kept / "notes.txt").read_text() == "mine"


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"must be a folder\. Got .*file, which is a file"):
        check_folder(tmp_path / "file", {})


def test_a_folder_that_a_version_without_a_marker_made_is_accepted_and_marked(builds):
    builds.build(range(10))
    (builds.kept / MARKER).unlink()
    run_notes.write(builds.kept / "files.json", __file__, {})
    check_folder(builds.kept, {})
    builds.build(range(10))
    assert builds.decoded == 0
    assert (builds.kept / MARKER).read_text().startswith("This folder was made by posterity")
    (builds.kept / MARKER).unlink()
    (builds.kept / "tensors/mine.npy").write_text("x")
    with pytest.raises(UserError, match=r"which holds tensors/mine\.npy"):
        check_folder(builds.kept, {})


def test_what_a_killed_run_leaves_is_no_obstacle(builds):
    builds.build(range(3))
    (builds.kept / "tensors/images-00000.new").write_text("")
    (builds.kept / "tensors/.note.json.abcd").mkdir()
    (builds.kept / "tensors/.note.json.abcd/note.json").write_text("")
    (builds.kept / ".tensors.abcd/tensors").mkdir(parents=True)
    killed = [
        builds.kept / name for name in (".files.json.r9a4jz6f.posterity", "tensors/.note.json.x3n0rs8p.posterity")
    ]
    for path in killed:
        path.mkdir()
    check_folder(builds.kept, {})
    assert not any(path.exists() for path in killed)
    builds.build(range(3))
    assert builds.decoded == 0


@pytest.mark.parametrize("name", ["features", "tensors"])
def test_a_file_where_a_folder_is_kept_is_named_before_any_work(builds, name):
    builds.build(range(3))
    shutil.rmtree(builds.kept / name, ignore_errors=True)
    (builds.kept / name).write_text("x")
    with pytest.raises(UserError, match=f"which holds {name}, which is no folder.*Nothing was changed"):
        check_folder(builds.kept, {})
    assert (builds.kept / name).read_text() == "x"


@pytest.mark.parametrize("folder", [".git/kept", ".dvc", "src", "models/kept", "metrics/kept", "report"])
def test_folders_of_the_project_are_refused(project, folder):
    with pytest.raises(
        UserError, match=r"machine.reuse_folder must be a folder of its own.*\(a folder of the project\)"
    ):
        check_folder(Path(folder), OTHERS)


def test_a_tilde_is_no_home():
    with pytest.raises(UserError, match="~ is no one's home"):
        check_folder(Path("~/kept"), OTHERS)

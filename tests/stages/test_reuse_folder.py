"""machine.reuse_folder and the output options never cost a user a file, as the scripts run it."""

import os
from pathlib import Path

import pytest

from small_project import SmallProject, run_script


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def project(tmp_path, monkeypatch):
    project = SmallProject(tmp_path)
    monkeypatch.chdir(tmp_path)
    return project


def test_a_folder_of_the_users_own_survives(project):
    assert run_script("validate").code == 0
    mine = project.root / "precious/tensors/mine.npy"
    mine.parent.mkdir(parents=True)
    mine.write_text("x")
    project.params({"machine.reuse_folder": "precious"})
    before = tree(project.root)
    for stage in ("validate", "preprocess"):
        done = run_script(stage)
        assert done.code == 2
        assert "Got precious, which holds tensors. Nothing was changed." in done.stderr
        assert "decode" not in done.stderr
    assert tree(project.root) == before


@pytest.mark.parametrize("folder", [".", "data", "data/tensors", "images"])
def test_a_folder_that_the_stages_use_is_refused(project, folder):
    for stage in ("validate", "preprocess"):
        assert run_script(stage).code == 0
    project.params({"machine.reuse_folder": folder})
    before = tree(project.root)
    for stage in ("validate", "preprocess"):
        done = run_script(stage)
        assert done.code == 2
        assert "machine.reuse_folder must be a folder of its own, because what is in it may be" in done.stderr
        assert f"Got {folder}, which " in done.stderr
        assert "such as data/.reuse, or to null." in done.stderr
    assert tree(project.root) == before


def test_the_advised_folder_is_accepted(project):
    project.params({"machine.reuse_folder": "data/.reuse"})
    for stage in ("validate", "preprocess", "validate"):
        assert run_script(stage).code == 0
    assert "24 rows reused, 0 decoded." in run_script("preprocess").stdout


def test_validate_and_features_say_that_nothing_can_be_kept(project, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    project.params({"machine.reuse_folder": "kept", "model.name": "compact_cnn"})
    for stage in ("validate", "preprocess"):
        assert run_script(stage).code == 0
    monkeypatch.setattr(os, "link", refuse)
    reason = "kept cannot hold hard links to the files of data/tensors: Invalid cross-device link."
    assert f"The tensors are not kept for the next run: {reason}" in run_script("features").stdout
    assert run_script("preprocess").code == 0
    assert f"Nothing is kept of the last run: {reason}" in run_script("validate").stdout


@pytest.mark.parametrize(
    ("stage", "option"), [("preprocess", "--tensors"), ("preprocess", "--rows"), ("features", "--features")]
)
def test_an_output_option_replaces_no_folder_of_the_users_own(project, stage, option):
    for before in ("validate", "preprocess"):
        assert run_script(before).code == 0
    (project.root / "mine").mkdir()
    (project.root / "mine/thesis.txt").write_text("x")
    everything = tree(project.root)
    done = run_script(stage, option, "mine")
    assert done.code == 2
    assert "mine would be replaced as a whole" in done.stderr
    assert "Got a folder that also holds thesis.txt. Nothing was changed" in done.stderr
    assert tree(project.root) == everything

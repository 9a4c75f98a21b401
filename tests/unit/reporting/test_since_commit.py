import json
import subprocess
from pathlib import Path

import pytest

from posterity.reporting.since_commit import since_commit

FIGURES = {"skill": 0.2, "skill_low": 0.15, "skill_high": 0.25, "map_macro": 0.3, "map_macro_low": 0.25,
           "map_macro_high": 0.35}  # fmt: skip


def git(*arguments):
    who = ("-c", "user.name=n", "-c", "user.email=n@example.org")
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


def write(skill, map_macro=0.3):
    moved = {"skill": skill, "skill_low": skill - 0.05, "skill_high": skill + 0.05, "map_macro": map_macro}
    Path("metrics/evaluate.json").write_text(json.dumps(FIGURES | moved))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two commits: a first run of skill 0.1, then one of skill 0.2; dvc.lock says that the data are the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/data.json").write_text("{}")
    outs = "  {}:\n    cmd: python\n    outs:\n    - path: {}\n      md5: abc\n"
    stages = outs.format("split", "data/split.csv") + outs.format("preprocess", "data/rows")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages:\n" + stages)
    git("init", "-q", ".")
    for skill, title in ((0.1, "First run"), (0.2, "Second run")):
        write(skill)
        git("add", ".")
        git("commit", "-q", "-m", title)
    return tmp_path


def test_before_the_commit_and_after_it_the_same_is_said(project):
    write(0.3)
    before = since_commit()
    assert before.verdict == "better"
    assert "Second run" in before.sentence
    assert "skill 0.200 → 0.300" in before.sentence
    git("commit", "-q", "-a", "-m", "Third run")
    assert since_commit() == before


def test_a_small_difference_is_noise_and_a_loss_is_worse(project):
    write(0.21)
    assert since_commit().verdict == "noise"
    write(0.05)
    found = since_commit()
    assert found.verdict == "worse"
    assert found.sentence.startswith("Worse than the commit")


def test_other_rows_are_not_comparable(project):
    write(0.9)
    (project / "metrics/data.json").write_text('{"labels": 3}')
    found = since_commit()
    assert found.verdict == "unknown"
    assert found.sentence.startswith("Not comparable")


def test_without_a_history_nothing_is_compared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics").mkdir()
    write(0.2)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = since_commit()
    assert found.verdict == "unknown"
    assert "no earlier run" in found.sentence


def test_figures_that_were_committed_cut_off_stop_nothing(project):
    Path("metrics/evaluate.json").write_text('{"skill": 0.')
    git("commit", "-q", "-a", "-m", "Cut off")
    write(0.3)
    found = since_commit()
    assert found.verdict == "unknown"
    assert found.sentence == "The figures of the commit “Cut off” cannot be read."


def test_without_a_dvc_lock_nothing_is_compared(project):
    write(0.3)
    Path("dvc.lock").unlink()
    assert since_commit().verdict == "unknown"

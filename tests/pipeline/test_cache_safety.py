"""With the committed .dvc/config an edit in place of a tracked file, also by root, reaches no earlier version of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from small_project import ROOT

pytestmark = pytest.mark.slow

STAGE = """stages:
  split:
    cmd: %s split.py
    deps: [split.py]
    outs: [data/split.csv]
"""
SCRIPT = """import pathlib
pathlib.Path("data").mkdir(exist_ok=True)
pathlib.Path("data/split.csv").write_text("row,side\\n2,training\\n3,validation\\n")
"""


class Repository:
    """A Git and DVC repository with the .dvc/config of this project."""

    def __init__(self, root: Path) -> None:
        self.root = root / "project"
        self.root.mkdir()
        (root / "gitconfig").write_text("[user]\nname = Test\nemail = test@example.org\n")
        self.environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
            "PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": str(root / "gitconfig"),
            "DVC_SITE_CACHE_DIR": str(root / "database"),
        }
        self.run("git", "init", "-q", "-b", "main")
        self.run("dvc", "init", "-q")
        (self.root / ".dvc/config").write_bytes((ROOT / ".dvc/config").read_bytes())

    def run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "a version")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_an_edit_in_place_of_a_table_leaves_its_first_version(repository):
    table = repository.root / "labels.csv"
    first = b"Id,Genre\na,Drama\n"
    table.write_bytes(first)
    repository.run("dvc", "add", "-q", "labels.csv")
    repository.commit()
    with table.open("ab") as file:  # as an editor that writes to the same file does
        file.write(b"b,Comedy\n")
    repository.run("dvc", "add", "-q", "labels.csv")
    repository.commit()

    repository.run("git", "checkout", "-q", "HEAD~1")
    repository.run("dvc", "checkout", "-q", "labels.csv.dvc")
    assert table.read_bytes() == first
    repository.run("git", "checkout", "-q", "main")
    repository.run("dvc", "checkout", "-q", "labels.csv.dvc")
    assert table.read_bytes() == first + b"b,Comedy\n"


def test_a_changed_byte_of_an_output_is_reported_and_repaired(repository):
    (repository.root / "dvc.yaml").write_text(STAGE % sys.executable)
    (repository.root / "split.py").write_text(SCRIPT)
    repository.run("dvc", "repro", "-q")
    repository.commit()
    assert "up to date" in repository.run("dvc", "status")

    split = repository.root / "data/split.csv"
    right = split.read_bytes()
    with split.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"N")
    assert split.read_bytes() != right
    assert "modified:           data/split.csv" in repository.run("dvc", "status")
    repository.run("dvc", "checkout", "-q", "--force")
    assert split.read_bytes() == right
    assert "up to date" in repository.run("dvc", "status")

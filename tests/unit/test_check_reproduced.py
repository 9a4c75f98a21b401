"""What CI says after a `dvc repro` on another machine: its environment may differ, and nothing else may for that."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = "metrics/environment.json"


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A commit with the two files that matter, and a DVC that finds all up to date; this CPU is the reference."""
    monkeypatch.chdir(tmp_path)
    for name in (".ci/check_reproduced.py", "metrics/train.json"):
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, name)
    for name in ("data.json", "split.json", "test.json", "evaluate.json", "environment.json"):
        Path("metrics", name).write_text("{}\n")
    for name in ("data/.gitignore", "models/.gitignore", "dvc.lock"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("")
    # The words of the script for this CPU.
    code = "import runpy; print(runpy.run_path('.ci/check_reproduced.py')['cpu']())"
    cpu = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    Path(".ci/reference_cpu.txt").write_text(cpu)
    Path("bin").mkdir()
    Path("bin/dvc").write_text("#!/bin/sh\necho Data and pipelines are up to date.\n")
    Path("bin/dvc").chmod(0o755)
    author = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "1"]):
        subprocess.run(["git", *command], check=True)
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def run():
        command = [sys.executable, ".ci/check_reproduced.py"]
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)

    return run


def test_the_same_bytes_are_reproduced(clone):
    done = clone()
    assert done.returncode == 0
    assert done.stdout.startswith("Reproduced byte for byte on ")


def test_another_environment_with_the_same_bytes_is_printed_and_passes(clone):
    Path(ENVIRONMENT).write_text('{"numpy": "2"}\n')
    done = clone()
    assert done.returncode == 0, done.stderr
    assert '+{"numpy": "2"}' in done.stdout
    assert "Reproduced byte for byte on " in done.stdout


LOCK = """\
stages:
  report:
    outs:
    - path: report/index.html
      md5: {page}
    - path: models/MODEL_CARD.md
      md5: {card}
"""


def commit_lock(message="lock"):
    Path("dvc.lock").write_text(LOCK.format(page="1", card="1"))
    author = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *author, "commit", "-qam", message], check=True)


def test_without_the_history_that_it_compares_with_the_page_alone_may_differ(clone):
    commit_lock()
    Path("dvc.lock").write_text(LOCK.format(page="2", card="1"))
    done = clone()
    assert done.returncode == 0, done.stderr
    assert "but for report/index.html" in done.stdout
    Path("dvc.lock").write_text(LOCK.format(page="2", card="2"))
    assert clone().returncode == 1


def test_with_that_history_the_page_has_to_be_the_same(clone):
    Path("metrics/evaluate.json").write_text('{"bce": 1}\n')
    commit_lock("other figures")
    Path("dvc.lock").write_text(LOCK.format(page="2", card="1"))
    assert clone().returncode == 1


def test_another_figure_on_the_same_cpu_fails_with_another_environment_or_without(clone):
    Path("metrics/evaluate.json").write_text('{"bce": 1}\n')
    assert "The same CPU has to give the same bytes." in clone().stderr
    Path(ENVIRONMENT).write_text('{"numpy": "2"}\n')
    done = clone()
    assert done.returncode == 1
    assert "The same CPU has to give the same bytes." in done.stderr

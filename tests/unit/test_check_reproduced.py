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


def test_another_figure_on_the_same_cpu_fails_with_another_environment_or_without(clone):
    Path("metrics/evaluate.json").write_text('{"bce": 1}\n')
    assert "The same CPU has to give the same bytes." in clone().stderr
    Path(ENVIRONMENT).write_text('{"numpy": "2"}\n')
    done = clone()
    assert done.returncode == 1
    assert "The same CPU has to give the same bytes." in done.stderr

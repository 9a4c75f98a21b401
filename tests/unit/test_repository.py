"""The files around the code: what a clone, a licence scanner, a citation and the CI service make of them."""

import hashlib
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

import posterity
from posterity.config import yaml12

ROOT = Path(__file__).resolve().parents[2]
# Of https://www.apache.org/licenses/LICENSE-2.0.txt
APACHE_2_0 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
# The line ending of a table is part of what its author committed, and DVC hashes it.
TABLE_WITH_CRLF = b"Id,Genre\r\n1,Drama\r\n"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the list of tracked files, which Git has")
def test_a_clone_with_autocrlf_has_the_bytes_that_were_committed(tmp_path: Path) -> None:
    original, clone = tmp_path / "original", tmp_path / "clone"
    names = [name for name in git(ROOT, "ls-files", "-z").split("\0") if (ROOT / name).is_file()]
    for name in {*names, ".gitattributes"}:
        (original / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, original / name)
    (original / "from_a_spreadsheet.csv").write_bytes(TABLE_WITH_CRLF)

    git(tmp_path, "init", "--quiet", str(original))
    git(original, "add", "--force", "--all")
    git(original, "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "--message", "all")
    git(tmp_path, "-c", "core.autocrlf=true", "clone", "--quiet", str(original), str(clone))

    assert digests(clone) == digests(original)
    assert (clone / "from_a_spreadsheet.csv").read_bytes() == TABLE_WITH_CRLF


def test_the_licence_is_apache_2_0_wherever_it_is_stated() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2_0
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"
    assert read("CITATION.cff")["license"] == "Apache-2.0"


def test_the_citation_names_the_version_of_the_package() -> None:
    assert read("CITATION.cff")["version"] == posterity.__version__


@pytest.mark.parametrize(("workflow", "command"), [("quick", ".ci/run quick"), ("nightly", ".ci/run")])
def test_a_workflow_checks_by_the_script_that_contributors_run(workflow: str, command: str) -> None:
    content = read(f".github/workflows/{workflow}.yml")
    steps = [step for job in content["jobs"].values() for step in job["steps"]]
    assert steps[-1]["run"] == command
    assert content["permissions"] == {"contents": "read"}


def test_the_checks_script_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_help_lists_every_target() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {"check", "test", "test-fast", "repro", "bench", "docs", "lint"} <= set(targets)
    assert [line.split()[0] for line in listed.splitlines()] == targets


def git(folder: Path, *arguments: str) -> str:
    """Output of a Git command that sees no settings of the user or the machine."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    # safe.directory: in a container the checkout may belong to another user.
    command = ["git", "-c", f"safe.directory={folder}", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read(name: str) -> Any:
    return yaml12.read(str(ROOT / name))

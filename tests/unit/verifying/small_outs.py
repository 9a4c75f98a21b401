"""A DVC project with one output of every kind, made by stages that only copy; no pipeline of ours runs."""

import hashlib
from pathlib import Path

from posterity.verifying.finding import Finding
from posterity.verifying.hashing import Readings
from posterity.verifying.outs import OutsCheck
from posterity.verifying.recorded import read_project

DVC_YAML = """\
stages:
  copy:
    cmd: cp -r source/folder folder && cp source/a.txt a.txt && cp source/b.txt figures.json
    deps: [source]
    outs: [folder, a.txt]
    metrics: [figures.json: {cache: false}]
  later:
    cmd: cp a.txt later.txt
    deps: [a.txt]
    outs: [later.txt]
"""


def make(root: Path) -> None:
    """Make the project in ``root``, the current folder: two cached outs and a metric, added data, one stage not run."""
    from dvc.repo import Repo

    for name, text in {"folder/one": "1", "folder/below/two": "2", "a.txt": "a", "b.txt": "{}"}.items():
        path = root / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "added.csv").write_text("Id,Genre\n")
    with Repo.init(str(root), no_scm=True) as repo:
        (root / "dvc.yaml").write_text(DVC_YAML)
        repo.add("added.csv")
        repo.reproduce("copy")


def check() -> list[Finding]:
    """What is found of the outs of the project in the current folder."""
    readings = Readings()
    outs = OutsCheck(read_project(), readings)
    readings.read_all()
    return outs.findings()


def wrong() -> dict[str, tuple[str, str]]:
    """State and fix of everything that is wrong, by path, but for the stage that has not run."""
    return {row.what: (row.state, row.fix) for row in check() if row.is_wrong and row.what != "later.txt"}


def cached(text: str) -> Path:
    """Where the cache keeps a file with this content."""
    md5 = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    return Path(".dvc/cache/files/md5", md5[:2], md5[2:])


def flip(path: Path) -> None:
    """Change the last byte without changing size or time, as a failing disk would."""
    before = path.stat()
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    import os

    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

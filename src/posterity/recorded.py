"""What dvc.lock says of the bytes of a file that an earlier stage made, and what to do about a file with others.

DVC looks at size, time and inode of a file, so it does not see a flipped bit of a disk: the file stays "up to date".
A stage that reads the file whole anyway can compare it with the md5 that DVC recorded when the file was made.

That never stops a run wrongly. `dvc repro` and `dvc exp run` go through the stages one after the other, and for each
they hash its outputs and write dvc.lock before the next one starts, with ``--no-commit``, ``--single-item`` and a
result of the run cache, too (DVC 3.67: `_reproduce_stage` in dvc/repo/reproduce.py calls `stage.reproduce`, which
runs and saves, and then `stage.dump`; a stage that is skipped is one whose outputs are those of dvc.lock). So what a
stage reads is recorded when it starts. What it writes is not, and nothing here is asked about that.

A path that dvc.lock does not list as an output is not checked: a script may be run by hand on other files.
"""

import functools
import hashlib
import io
import json
import os
import posixpath
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from posterity.errors import UserError

LOCK = "dvc.lock"
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
# Not YAML 1.2 as elsewhere: only texts are taken, and in C it takes a tenth of the time (100 ms for 24 kB).
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TRIES, _PAUSE_S = 5, 0.2  # DVC writes the file in place: another run may be at it


class Record(NamedTuple):
    """What dvc.lock says of an output: the stage that makes it, and every md5 that it has for it."""

    stage: str
    md5: frozenset[str]


def fix(path: str | os.PathLike[str], stage: str) -> str:
    """How to get a damaged file back that ``stage`` makes ("" = an unknown one), as a sentence.

    Deleting comes first: to DVC, a file whose size and time are those of before has not changed, and `dvc checkout`
    leaves it alone. For the same reason the stage has to be forced.
    """
    again = f"dvc repro --force --single-item {stage}" if stage else "dvc repro"
    return f"Delete it and run `dvc checkout {os.fspath(path)}`, or `{again}` if that does not bring it back."


def check(path: str | os.PathLike[str], content: bytes) -> None:
    """Compare the content of a file with what dvc.lock says of it.

    Raises
    ------
    UserError
        If dvc.lock in the current folder lists ``path`` as an output and has another md5 for it.
    """
    if record := of(path):
        _compare(path, record, hashlib.md5(content, usedforsecurity=False).hexdigest())


def check_stream(path: str | os.PathLike[str], stream: io.BufferedReader) -> None:
    """Do the work of `check` for an open file, which may be large; it is read to its end."""
    if record := of(path):
        _compare(path, record, hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest())


def check_folder(path: str | os.PathLike[str], contents: Mapping[str, bytes]) -> None:
    """Do the work of `check` for a folder of files, given by their names.

    The md5 of a folder is that of a list of its files in JSON (`dvc_data.hashfile.tree.Tree.as_bytes`), and ends in
    ``.dir``.
    """
    if record := of(path):
        sums = {name: hashlib.md5(content, usedforsecurity=False).hexdigest() for name, content in contents.items()}
        listed = json.dumps([{"md5": sums[name], "relpath": name} for name in sorted(sums)], sort_keys=True)
        _compare(path, record, f"{hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest()}.dir")


def of(path: str | os.PathLike[str]) -> Record | None:
    """What dvc.lock in the current folder says of ``path``; None if it does not list it, or if there is none."""
    try:
        facts = Path(LOCK).stat()
    except OSError:
        return None
    outputs = _outputs(os.fspath(Path.cwd()), facts.st_mtime_ns, facts.st_size, facts.st_ino)
    return outputs.get(os.path.relpath(path).replace(os.sep, "/"))


def _compare(path: str | os.PathLike[str], record: Record, got: str) -> None:
    if got in record.md5:
        return
    expected = " or ".join(sorted(record.md5))
    raise UserError(
        f"{os.fspath(path)}: expected the bytes that stage {record.stage} made (md5 {expected} in {LOCK}). Got others "
        f"(md5 {got}). {fix(path, record.stage)} If you changed it on purpose, run `dvc commit --force {record.stage}` "
        "instead."
    )


@functools.lru_cache(1)
def _outputs(folder: str, *facts: int) -> dict[str, Record]:
    """Every output in dvc.lock by its path; ``folder`` and ``facts`` say which dvc.lock it is."""
    found: dict[str, Record] = {}
    stages = _read()
    for stage, content in stages.items():
        outs = content.get("outs") if isinstance(content, dict) else None
        for out in outs if isinstance(outs, list) else ():
            if not isinstance(out, dict) or out.get("hash") != "md5":  # one of DVC 2 counts line ends otherwise
                continue
            md5, path = out.get("md5"), out.get("path")
            if isinstance(path, str) and isinstance(md5, str) and _MD5.fullmatch(md5):
                # A stage that has been renamed stays in dvc.lock under its old name, too, with what it made then.
                before = found.get(posixpath.normpath(path))
                known = before.md5 if before else frozenset()
                found[posixpath.normpath(path)] = Record(str(stage), known | {md5})
    return found


def _read() -> dict[str, Any]:
    error: Exception = ValueError("it holds no stages")
    for _ in range(_TRIES):
        try:
            content = yaml.load(Path(LOCK).read_text(encoding="utf-8"), _LOADER)
            stages = content.get("stages", {}) if isinstance(content, dict) else None
            if isinstance(stages, dict):
                return stages
        except (OSError, yaml.YAMLError, ValueError) as found:
            error = found
        time.sleep(_PAUSE_S)
    said = " ".join(str(error).split())
    raise UserError(
        f"{LOCK}: expected what DVC wrote: YAML with the stages and their outputs. Got: {said}. Get it back by "
        f"`git checkout {LOCK}`, or delete it and run `dvc repro`."
    )

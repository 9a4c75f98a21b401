"""meta.json of a cache folder, with the digests of all its files and of itself: a flipped bit is never used unseen.

DVC does not see it, since it knows a file by its size, time and inode. Each digest is compared once in a process, when
the file is first opened: 0.9 s for 1 GiB in one thread (two CPU cores), and the bytes are then in the page cache.
"""

import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posterity import files, reading, recorded
from posterity.errors import UserError

META = "meta.json"
_SHA256 = re.compile("[0-9a-f]{64}")


def write_meta(folder: Path, content: Mapping[str, Any], sha256: Mapping[str, str]) -> None:
    """Write meta.json: ``content``, ``sha256`` (name of every other file to its hex digest), and ``digest``.

    ``digest`` is the sha256 of the rest, as ``json.dumps(rest, sort_keys=True)`` writes it.
    """
    rest = files.rounded({**content, "sha256": dict(sha256)})
    files.write_json(folder / META, rest | {"digest": _digest(rest)})


def read_meta(folder: Path, stage: str) -> dict[str, Any]:
    """Read what `write_meta` wrote, and compare its digest.

    Raises
    ------
    UserError
        If it is missing, damaged or of a version without digests; the message names the ``stage`` to run again.
    """
    path = folder / META
    content = reading.read_json(path, stage)
    if not isinstance(content, dict):
        raise reading.damaged(path, "a JSON object", reading.shown(content), stage)
    if "digest" not in content:
        raise UserError(
            f"{path}: expected the digests of the files beside it, as this version of posterity writes them. Got none. "
            f"Run `dvc repro {stage}`."
        )
    expected = content.pop("digest")
    if (got := _digest(content)) != expected:
        raise reading.damaged(path, f"content with the digest {reading.shown(expected)}", got, stage)
    sums = content.get("sha256")
    if not isinstance(sums, dict) or not all(isinstance(one, str) and _SHA256.fullmatch(one) for one in sums.values()):
        raise reading.damaged(path, "a sha256 for every file", reading.shown(sums), stage)
    return content


def number(content: Mapping[str, Any], key: str, path: Path, stage: str, least: int = 0) -> int:
    """The whole number ``key`` of a meta.json; a `UserError` if it is none or below ``least``."""
    value = content.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise reading.damaged(path, f"a whole number of at least {least} for {key!r}", reading.shown(value), stage)
    return value


def sha256_of(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check(path: str | os.PathLike[str], stream: io.BufferedReader, expected: str, stage: str) -> None:
    """Compare the sha256 of an open file, which is read to its end, with the one of meta.json.

    Raises
    ------
    UserError
        If it is another one.
    """
    got = hashlib.file_digest(stream, "sha256").hexdigest()
    if got != expected:
        raise UserError(
            f"{os.fspath(path)}: expected the bytes that stage {stage} made (sha256 {expected} in {META} beside it). "
            f"Got others (sha256 {got}). {recorded.fix(path, stage)}"
        )


def _digest(rest: Any) -> str:
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()

"""What is known of image files without decoding them. Files that have not changed since the last run are not read."""

import functools
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from posterity.cache import run_notes
from posterity.pixels import decode
from posterity.pixels.decode import ImageProblem
from posterity.pixels.opening import read_usual
from posterity.pixels.spec import Limits
from posterity.workers.threads import Mapper, chunks

FILES_PER_TASK = 32
# A file that was written within this time of being read may be written once more without its time changing: clocks of
# file systems are as coarse as 2 s (FAT). Git treats its index alike ("racy git").
COARSEST_CLOCK_NS = 2 * 10**9

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of an image file without decoding it: digest, size in bytes, size in pixels as displayed."""

    sha256: str
    bytes: int
    width: int
    height: int


def inspect(
    paths: Sequence[str], limits: Limits, mapper: Mapper, note: Path | None = None, *, show_progress: bool = False
) -> dict[str, ImageFacts | ImageProblem]:
    """Look at each file once: hash it and read its header.

    Parameters
    ----------
    paths : sequence of str
        Different paths.
    limits : Limits
        Files that are not within them are a problem.
    mapper : Mapper
        Where the work is done.
    note : Path, optional
        File with the facts of the last run, which is replaced. A file with the same path, size, time and inode as then
        is not read, unless other formats or another number of scans are allowed now. Problems are not kept: such files
        are few and are looked at again.
    show_progress : bool
        Draw a bar on stderr.

    Returns
    -------
    dict of str to ImageFacts or ImageProblem
        By path, in the order of ``paths``.
    """
    begin_ns = time.time_ns()
    known = _read(note, limits) if note else {}
    # Before the files are read: one that changes meanwhile has another stamp in the next run.
    stamps = {path: _stamp(path) for path in paths} if note else {}
    facts: dict[str, ImageFacts | ImageProblem | None] = dict.fromkeys(paths)
    for path in paths:
        stamp, found = known.get(path, (None, None))
        if found and stamp == stamps[path] and _fits(found, limits):
            facts[path] = found
    unknown = [path for path, found in facts.items() if found is None]
    look = functools.partial(_look, limits=limits)
    with tqdm(total=len(unknown), desc="checking", unit=" images", disable=not show_progress) as bar:
        for results in mapper(look, chunks(unknown, FILES_PER_TASK)):
            facts.update(results)
            bar.update(len(results))
    seen = {path: found for path, found in facts.items() if found is not None}
    if note and (unknown or len(known) != len(paths)):
        sound = ((path, stamps[path], found) for path, found in seen.items() if isinstance(found, ImageFacts))
        _write(note, limits, {path: (s, f) for path, s, f in sound if s and s[1] < begin_ns - COARSEST_CLOCK_NS})
    return seen


def _look(paths: Sequence[str], limits: Limits) -> list[tuple[str, ImageFacts | ImageProblem]]:
    return [(path, _facts(path, limits)) for path in paths]


def _facts(path: str, limits: Limits) -> ImageFacts | ImageProblem:
    try:
        # Nearly every file is read once, for its header and its digest.
        content = read_usual(path)
        width, height = decode.read_header(path if content is None else content, limits)
        digest = decode.digest(path) if content is None else (hashlib.sha256(content).hexdigest(), len(content))
        return ImageFacts(*digest, width, height)
    except ImageProblem as problem:
        return ImageProblem(problem.kind, str(problem))  # a fresh one: the raised one keeps its stack alive
    except OSError as error:
        return ImageProblem("unreadable_image", f"cannot be read: {error.strerror}")


def _stamp(path: str) -> Stamp | None:
    """Size, time and inode, by which DVC, too, knows a file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - half the time of Path.stat, for each of a million files
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _fits(facts: ImageFacts, limits: Limits) -> bool:
    width, height = facts.width, facts.height
    return width * height <= limits.max_pixels and max(width, height) <= limits.max_side


def _read(note: Path, limits: Limits) -> dict[str, tuple[Stamp, ImageFacts]]:
    try:
        content = run_notes.read(note, __file__)
    except run_notes.UnusableError:
        return {}
    if content["limits"] != _not_in_facts(limits):
        return {}
    return {path: (tuple(stamp), ImageFacts(*facts)) for path, stamp, facts in content["files"]}


def _write(note: Path, limits: Limits, known: dict[str, tuple[Stamp, ImageFacts]]) -> None:
    rows = [(path, stamp, astuple(facts)) for path, (stamp, facts) in known.items()]
    run_notes.write(note, __file__, {"limits": _not_in_facts(limits), "files": rows})


def _not_in_facts(limits: Limits) -> list[Any]:
    """The limits that a file was within, but of which its facts do not tell whether it still is."""
    return [sorted(limits.formats), limits.max_scans]

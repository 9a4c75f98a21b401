"""The images of the last build of the tensor cache, so that the next one decodes only the files that are new.

DVC deletes the outputs of a stage before it runs it, so they are kept in a folder of their own, as hard links to the
shards: no bytes are stored twice, and the folder may be deleted at any time.
"""

import filecmp
import os
import shutil
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from posterity import files
from posterity.cache import run_notes
from posterity.cache.npy_rows import NpyRows
from posterity.cache.tensors import UInt8Array, shard_name
from posterity.pixels.decode import ImageSpec
from posterity.workers.threads import chunks

FOLDER = "tensors"
NOTE = "note.json"


class EarlierBuild:
    """Images of an earlier build by the sha256 of their files.

    Parameters
    ----------
    folder : Path, optional
        As `keep` left it; None = there is none.
    spec : ImageSpec
        A build with another one is not used, nor is one of other code or libraries, nor is a shard that has another
        size, time or inode than when it was kept.

    Attributes
    ----------
    reason : str
        Why it holds nothing, or "".
    """

    def __init__(self, folder: Path | None, spec: ImageSpec) -> None:
        self.reason = ""
        self._rows: dict[str, tuple[Path, int]] = {}
        self._shards: dict[tuple[str, ...], Path] = {}
        if folder is None:
            return
        try:
            note = run_notes.read(folder / FOLDER / NOTE, __file__)
        except run_notes.UnusableError as error:
            self.reason = str(error)
            return
        if note["image"] != asdict(spec):
            self.reason = "what is kept was made with other parameters of section image"
            return
        for name, facts, digests in note["shards"]:
            path = folder / FOLDER / name
            if _facts(path) == facts:
                self._shards[tuple(digests)] = path
                self._rows |= {digest: (path, row) for row, digest in enumerate(digests)}
        if not self._rows:
            self.reason = f"the files in {folder / FOLDER} have changed since they were kept"

    @property
    def digests(self) -> Collection[str]:
        """The sha256 of every file whose image it has."""
        return self._rows.keys()

    def copy(self, digests: Mapping[int, str], out: UInt8Array) -> None:
        """Copy images to ``out``, uint8 (any, height, width, 3); ``digests`` has the known sha256 by row of ``out``."""
        by_shard: dict[Path, list[tuple[int, int]]] = defaultdict(list)
        for place, digest in digests.items():
            path, row = self._rows[digest]
            by_shard[path].append((row, place))
        for path, pairs in by_shard.items():
            rows, places = np.array(pairs).T
            NpyRows(path, out.shape[1:]).read_to(rows, out, places)

    def link_shard(self, digests: Sequence[str], target: Path) -> bool:
        """Make ``target`` a link to the shard with exactly these images in this order, if there is one.

        Inode and time stay the same, by which DVC knows the file and does not hash it again.
        """
        source = self._shards.get(tuple(digests))
        return source is not None and _link(source, target)


def keep(folder: Path, tensors: Path, spec: ImageSpec, digests: Sequence[str], rows_per_shard: int) -> str:
    """Keep a tensor cache for an `EarlierBuild`, in the place of what was kept before.

    Parameters
    ----------
    folder : Path
        Where to keep it.
    tensors : Path
        The cache.
    spec : ImageSpec
        How its images were made.
    digests : sequence of str
        sha256 of the file of every row of the cache, in order.
    rows_per_shard : int
        Shard length of the cache.

    Returns
    -------
    str
        Why nothing is kept, or "". This is no error: the cache is complete.
    """
    try:
        with files.replacing(folder / FOLDER) as temporary:
            temporary.mkdir()
            shards = []
            for number, rows in enumerate(chunks(digests, rows_per_shard)):
                name = shard_name(number)
                os.link(tensors / name, temporary / name)
                shards.append((name, _facts(temporary / name), rows))
            run_notes.write(temporary / NOTE, __file__, {"image": asdict(spec), "shards": shards})
    except OSError as error:
        # What was kept before is of no use from now on, and its disk space is the user's.
        shutil.rmtree(folder / FOLDER, ignore_errors=True)
        return f"{folder} cannot hold hard links to the files of {tensors}: {error.strerror}"
    return ""


def share(folder: Path, tensors: Path) -> None:
    """Let ``folder`` share the disk space of ``tensors`` again where DVC has put its own equal copy there.

    `keep` links the shards that the stage wrote. When DVC then moves them to its cache, it swaps those whose bytes it
    has already for links to its own (all of them on file systems with reflinks): the kept ones would be a second copy,
    and unknown to DVC's database. Only files without another link are looked at, and only equal ones are swapped.
    """
    try:
        note = run_notes.read(folder / FOLDER / NOTE, __file__)
    except run_notes.UnusableError:
        return
    shared = []
    for name, facts, digests in note["shards"]:
        kept, other = folder / FOLDER / name, tensors / name
        if _facts(kept) == facts and kept.stat().st_nlink == 1 and other.is_file() and not other.is_symlink():
            temporary = kept.with_suffix(".new")
            temporary.unlink(missing_ok=True)
            if filecmp.cmp(kept, other, shallow=False) and _link(other, temporary):
                temporary.replace(kept)
                facts = _facts(kept)
        shared.append([name, facts, digests])
    if shared != note["shards"]:
        run_notes.write(folder / FOLDER / NOTE, __file__, note | {"shards": shared})


def _facts(path: Path) -> list[int]:
    """Size, time and inode, by which DVC, too, knows a file; empty if there is none."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        return False
    return True

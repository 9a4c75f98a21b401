"""The images of the last build of the tensor cache, so that the next one decodes only the files that are new.

DVC deletes the outputs of a stage before it runs it, so they are kept in a folder of their own, which may be deleted
at any time::

    posterity-reuse.txt          says what this folder is; without it, a folder is never written to
    files.json                   what stage validate knows of the image files
    tensors/images-00000.npy     hard links to the shards of the last build
    tensors/note.json            how they were made, and the sha256 of each shard

DVC takes an output with a second hard link for one that it has to replace, and copies it back from its cache (unless
``cache.type`` says hardlink). So stage preprocess leaves the note only, by `keep`, and the stages that run next link
the shards, by `hold`.

A hard link and its file are one: an edit of the one in place changes the other. So the sha256 of a shard is checked
before any of its images is used.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from posterity import files
from posterity.cache import reuse_folder, run_notes
from posterity.cache.npy_rows import NpyRows
from posterity.cache.reuse_folder import FOLDER, HOLDS, NOTE
from posterity.cache.tensors import TensorCache, UInt8Array, shard_name
from posterity.errors import RefusedError, UserError
from posterity.pixels.colours import Remark
from posterity.pixels.spec import ImageSpec
from posterity.workers.threads import chunks, ordered_map


class EarlierBuild:
    """Images of an earlier build by the sha256 of their files.

    Parameters
    ----------
    folder : Path, optional
        As `keep` left it; None = there is none.
    spec : ImageSpec
        A build with another one is not used, nor is one of other code or libraries, nor is a shard whose bytes are not
        those that were kept.

    Attributes
    ----------
    remarks : dict of str to tuple of Remark
        What was odd about images when they were decoded, by the sha256 of their files.
    reason : str
        Why it holds nothing, or which shards cannot be used, or "".
    """

    def __init__(self, folder: Path | None, spec: ImageSpec) -> None:
        self.reason = ""
        self.remarks: dict[str, tuple[Remark, ...]] = {}
        self._rows: dict[str, tuple[Path, int]] = {}
        self._shards: dict[tuple[str, ...], tuple[Path, str]] = {}
        if folder is None:
            return
        try:
            note = run_notes.read(folder / FOLDER / NOTE, __file__)
        except run_notes.UnusableError as error:
            self.reason = str(error)
            return
        if note["image"] != spec.to_content():
            self.reason = "what is kept was made with other parameters of section image"
            return
        self.remarks = {digest: tuple(Remark(*one) for one in some) for digest, some in note["remarks"].items()}
        changed = []
        paths = [folder / FOLDER / name for name, *_ in note["shards"]]
        found = ordered_map(_sha256, paths)
        for path, actual, (_, kept, digests) in zip(paths, found, note["shards"], strict=True):
            if kept and actual == kept:
                self._shards[tuple(digests)] = path, kept
                self._rows |= {digest: (path, row) for row, digest in enumerate(digests)}
            else:
                changed.append(path.name)
        if changed:
            self.reason = (
                f"these files of {folder / FOLDER} are missing or have changed since they were kept, and are not used: "
                f"{files.named(iter(changed))}"
            )

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
            NpyRows(path, out.shape[1:], np.uint8).read_to(rows, out, places)

    def link_shard(self, digests: Sequence[str], target: Path) -> str | None:
        """Make ``target`` a link to the shard with exactly these images in this order, if there is one.

        Inode and time stay the same, by which DVC knows the file, and neither hashes nor copies it again. Returns the
        sha256 of the shard, or None if there is none.
        """
        source, sha256 = self._shards.get(tuple(digests), (None, None))
        return sha256 if source is not None and _link(source, target) else None


def keep(
    folder: Path,
    tensors: Path,
    spec: ImageSpec,
    digests: Sequence[str],
    rows_per_shard: int,
    remarks: Mapping[str, Sequence[Remark]] = MappingProxyType({}),
) -> str:
    """Note what a tensor cache holds, in the place of what was kept before; `hold` then keeps it for `EarlierBuild`.

    If every shard is one of the build before, DVC may find that nothing has changed, and run no other stage. Then the
    shards are linked at once.

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
    remarks : mapping of str to sequence of Remark
        What is odd about images, by the sha256 of their files.

    Returns
    -------
    str
        Why nothing is kept, or "". This is no error: the cache is complete.
    """
    sums = TensorCache(tensors).sha256  # of the bytes as they were written, whatever has happened to the files since
    parts = list(chunks(digests, rows_per_shard))
    names = [shard_name(number) for number in range(len(parts))]
    is_old = all((tensors / name).stat().st_nlink > 1 for name in names)
    try:
        reuse_folder.mark(folder)
        with files.replacing_folder(folder / FOLDER, HOLDS) as temporary:
            temporary.mkdir()
            for name in names if is_old else ():
                os.link(tensors / name, temporary / name)
            shards = [(name, sums[name], part) for name, part in zip(names, parts, strict=True)]
            odd = {digest: remarks[digest] for digest in digests if digest in remarks}
            content = {"image": spec.to_content(), "shards": shards, "remarks": odd}
            run_notes.write(temporary / NOTE, __file__, content)
    except (OSError, RefusedError) as error:
        return _give_up(folder, tensors, error)
    return ""


def hold(folder: Path, tensors: Path) -> str:
    """Link the shards that the note of `keep` names, so that they outlive the tensors, which DVC deletes.

    Only shards that are those of the note by the sha256 in their meta.json: the tensors may be of another version that
    DVC has checked out. A link to another file than theirs is replaced, so that nothing is stored twice.

    Parameters
    ----------
    folder : Path
        Where they are kept.
    tensors : Path
        The tensor cache, after DVC has stored it; it may be missing.

    Returns
    -------
    str
        Why nothing is kept, or "". This is no error.
    """
    try:
        note = run_notes.read(folder / FOLDER / NOTE, __file__)
        sums = TensorCache(tensors).sha256
    except (run_notes.UnusableError, UserError):  # the next build says why; tensors that are damaged, who reads them
        return ""
    try:
        for name, sha256, _ in note["shards"]:
            kept, shard = folder / FOLDER / name, Path(os.path.realpath(tensors / name))
            if sums.get(name) == sha256 and shard.is_file() and not (kept.is_file() and kept.samefile(shard)):
                temporary = kept.with_suffix(".new")
                temporary.unlink(missing_ok=True)
                os.link(shard, temporary)
                temporary.replace(kept)
    except OSError as error:
        return _give_up(folder, tensors, error)
    return ""


def _give_up(folder: Path, tensors: Path, error: OSError | RefusedError) -> str:
    """Remove what was kept before: it is of no use from now on, and its disk space is the user's."""
    reuse_folder.remove(folder / FOLDER)
    return f"{folder} cannot hold hard links to the files of {tensors}: {error.strerror}"


def _sha256(path: Path) -> str:
    """The sha256 of a file, "" if it cannot be read; 0.9 s for 1 GiB in one thread, 0.6 s in two (two CPU cores)."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        return False
    return True

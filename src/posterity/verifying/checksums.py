"""Sums that files of posterity hold: of the caches, of the reuse folder, and of the images in the manifest."""

import hashlib
import json
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

from posterity import files
from posterity.cache import run_notes
from posterity.cache.features import FEATURES
from posterity.cache.reuse_folder import FEATURES_FOLDER, FILES_NOTE, FOLDER, NOTE
from posterity.errors import UserError
from posterity.verifying.finding import Finding
from posterity.verifying.hashing import Readings, mismatch

META = "meta.json"
SUMS, DIGEST = "sha256", "digest"


class ChecksumsCheck:
    """Checks the folders that have sums of their own.

    Parameters
    ----------
    folders : dict of str to str
        Folders with a meta.json, and the stage that makes each. One that does not exist is passed over: that is said
        where the outs are checked.
    reuse_folder : Path or None
        The folder of what is kept for the next run, if there is one.
    readings : Readings
        Gets the files to read; call its `read_all` before `findings`.
    manifest : str
        Table with path and sha256 of every image. It is passed over, too, if it does not exist.
    """

    def __init__(
        self, folders: dict[str, str], reuse_folder: Path | None, readings: Readings, manifest: str = ""
    ) -> None:
        self._readings = readings
        self._manifest = manifest
        self._images: list[tuple[Path, str, str]] = []
        self._found: list[Finding] = []
        self._expected: list[tuple[Path, str, str]] = []  # file, sha256, fix
        for folder, stage in folders.items():
            if Path(folder, META).is_file():
                self._meta(Path(folder), f"rm -rf {folder} && dvc checkout {folder}, or dvc repro {stage}")
        if reuse_folder is not None and reuse_folder.is_dir():
            self._notes(reuse_folder, f"rm -rf {reuse_folder} (nothing else needs it)")
        if manifest and Path(manifest).is_file():
            self._images = _images(manifest)
        for path, expected, _ in self._expected + self._images:
            readings.want(path, SUMS, expected)

    def findings(self, bad: Collection[str] = ()) -> list[Finding]:
        """One finding for every meta.json and note, and for every file that has a sum there.

        ``bad`` holds the outs that are not what was recorded: a manifest among them says nothing of the images.
        """
        found = list(self._found)
        is_known = self._manifest not in bad
        if not is_known:
            found.append(Finding("the images", "unchecked", f"{self._manifest}, which has their sums, is not right"))
        for path, expected, fix in self._expected + (self._images if is_known else []):
            if not path.exists():
                found.append(Finding(path.as_posix(), "missing", "its sum is recorded beside it", fix))
            elif problem := mismatch(self._readings[path], {SUMS: expected}):
                found.append(Finding(path.as_posix(), "damaged", problem, fix))
            else:
                found.append(Finding(path.as_posix(), "right", f"{SUMS} {expected}"))
        return found

    def _meta(self, folder: Path, fix: str) -> None:
        path = folder / META
        try:
            meta: Any = json.loads(path.read_text(encoding="utf-8"))
            sums = meta.get(SUMS)
            named = [(folder / str(name), str(digest), fix) for name, digest in (sums or {}).items()]
        except (OSError, ValueError, AttributeError) as error:
            self._found.append(Finding(path.as_posix(), "damaged", f"cannot be read: {error}", fix))
            return
        if sums is None or DIGEST not in meta:
            self._found.append(Finding(path.as_posix(), "unchecked", "no checksum recorded: made by an older version"))
            return
        actual = meta_digest(meta)
        if meta[DIGEST] != actual:
            detail = f"expected {SUMS} {meta[DIGEST]} of its content, got {actual}"
            self._found.append(Finding(path.as_posix(), "damaged", detail, fix))
            return
        self._found.append(Finding(path.as_posix(), "right", f"{SUMS} of its content {actual}"))
        self._expected += named

    def _notes(self, folder: Path, fix: str) -> None:
        note, features_note = folder / FOLDER / NOTE, folder / FEATURES_FOLDER / NOTE
        for path in (folder / FILES_NOTE, note, features_note):
            if path.is_file():
                is_right = run_notes.is_note(path)
                detail = "" if is_right else "its content has not the sum in its first line"
                self._found.append(Finding(path.as_posix(), "right" if is_right else "damaged", detail, fix))
        if run_notes.is_note(note):
            # Its sum is right, so it has the form that `posterity.cache.reuse` gave it; so has the other one.
            shards = [(note.parent / name, sha256, fix) for name, sha256, _ in _content(note)["shards"]]
            if any(path.is_file() for path, *_ in shards):  # otherwise no stage has linked them yet
                self._expected += shards
        if run_notes.is_note(features_note):
            self._expected.append((features_note.parent / FEATURES, _content(features_note)["sha256"], fix))


def _content(note: Path) -> Any:
    return json.loads(note.read_bytes().partition(b"\n")[2])["content"]


def _images(manifest: str) -> list[tuple[Path, str, str]]:
    try:
        table = files.read_csv(manifest)
        pairs = dict(zip(table["path"], table["sha256"], strict=True))
    except (UserError, ValueError, KeyError):  # damaged: that is said where the outs are checked
        return []
    found = []
    for path, digest in pairs.items():
        name = shlex.quote(path)
        # DVC and `validate` know a file by size and time: without a new time neither would look at it.
        fix = f"bring {name} back from where it came, or touch {name} && dvc repro if it is meant"
        found.append((Path(path), digest, fix))
    return found


def meta_digest(meta: dict[str, Any]) -> str:
    """sha256 of all that a meta.json holds beside this very digest.

    Examples
    --------
    >>> meta_digest({"digest": "any", "num_rows": 3}) == hashlib.sha256(b'{"num_rows": 3}').hexdigest()
    True
    """
    rest = {name: value for name, value in meta.items() if name != DIGEST}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()

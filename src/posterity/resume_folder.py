"""Where interrupted work is kept, so that the same work goes on from there and other work does not.

The folder may be deleted at any time. What it holds is outside of the outputs of DVC, which deletes those before it
runs a stage::

    KEY/...     the state of one piece of work; KEY is the start of a digest of all that its result depends on
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from posterity import files
from posterity.errors import UserError

LIBRARIES = ("keras", "numpy", "onnxruntime", "tensorflow")
# Two pieces of work that are tried in turn both go on where they were. More would only fill the disk.
MOST_KEPT = 2
IN_USE = "in_use"
SRC = Path(__file__).resolve().parents[1]


def work_key(recipe: str, inputs: Iterable[Path]) -> str:
    """Digest of all that the result of some work depends on: hex sha256.

    It covers ``recipe``, the content of the files ``inputs``, every line of the pipeline's code, and the versions of
    the libraries and of Python.

    Raises
    ------
    OSError
        If one of ``inputs`` cannot be read.
    """
    digest = hashlib.sha256()
    versions = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    for part in (recipe, platform.python_version(), platform.machine(), *versions):
        digest.update(hashlib.sha256(part.encode()).digest())
    for path in (*inputs, *sorted(SRC.rglob("*.py"))):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def open_folder(parent: Path, key: str) -> Path | None:
    """Make the folder for the work with this ``key``, or find it; those of the oldest other work are deleted.

    It belongs to this process until that ends.

    Returns
    -------
    Path or None
        None if another process is doing the same work: its folder cannot serve both.

    Raises
    ------
    UserError
        If ``parent`` holds anything but such folders.
    """
    folder = parent / key[:16]
    files.check_replaceable(parent, [f"{'?' * 16}/*", f"{'?' * 16}/.*{files.PRIVATE}/*"])
    folder.mkdir(parents=True, exist_ok=True)
    if not _claim(folder):
        print("Another process is doing the same work: this one begins at the start, and keeps nothing on the way.")
        return None
    others = [path for path in parent.iterdir() if path.is_dir() and path != folder]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[MOST_KEPT - 1 :]:
        if _claim(path):
            shutil.rmtree(path, ignore_errors=True)
    return folder


def _claim(folder: Path) -> bool:
    """Lock ``folder`` for the rest of this process, by a file in it; False if another process has done so."""
    descriptor = os.open(folder / IN_USE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True


@contextlib.contextmanager
def exclusive(folder: Path, command: str) -> Iterator[None]:
    """Make ``folder``, and hold it for this process as long as the block runs.

    Raises
    ------
    UserError
        If another process holds it; ``command`` is its name there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"Another `{command}` runs in this folder. Wait until it has finished.") from None
        yield


def remove(folder: Path) -> None:
    """Delete the folder of some work that is done, and its parent if it is empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    for parent in (folder.parent, folder.parent.parent):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()

"""Where interrupted work is kept, so that the same work goes on from there and other work does not.

The folder may be deleted at any time. What it holds is outside of the outputs of DVC, which deletes those before it
runs a stage::

    KEY/...     the state of one piece of work; KEY is the start of a digest of all that its result depends on
"""

import hashlib
import importlib.metadata
import platform
import shutil
from collections.abc import Iterable
from pathlib import Path

from posterity import files

LIBRARIES = ("keras", "numpy", "onnxruntime", "tensorflow")
# Two pieces of work that are tried in turn both go on where they were. More would only fill the disk.
MOST_KEPT = 2
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


def open_folder(parent: Path, key: str) -> Path:
    """The folder for the work with this ``key``, which may not exist yet; those of the oldest other work are deleted.

    Raises
    ------
    UserError
        If ``parent`` holds anything but such folders.
    """
    folder = parent / key[:16]
    if not parent.is_dir():
        return folder
    files.check_replaceable(parent, [f"{'?' * 16}/*", f"{'?' * 16}/.*{files.PRIVATE}/*"])
    others = [path for path in parent.iterdir() if path.is_dir() and path != folder]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[MOST_KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
    return folder


def remove(folder: Path) -> None:
    """Delete the folder of some work that is done, and its parent if it is empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    for parent in (folder.parent, folder.parent.parent):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()

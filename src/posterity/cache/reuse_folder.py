"""The folder of `reuse` and `feature_reuse`: what it may hold, and how nothing of the user's is touched there."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from posterity import files
from posterity.cache import run_notes
from posterity.errors import UserError

MARKER = "posterity-reuse.txt"
MARKER_TEXT = """This folder was made by posterity; machine.reuse_folder in params.yaml names it.
It keeps what is known of the images for the next run, so that only new ones are decoded and seen by backbones.
Nothing in it is needed for anything else: you may delete it at any time.
"""
FILES_NOTE = "files.json"
FOLDER = "tensors"
NOTE = "note.json"
# What the folder FOLDER may hold; the last two are what a killed run leaves behind.
HOLDS = ("images-*.npy", NOTE, "images-*.new", f".{NOTE}.*/*")
FEATURES_FOLDER = "features"
FEATURES_HOLD = ("features.npy", NOTE, f".{NOTE}.*/*")
GRAPHS_FOLDER = "graphs"
GRAPHS_HOLD = ("*.graph", ".*.graph.*/*")
KEPT = {FOLDER: HOLDS, FEATURES_FOLDER: FEATURES_HOLD, GRAPHS_FOLDER: GRAPHS_HOLD}
# Folders of the project in which others look for what belongs there.
OF_PROJECT = ("src", "models", "metrics", "report", ".git", ".dvc")


def check_folder(folder: Path, others: Mapping[str, Path]) -> None:
    """Make sure that ``folder`` may be used to keep things for the next run; delete what killed runs left in it.

    Nothing is written.

    Parameters
    ----------
    folder : Path
        Missing, empty, or a folder that `keep` made, also one of before there was a marker file.
    others : mapping of str to Path
        Inputs and outputs by the name of their parameter or option. The folder must not be, hold or lie inside any of
        them, nor any of `OF_PROJECT`. Neither may it be or hold the current folder; inside that it may lie.

    Raises
    ------
    UserError
        If it may not be used.
    """
    if str(folder).startswith("~"):
        raise UserError(
            f"machine.reuse_folder must be the path of a folder, in which ~ is no one's home. Got {folder}. Write it "
            "out in params.yaml."
        )
    here = Path.cwd().resolve()
    place = Path(os.path.realpath(folder))  # Path.resolve raises for links that lead in a circle
    project = [("a folder of the project", Path(name)) for name in OF_PROJECT]
    for name, path in [("the current folder", here), *others.items(), *project]:
        other = Path(os.path.realpath(path))
        if _holds(place, other):
            relation = "is" if _holds(other, place) else "holds"
        elif _holds(other, place) and not _holds(other, here):
            relation = "lies inside"
        else:
            continue
        shown = "the current folder" if other == here else f"{path} ({name})"
        raise UserError(
            f"machine.reuse_folder must be a folder of its own, because what is in it may be replaced. Got {folder}, "
            f"which {relation} {shown}. Nothing was changed. Set it to another folder in params.yaml, such as "
            "data/.reuse, or to null."
        )
    if folder.exists() and not folder.is_dir():
        raise UserError(
            f"machine.reuse_folder must be a folder. Got {folder}, which is a file. Set it to another path in "
            "params.yaml, such as data/.reuse, or to null."
        )
    for place in (folder, *(folder / name for name in KEPT)):
        files.sweep(place)
    if foreign := _foreign(folder):
        raise UserError(
            f"machine.reuse_folder must be a folder that does not exist yet, is empty, or was made by an earlier run. "
            f"Got {folder}, which holds {foreign}. Nothing was changed. Set it to another folder in params.yaml, such "
            "as data/.reuse, or move what is yours out of this one."
        )


def _foreign(folder: Path) -> str:
    """Names of a few things in ``folder`` that `keep` would have to delete or that show that it is not our folder."""
    if not folder.is_dir():
        return ""
    if is_marked(folder):  # what else is there is not touched
        if wrong := [name for name in KEPT if (folder / name).exists() and not (folder / name).is_dir()]:
            return f"{wrong[0]}, which is no folder"
        return files.named(
            f"{name}/{entry}" for name, holds in KEPT.items() for entry in files.foreign_entries(folder / name, holds)
        )
    holds = [FILES_NOTE] if run_notes.is_note(folder / FILES_NOTE) else []
    if run_notes.is_note(folder / FOLDER / NOTE):  # as versions without a marker left it
        holds += [f"{FOLDER}/{name}" for name in HOLDS]
    return files.named(files.foreign_entries(folder, holds))


def is_marked(folder: Path) -> bool:
    try:
        return (folder / MARKER).read_text(encoding="utf-8", errors="replace").startswith(MARKER_TEXT.split("\n")[0])
    except OSError:
        return False


def _holds(outer: Path, inner: Path) -> bool:
    """Whether ``inner`` is ``outer`` or lies inside it; both are resolved. Case counts as it does on their disk."""
    way = (inner, *inner.parents)
    return outer in way or (outer.exists() and any(path.exists() and path.samefile(outer) for path in way))


def mark(folder: Path) -> None:
    """Put the marker file into ``folder`` unless it is there; refuse a folder with things of somebody else."""
    if foreign := _foreign(folder):
        raise UserError(
            f"{folder} holds {foreign}, which posterity did not make. Nothing was changed there. Set "
            "machine.reuse_folder in params.yaml to another folder, such as data/.reuse, or to null."
        )
    if not is_marked(folder):
        with files.replacing(folder / MARKER) as temporary:
            temporary.write_text(MARKER_TEXT, encoding="utf-8", newline="\n")


def remove(kept: Path) -> None:
    """Delete one of the folders `KEPT` with what `keep` made in it, and nothing else."""
    if not is_marked(kept.parent):
        return
    for path in [path for pattern in KEPT[kept.name] for path in kept.glob(pattern)]:
        path.unlink()
    with contextlib.suppress(OSError):  # missing, or something else is there
        kept.rmdir()

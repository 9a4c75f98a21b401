"""Which run lies in this folder: at which commit, and whether it is that of params.yaml."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from posterity import git
from posterity.config import yaml12
from posterity.config.stage_arguments import PATHS
from posterity.errors import UserError
from posterity.text import printable
from posterity.verifying.lock_file import LockFile
from posterity.verifying.recorded import LOCK

MOST_NAMED = 3
WATCHED = (LOCK, "params.yaml", "metrics")
STAGES = ("validate", "preprocess", "split", "features", "train", "evaluate", "final_test")


def path(option: str) -> Path:
    """Where the stages keep a file by default: an option of `posterity.config.stage_arguments.PATHS`."""
    return Path(PATHS[option][0])


def description() -> list[str]:
    """Say in sentences which run the files of this folder are of."""
    commit = git.output("rev-parse", "--short", "HEAD")
    if commit is None:
        said = "The run in this folder, which is in no Git repository."
    elif changed := sorted(_changed()):
        said = f"The run in this folder. Changed since commit {commit.strip()}: {_listed(changed)}."
    else:
        said = f"The run in this folder, as committed in {commit.strip()}."
    return [said, *_other_params()]


def not_there(option: str, what: str, stage: str) -> str | None:
    """Say that a file is not there, what it holds, and how to get it; None if it is there."""
    place = path(option)
    return None if place.exists() else f"No {what} yet: {place} does not exist. `dvc repro {stage}` makes it."


def found_name(wanted: str, names: Sequence[str], *, what: str, source: str) -> str:
    """``wanted`` if it is one of ``names``; or the only name that differs from it in upper and lower case.

    Raises
    ------
    UserError
        If there is none, with those that are most like it.
    """
    if wanted in names:
        return wanted
    folded = [name for name in names if name.casefold() == wanted.casefold()]
    if len(folded) == 1:
        return folded[0]
    by_folded: dict[str, str] = {}
    for name in names:
        by_folded.setdefault(name.casefold(), name)
    near = [by_folded[found] for found in difflib.get_close_matches(wanted.casefold(), by_folded, n=5, cutoff=0.5)]
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"{source} lists all of them."
    raise UserError(f"{printable(wanted)!r}: expected {what} in {source}. Got none of that name. {printable(hint)}")


def _changed() -> set[str]:
    listed = git.output("status", "--porcelain", "-z", "--", *WATCHED) or ""
    return {entry[3:] for entry in listed.split("\0") if len(entry) > 3}


def _other_params() -> list[str]:
    """Say which values of params.yaml are not those that the stages ran with."""
    if not Path(LOCK).is_file():
        return [f"There is no {LOCK}: nothing has run here by `dvc repro`."]
    lock = LockFile(Path(LOCK).read_text(encoding="utf-8"), LOCK)
    now = yaml12.read(str(path("params")))
    differ: dict[str, tuple[Any, Any]] = {}
    for stage in STAGES:
        for key, ran_with in lock.params(stage).items():
            differ |= dict(_differences(key, ran_with, _value(now, key)))
    if not differ:
        return []
    named = [f"{key} (was {old!r}, is {new!r})" for key, (old, new) in sorted(differ.items())]
    return [f"params.yaml is of another run: {_listed(named)}. `dvc repro` makes that one."]


def _differences(key: str, old: Any, new: Any) -> Iterable[tuple[str, tuple[Any, Any]]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from _differences(f"{key}.{name}", old.get(name), new.get(name))
    elif old != new:
        yield key, (old, new)


def _value(content: Any, dotted: str) -> Any:
    for name in dotted.split("."):
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more

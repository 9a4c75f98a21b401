"""The trials of a search: what they gave, where that is kept, and the table of it."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity import files, recipes
from posterity.errors import UserError
from posterity.searching.space import Value
from posterity.verifying.lock_file import digest

FIGURES = ("bce", "skill", "map_macro")
TRAINED = "trained"
# How the files of a search begin, by which the next one knows that it may write over them.
TABLE_BEGINS, RECIPE_BEGINS = "trial,outcome,", "# The best of "
# What NumPy raises for a file that is missing or damaged, and Python for a content that is another one.
UNREADABLE = (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, TypeError)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of values that were tried.

    Attributes
    ----------
    figures : mapping of str to float
        `FIGURES` of the training rows, scored out of fold; empty if there is a problem.
    scores : ndarray of float32, shape (num_train_rows, num_labels)
        Those scores; without rows if there is a problem.
    problem : str
        Why there are no figures, or "".
    """

    figures: Mapping[str, float]
    scores: npt.NDArray[np.float32]
    problem: str = ""

    @property
    def loss(self) -> float | None:
        """What a search minimises; None if there is a problem."""
        return self.figures.get("bce")


def failed(problem: str) -> Outcome:
    """The outcome of values that cannot be tried, or whose training failed."""
    return Outcome({}, np.zeros((0, 0), np.float32), problem)


@dataclass(frozen=True)
class Trial:
    """Values that were tried, their number (0 = those of params.yaml) and what came of them."""

    number: int
    values: Mapping[str, Value]
    outcome: Outcome


class Kept:
    """Outcomes on disk, so that an interrupted search goes on where it was.

    Parameters
    ----------
    folder : Path
        For one state of data, split and code; another one needs another folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, recipe: Any) -> Outcome | None:
        """The outcome of a training by ``recipe``, any JSON; None if there is none, or if its file is damaged."""
        try:
            # NumPy leaves a damaged file open that it has opened itself.
            with self._path(recipe).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                content = json.loads(archive["outcome"].tobytes())
                return Outcome(content["figures"], archive["scores"], content["problem"])
        except UNREADABLE:
            return None

    def write(self, recipe: Any, outcome: Outcome, *, with_scores: bool) -> None:
        """Keep the outcome of a training by ``recipe``, in the place of an earlier one."""
        content = json.dumps({"figures": dict(outcome.figures), "problem": outcome.problem}).encode()
        scores = outcome.scores if with_scores else outcome.scores[:0]
        with files.replacing(self._path(recipe)) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, outcome=np.frombuffer(content, np.uint8), scores=scores)

    def _path(self, recipe: Any) -> Path:
        return self.folder / f"{digest(recipe)[:32]}.npz"


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the lowest loss, the earliest of equal ones; None if none has a loss.

    >>> lost, good = failed("diverged"), Outcome({"bce": 0.2}, np.zeros((0, 0), np.float32))
    >>> best_of([Trial(0, {}, lost), Trial(1, {}, good), Trial(2, {}, good)]).number, best_of([Trial(0, {}, lost)])
    (1, None)
    """
    with_loss = [trial for trial in trials if trial.outcome.loss is not None]
    return min(with_loss, key=lambda trial: (trial.outcome.figures["bce"], trial.number), default=None)


def table(trials: Sequence[Trial]) -> pd.DataFrame:
    """One row per trial: ``trial``, ``outcome`` (`TRAINED` or the problem), `FIGURES`, and the values by dotted key.

    The values are texts, as one would write them in params.yaml.

    >>> found = table([Trial(1, {"train.mixup": 0.25}, Outcome({"bce": 0.2}, np.zeros((0, 0), np.float32)))])
    >>> print(found.to_csv(index=False), end="")
    trial,outcome,bce,skill,map_macro,train.mixup
    1,trained,0.2,,,0.25
    """
    rows = [
        {"trial": trial.number, "outcome": trial.outcome.problem or TRAINED}
        | {name: trial.outcome.figures.get(name, np.nan) for name in FIGURES}
        | {key: recipes.shown(value) for key, value in trial.values.items()}
        for trial in sorted(trials, key=lambda trial: trial.number)
    ]
    return pd.DataFrame(rows)


def recipe_text(head: Sequence[str], content: Mapping[str, Any]) -> str:
    """A recipe for `posterity use`: ``head`` as lines of comment, and the sections below.

    >>> print(recipe_text(["Found by hand."], {"train": {"epochs": 3, "focal": {"alpha": None}}}), end="")
    # Found by hand.
    train:
      epochs: 3
      focal:
        alpha: null
    """
    return "".join(f"# {line}\n" for line in head) + _sections(content, "")


def check_own(path: Path, begins: str, option: str) -> None:
    """Raise a `UserError` if there is a file at ``path`` that does not begin as one of a search does.

    Parameters
    ----------
    path : Path
        Where a search is to write.
    begins : str
        `TABLE_BEGINS` or `RECIPE_BEGINS`.
    option : str
        The option that names the path, for the message.
    """
    try:
        with path.open("rb") as stream:
            found = stream.read(len(begins))
    except OSError:  # there is none, or `files.check_writable` says what is wrong
        return
    if found and found != begins.encode():
        raise UserError(
            f"{option}: expected a new file, or that of an earlier search. Got another file, {path}. Name another path."
        )


def _sections(content: Mapping[str, Any], indent: str) -> str:
    text = ""
    for key, value in content.items():
        if isinstance(value, Mapping):
            text += f"{indent}{key}:\n{_sections(value, indent + '  ')}"
        else:
            text += f"{indent}{key}: {recipes.shown(list(value) if isinstance(value, tuple) else value)}\n"
    return text

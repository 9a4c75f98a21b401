"""What a training tells an experiment tracker, and the interface that each tracker has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Status = Literal["finished", "failed", "stopped"]
FINAL = "final/"  # before the names of the figures of the kept weights, which belong to no epoch


@dataclass(frozen=True)
class Run:
    """A training, as it is named in a tracker.

    Attributes
    ----------
    name : str
        For people; it need not be unique.
    params : mapping
        Parameters by dotted keys: JSON content.
    tags : mapping of str to str
        What else identifies the run, such as the commit.
    """

    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]


class Tracker(Protocol):
    """One run in one tracker. Any exception means that the tracker has not got it; the same call may come again."""

    def begin(self, run: Run, earlier: str) -> str:
        """Begin a run, or go on with an earlier one.

        Parameters
        ----------
        run : Run
            The training.
        earlier : str
            What this returned when the same training began; "" = it begins now.

        Returns
        -------
        str
            What finds the run again.
        """
        ...

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Log figures of an epoch, counted from 1; those of the end, whose names begin with `FINAL`, at the last."""
        ...

    def end(self, status: Status) -> None:
        """Say how the run has ended; it may go on later."""
        ...


def one_line(error: BaseException) -> str:
    """The text of an error in a line, without the password of an address."""
    import re

    text = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"://[^/@\s]+@", "://", text)[:300]

"""One row of what `posterity verify` finds."""

from dataclasses import dataclass
from typing import Literal

State = Literal["right", "unchecked", "missing", "damaged", "extra", "unrecorded", "differs"]
# Neither of these is wrong: unchecked is what has nothing to be checked against.
HARMLESS = ("right", "unchecked")


@dataclass(frozen=True)
class Finding:
    """A file, a note or a figure, and what is the matter with it.

    Attributes
    ----------
    what : str
        Path, or path and key.
    state : State
        ``unrecorded`` is what should have a record and has none, ``differs`` what was computed again with another
        outcome.
    detail : str
        Expected and got, in words.
    fix : str
        The commands that mend it, in order.
    """

    what: str
    state: State
    detail: str = ""
    fix: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether somebody has to do something about it."""
        return self.state not in HARMLESS

"""The one exception for mistakes the user can fix, and how a script reports it."""

import io
import sys
from collections.abc import Callable

from posterity.text import printable_lines


class UserError(Exception):
    """Something outside the code is wrong: a parameter, a path, a cell of a table.

    It is shown without a traceback, so its text has to be enough: the place, what was expected there, what was
    found, and what to do. Anything else that is raised is a bug and keeps its traceback.

    Parameters
    ----------
    message : str
        Whole sentences, for instance
        ``"params.yaml: train.epochs must be an integer >= 1. Got '20'. Remove the quotes."``. What a terminal obeys
        is escaped, except line feeds. So the text of data that may hold one is quoted by ``!r`` or passes through
        `posterity.text.printable`.
    """

    def __init__(self, message: object) -> None:
        super().__init__(printable_lines(message))


def run(main: Callable[[], None]) -> None:
    """Call ``main`` as the body of a script: a `UserError` ends it with one message on stderr and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal's encoding lacks is escaped, not an error
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except UserError as error:
        sys.exit(_report(f"error: {error}", code=2))
    except KeyboardInterrupt:
        sys.exit(_report("interrupted", code=130))


def _report(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code

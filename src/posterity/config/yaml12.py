"""YAML 1.2, as DVC writes it; PyYAML reads ``1e-05`` as text and ``off`` as false."""

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from posterity.errors import UserError
from posterity.regular_file import open_regular
from posterity.text import printable


def read(file: str) -> Any:
    """Content of a file by YAML 1.2 rules.

    Raises
    ------
    UserError
        If the file cannot be read, is not YAML, or repeats a key.
    """
    try:
        with open_regular(file) as stream:
            return parse(stream.read().decode("utf-8-sig"))  # -sig: Notepad puts a byte-order mark first
    except OSError as error:
        fix = "Run from the repository's root, or correct the path."
        raise UserError(f"{file}: cannot be read: {error.strerror}. {fix}") from None
    except MarkedYAMLError as error:
        mark, start = error.problem_mark, error.context_mark
        since = f" (from line {start.line + 1})" if start and start.line < mark.line else ""
        says = f"{error.context}{since}, {error.problem}" if error.context else error.problem
        place = f"line {mark.line + 1}, column {mark.column + 1}"
        raise UserError(f"{file}: {place} cannot be read as YAML: {printable(says)}.") from None
    except (YAMLError, ValueError, LookupError) as error:  # not UTF-8; a date such as 2020-13-45; `!!bool maybe`
        raise UserError(f"{file}: cannot be read as YAML: {' '.join(str(error).split())}.") from None


def parse(text: str) -> Any:
    """Content of a YAML 1.2 text: ``1e-05`` is a number and ``off`` is text."""
    # pure: the C parser words its errors differently, and whether it is installed is not ours to know.
    return YAML(typ="safe", pure=True).load(text)

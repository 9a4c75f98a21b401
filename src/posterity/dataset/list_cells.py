"""Cells that list labels: lists of Python and JSON, tuples, sets, NumPy arrays, choices, delimited text."""

import ast
import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from posterity.dataset.csv_table import short

_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ITEM = re.compile(rf"\s*(?:[ubr]?({_QUOTED})|(-?\d+)(?![\w.]))", re.DOTALL)
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_WRAPPED = re.compile(r"(?:array|tensor|list|tuple|set|frozenset)\((.*?)(?:,\s*dtype=[^()]*)?\)", re.DOTALL)
# A vector of 0 and 1, with or without brackets, as text: at least two numbers.
_VECTOR = re.compile(
    r"(?:\w+\()?[\[({]?\s*(?:[01](?:\.0?)?|True|False)(?:[\s,;|]+(?:[01](?:\.0?)?|True|False))+[\s,]*[\])}]?\)?|[01]{3,}"
)


@dataclass(frozen=True)
class ListCell:
    """A cell that was read.

    Attributes
    ----------
    names : list of str
        The labels, each once, in the order of the cell.
    is_delimited : bool
        Whether the delimiter decided what a name is.
    """

    names: list[str]
    is_delimited: bool


def parse_list(cell: str, delimiter: str) -> list[str]:
    """Read a cell that lists labels: ``['Comedy', 'Drama']``, ``["Comedy", "Drama"]`` or ``Comedy|Drama``.

    An empty cell is an empty list; a label that is repeated counts once; neither spaces nor quotes around a label
    count, nor a delimiter without a label beside it.

    Raises
    ------
    ValueError
        If it opens a bracket and is no list, if it is a vector of 0 and 1 or an object, or if a list holds an empty
        name or something that is not text.

    Examples
    --------
    >>> parse_list("Drama|Comedy| Drama|", "|")
    ['Drama', 'Comedy']
    >>> parse_list("['Comedy', 'N/A']", "|")
    ['Comedy', 'N/A']
    >>> parse_list("['Comedy' 'Drama']", "|")  # how NumPy prints an array
    ['Comedy', 'Drama']
    >>> parse_list('{"choices": ["Comedy", "Drama"]}', "|")
    ['Comedy', 'Drama']
    >>> parse_list("", "|")
    []
    """
    return read_cell(cell, delimiter).names


def read_cell(cell: str, delimiter: str) -> ListCell:
    """Read a cell like `parse_list`, and tell whether the delimiter decided what a name is.

    Raises
    ------
    ValueError
        As `parse_list`.
    """
    text = cell.strip()
    if not text:
        return ListCell([], False)
    items = _listed(text)
    is_delimited = items is None
    if items is None:
        if text.startswith("[") or (text.startswith("{") and text.endswith("}")):
            raise ValueError(f"expected a list of labels like ['A', 'B'] or A{delimiter}B, got {short(cell)}")
        items = [name for name in split(text, delimiter) if name]
    names = list(dict.fromkeys(name.strip() for name in items))
    if "" in names:
        raise ValueError(f"expected a name for every label, got an empty one in {short(cell)}")
    if len(names) < len(items) and set(names) <= {"0", "1"}:
        raise ValueError(f"expected the names of labels, got a vector of 0 and 1: {short(cell)}")
    return ListCell(names, is_delimited)


def split(text: str, delimiter: str) -> list[str]:
    """Split delimited text; names may stand in quotes, and then contain the delimiter.

    Examples
    --------
    >>> split("'Crime, Drama', Action", ",")
    ['Crime, Drama', 'Action']
    """
    if '"' not in text and "'" not in text:
        return [name.strip() for name in text.split(delimiter)]
    item = _delimited(delimiter)
    names = []
    position = 0
    while position < len(text) and (match := item.match(text, position)):
        double, single, plain = match.groups()
        name = next(found for found in (double and double.replace('""', '"'), single, plain) if found is not None)
        names.append(name.strip())
        position = match.end()
    return names


@functools.cache
def _delimited(delimiter: str) -> re.Pattern[str]:
    """A name before a delimiter or the end. Quotes count only around a whole name: 'n Sync and '80s have none."""
    end = rf"\s*(?:{re.escape(delimiter)}|\Z)"
    return re.compile(rf"""\s*(?:"((?:[^"]|"")*)"{end}|'([^']*)'{end}|(.*?){end})""", re.DOTALL)


def is_vector(text: str) -> bool:
    """Whether a cell may be a multi-hot vector: at least two numbers, all of them 0 or 1.

    Examples
    --------
    >>> [text for text in ("[0, 1, 0]", "0 1 0", "[1. 0.]", "1", "0|16", "[]") if is_vector(text)]
    ['[0, 1, 0]', '0 1 0', '[1. 0.]']
    """
    return _VECTOR.fullmatch(text.strip()) is not None


def vector_length(texts: Sequence[str]) -> int:
    """Length of the multi-hot vectors in a column, or 0 if its distinct cells are not all vectors of one length."""
    filled = [text for text in texts if text.strip()]
    if not all(is_vector(text) for text in filled):
        return 0
    lengths = {
        len(text.strip()) if text.strip().isdecimal() else len(re.findall(r"[01](?:\.0?)?|True|False", text))
        for text in filled
    }
    return lengths.pop() if len(lengths) == 1 else 0


def _listed(text: str) -> list[str] | None:
    """The items of a list that is written as one, or None."""
    if wrapped := _WRAPPED.fullmatch(text):
        inner = wrapped[1].strip()
        return [] if not inner else _listed(inner) if inner[0] in _BRACKETS else None
    if text[0] not in _BRACKETS or not text.endswith(_BRACKETS[text[0]]):
        return None
    if text[0] != "(":
        try:
            return _from_json(json.loads(text))
        except (ValueError, RecursionError):
            pass
    return _bracketed(text)


def _from_json(parsed: object) -> list[str] | None:
    if isinstance(parsed, dict):  # Label Studio, where several are chosen
        parsed = parsed["choices"] if set(parsed) == {"choices"} else None
    if isinstance(parsed, list) and all(isinstance(item, str) or type(item) is int for item in parsed):
        return [str(item) for item in parsed]
    return None


def _bracketed(text: str) -> list[str] | None:
    """Items between brackets: quoted text or whole numbers, all separated by commas or all by white space.

    `ast.literal_eval` is not used for the whole: it joins adjacent strings, and NumPy prints no commas.
    """
    inner = text[1:-1]
    items: list[str] = []
    separators: set[str] = set()
    position = 0
    while match := _ITEM.match(inner, position):
        quoted, number = match.groups()
        items.append(number if quoted is None else _unquoted(quoted))
        separator = re.compile(r"\s*,\s*|\s+|$").match(inner, match.end())
        if separator is None:
            return None
        position = separator.end()
        if position < len(inner):
            separators.add("," if "," in separator[0] else " ")
        elif "," in separator[0]:  # one comma at the end is fine, as in ('a',)
            separators.add(",")
    if inner[position:].strip() or len(separators) > 1:
        return None
    if text[0] == "{" and not items:  # {} is an empty object of JSON
        return None
    return items


def _unquoted(quoted: str) -> str:
    try:
        return str(ast.literal_eval(quoted))
    except (ValueError, SyntaxError):  # an escape such as \x without digits
        return quoted[1:-1]

"""What the cells of a column look like: marks of a label, lists of names, or something else."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from posterity.choices import CellState
from posterity.dataset.cell_values import unique
from posterity.dataset.label_names import DELIMITERS
from posterity.dataset.list_cells import is_vector, read_cell, split

_PRESENT = {"1", "true", "yes", "y", "t", "x", "present", "positive", "pos", "on"}
_ABSENT = {"0", "false", "no", "n", "f", "absent", "negative", "neg", "off"}
_UNKNOWN = {"na", "n/a", "nan", "none", "null", "<na>", "?", "u", "unk", "unknown", "uncertain"}
_DEFAULT = {"0", "1", "true", "false"}
# Delimiters that stand in hardly any name: one of them in a cell is enough.
_PLAIN = ("|", ";", "\t")


@dataclass(frozen=True)
class Marks:
    """A column of marks for one label.

    Attributes
    ----------
    texts : dict of str to int
        The distinct texts, folded, and how often each occurs.
    """

    texts: dict[str, int]

    @property
    def has_both(self) -> bool:
        """Whether some cells say present and others absent."""
        return any(text in _PRESENT for text in self.texts) and any(text in _ABSENT for text in self.texts)


def as_marks(cells: Sequence[str]) -> Marks | None:
    """The marks of a column, or None if its cells are no marks.

    Examples
    --------
    >>> as_marks(["1.0", "", "-1.0"]).texts
    {'1': 1, '': 1, '-1': 1}
    >>> as_marks(["cat", "1"]) is None, as_marks(["", ""]) is None
    (True, True)
    """
    codes, texts = unique(cells)
    if len(texts) > 12:
        return None
    numbers = Counter(codes.tolist())
    folded: dict[str, int] = {}
    for code, text in enumerate(texts):
        key = re.sub(r"\.0+$", "", text.strip().casefold())
        folded[key] = folded.get(key, 0) + numbers[code]
    known = _PRESENT | _ABSENT | _UNKNOWN | {"", "-1"}
    says_something = any(text in _PRESENT or text == "0" for text in folded)
    return Marks(folded) if says_something and known.issuperset(folded) else None


def values_of(columns: Sequence[Marks]) -> tuple[dict[str, CellState], list[str]]:
    """What the texts of several columns say, as ``data.values``, and what was ambiguous about them.

    Examples
    --------
    >>> values_of([Marks({"-1": 3, "1": 1})])[0]
    {'-1': 'absent'}
    >>> values_of([Marks({"1": 1, "0": 1, "-1": 1, "": 5})])[0]
    {'-1': 'unknown', '': 'unknown'}
    """
    texts = Counter[str]()
    for marks in columns:
        texts.update(marks.texts)
    values: dict[str, CellState] = {}
    ambiguous: list[str] = []
    has_absent = any(text in _ABSENT for text in texts)
    for text in texts:
        if text in _DEFAULT:
            continue
        if text in _PRESENT:
            values[text] = "present"
        elif text in _ABSENT:
            values[text] = "absent"
        elif text in _UNKNOWN:
            values[text] = "unknown"
            ambiguous.append(f"{text!r} in a label column is read as unknown; absent would be the other reading")
        elif text == "":
            values[text] = "unknown" if has_absent or "-1" in texts else "absent"
            other = "absent" if values[text] == "unknown" else "unknown"
            ambiguous.append(f"an empty cell is read as {values[text]}; {other} would be the other reading")
    if "-1" in texts:
        if "0" not in texts:
            values["-1"] = "absent"
            values |= {"": "unknown"} if "" in texts else {}
        elif "" not in texts and texts["-1"] > texts["0"]:
            values |= {"-1": "absent", "0": "unknown"}
            ambiguous.append("-1 is read as absent and 0 as unknown, as in Pascal VOC, since -1 is the most frequent")
        else:
            values["-1"] = "unknown"
            ambiguous.append("-1 is read as unknown, as in CheXpert; absent or present would be other readings")
    return {text: values[text] for text in sorted(values, reverse=True)}, ambiguous


@dataclass(frozen=True)
class Lists:
    """A column whose cells list labels.

    Attributes
    ----------
    delimiter : str
        What separates names, if they are not in brackets.
    is_bracketed : bool
        Whether the cells are lists of a programming language.
    names : dict of str to int
        The labels and how many cells have each.
    num_joint : dict of str to int
        For every label, how many cells list others beside it.
    """

    delimiter: str
    is_bracketed: bool
    names: dict[str, int]
    num_joint: dict[str, int]

    @property
    def is_single(self) -> bool:
        """Whether every cell has one label at most."""
        return not any(self.num_joint.values())


def as_lists(cells: Sequence[str]) -> Lists | None:
    """The lists of a column, or None if most of its cells are no lists of names.

    Examples
    --------
    >>> as_lists(["scab rust", "rust", "healthy"]).delimiter
    ' '
    >>> as_lists(["cat|dog", "dog"]).names
    {'cat': 1, 'dog': 2}
    """
    codes, texts = unique(cells)
    filled = [text for text in texts if text.strip()]
    if not filled or all(is_vector(text) for text in filled):
        return None
    numbers = Counter(codes.tolist())
    delimiter = list_delimiter(filled, repeats=sum(bool(cell.strip()) for cell in cells) / len(filled))
    names: Counter[str] = Counter()
    joint: Counter[str] = Counter()
    is_bracketed = False
    num_bad = 0
    for code, text in enumerate(texts):
        try:
            cell = read_cell(text, delimiter)
        except ValueError:
            num_bad += numbers[code]
            continue
        is_bracketed |= bool(cell.names) and not cell.is_delimited
        for name in cell.names:
            names[name] += numbers[code]
            joint[name] += numbers[code] * (len(cell.names) > 1)
    if num_bad > len(cells) // 20 or not names:
        return None
    return Lists(delimiter, is_bracketed, dict(sorted(names.items())), dict(joint))


def list_delimiter(texts: Sequence[str], *, repeats: float = 2.0) -> str:
    """The delimiter of distinct cells that list names, each of which occurs ``repeats`` times on average.

    It is one that leaves fewer different names; or as many, if a part of a cell is the whole of another. Where hardly
    two cells are alike, it is a comma or a semicolon that most of them have, or a space between numbers.

    Examples
    --------
    >>> list_delimiter(["roof, tree", "tree"]), list_delimiter(["traffic light", "stop sign"])
    (',', '|')
    """
    delimited = [text for text in texts if not text.strip().startswith(("[", "{", "("))]
    for candidate in _PLAIN:
        if any(candidate in text for text in delimited):
            return candidate
    whole = {text.strip() for text in delimited}
    best, fewest = "|", len(whole) + 1
    for candidate in DELIMITERS:
        joint = [text for text in whole if candidate in text]
        names = {name for text in whole for name in split(text, candidate)} - {""}
        parts = {name for text in joint for name in split(text, candidate)}
        is_better = len(names) < len(whole) or (len(names) == len(whole) and not parts.isdisjoint(whole))
        if joint and is_better and len(names) < fewest:
            best, fewest = candidate, len(names)
    for candidate in (",", ";"):
        if best == "|" and whole and all(candidate in text for text in whole):
            return candidate
    if best == "|" and repeats < 1.5:
        for candidate in (",", ";", " "):
            joint = [text for text in whole if candidate in text]
            is_number = all(re.fullmatch(r"[\d ]+", text) for text in whole)
            if len(joint) > len(whole) / 2 and (candidate != " " or is_number):
                return candidate
    return best

"""Names of labels that look like a slip: an unsplit list, two spellings of one name, a missing value, meta data."""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from posterity.dataset.columns import is_metadata_name
from posterity.dataset.csv_table import shown, yaml_text
from posterity.dataset.issues import Issue
from posterity.targets import UInt8Array, is_known, is_present

# Any of these may separate the names of a list.
DELIMITERS = (",", ";", "|", "/", "#", "&", "+", "~", "^", "\n", "\xa0", "\u3001", "\uff0c", "\uff1b", " ")
# What programs write for an empty cell. "N/A" is not among them: it is the name of a genre.
_NULLS = {"nan", "none", "null", "<na>", "nat"}


def unsplit_labels(vocabulary: Sequence[str], delimiter: str, *, is_used: bool = False) -> list[Issue]:
    """Find labels that are lists themselves, because the delimiter is another one.

    A delimiter is evidently wrong if splitting all labels by another one leaves fewer different names.

    Parameters
    ----------
    vocabulary : sequence of str
        Labels that ``delimiter`` has separated.
    delimiter : str
        The delimiter.
    is_used : bool
        Whether a cell holds it: then it is not wrong everywhere, and the cells are to be corrected.

    Returns
    -------
    list of Issue
        ``unsplit_label`` for every label that holds the better delimiter.

    Examples
    --------
    >>> [issue.id for issue in unsplit_labels(["scab", "rust", "scab rust"], "|")]
    ['scab rust']
    >>> unsplit_labels(["hot dog", "dog", "fire hydrant"], "|")
    []
    """
    best, best_names = "", set(vocabulary)
    for candidate in DELIMITERS:
        if candidate == delimiter or not any(candidate in name for name in vocabulary):
            continue
        names = {part.strip() for name in vocabulary for part in name.split(candidate)} - {""}
        if len(names) < len(best_names):
            best, best_names = candidate, names
    if not best:
        return []
    fix = (
        f"Other cells are separated by {delimiter!r}: write these alike"
        if is_used
        else f"Set data.list_delimiter: {yaml_text(best)}"
    )
    detail = f"holds {best!r}; split by it, the {len(vocabulary)} labels have {len(best_names)} different names. {fix}"
    return [Issue("unsplit_label", None, name, detail) for name in vocabulary if best in name]


def similar_labels(vocabulary: Sequence[str]) -> list[Issue]:
    """Find labels that differ only in upper and lower case, spaces, the form of their Unicode, or as 5 and 5.0 do.

    Examples
    --------
    >>> [(issue.id, issue.detail) for issue in similar_labels(["Cat", "Dog", "cat"])]
    [('cat', "differs from 'Cat' in upper and lower case only")]
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in vocabulary:
        groups[_folded(name)].append(name)
    return [
        Issue("similar_labels", None, other, f"differs from {first!r} in {_difference(first, other)} only")
        for first, *others in groups.values()
        for other in others
    ]


def null_labels(vocabulary: Sequence[str]) -> list[Issue]:
    """Find labels that are called like a missing value: nan, None, null."""
    return [
        Issue("null_label", None, name, "is what programs write for an empty cell; it is a label here")
        for name in vocabulary
        if name.casefold() in _NULLS
    ]


def metadata_columns(columns: Sequence[str]) -> list[Issue]:
    """Find label columns whose names are those of meta data, such as ``is_train`` and ``fold``."""
    return [
        Issue("metadata_column", None, name, "has the name of meta data; it is a label here")
        for name in columns
        if is_metadata_name(name)
    ]


def label_counts(targets: UInt8Array, vocabulary: Sequence[str]) -> str:
    """One line with the labels and the number of rows that have each, the first 30 of them.

    Parameters
    ----------
    targets : ndarray of uint8, shape (num_rows, num_labels)
        See `posterity.targets`.
    vocabulary : sequence of str, length num_labels
        Names of the labels.

    Examples
    --------
    >>> import numpy as np
    >>> label_counts(np.array([[1, 2], [1, 0], [0, 1]], np.uint8), ["cat", "dog"])
    '2 labels: cat 2, dog 1 (1 unknown)'
    """
    present = is_present(targets).sum(axis=0).tolist()
    unknown = (~is_known(targets)).sum(axis=0).tolist()
    counted = [
        f"{name} {rows:,}" + (f" ({blanks:,} unknown)" if blanks else "")
        for name, rows, blanks in zip(vocabulary, present, unknown, strict=True)
    ]
    return f"{len(vocabulary)} label{'' if len(vocabulary) == 1 else 's'}: {shown(counted)}"


def _folded(name: str) -> str:
    text = " ".join(unicodedata.normalize("NFC", name).casefold().split())
    whole, _, fraction = text.partition(".")
    return whole if whole.isdecimal() and fraction and not fraction.strip("0") else text


def _difference(first: str, other: str) -> str:
    if unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", other):
        return "the form of its Unicode (NFC and NFD)"
    if first.casefold() == other.casefold():
        return "upper and lower case"
    if " ".join(first.split()) == " ".join(other.split()):
        return "spaces"
    if "." in first + other and first.replace(".", "").isdecimal():
        return "how the number is written"
    return "case, spaces or the form of its Unicode"

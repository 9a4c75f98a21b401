"""Problems of a data set: their kinds, their list, and what the policies of params.yaml make of them."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from posterity import files, reading
from posterity.choices import POLICIES
from posterity.errors import UserError
from posterity.text import printable

COLUMNS = ["kind", "line", "id", "detail"]
EXAMPLES_SHOWN = 3


@dataclass(frozen=True)
class Kind:
    """A kind of problem.

    Attributes
    ----------
    unit : str
        What one `Issue` of this kind is about.
    fix : str
        How to correct the data themselves, as the start of a sentence.
    """

    unit: str
    fix: str


KINDS: dict[str, Kind] = {
    "missing_image": Kind("row", "Add the files, correct data.images, data.image_pattern or data.image_column"),
    "ambiguous_image": Kind("row", "Leave one file per id, correct data.image_pattern"),
    "unreadable_image": Kind("row", "Replace the files"),
    "oversized_image": Kind("row", "Replace the files by smaller ones, raise the limit of section image that is named"),
    "outside_link": Kind("row", "Put the files themselves into the folder"),
    "constant_image": Kind("row", "Replace the files"),
    "grey_levels": Kind("row", "Set image.grey_range to the highest level of the files"),
    "bad_label_cell": Kind(
        "cell",
        'Correct the cells, say what their texts mean in data.values, such as {"-1": unknown, "": absent}, list the '
        "columns that are labels in data.label_columns",
    ),
    "labels_disagree": Kind(
        "row",
        "Correct the rows, use only one of the two forms (data.list_column: null or data.label_columns: [])",
    ),
    "unsplit_label": Kind("label", "Correct data.list_delimiter or the cells"),
    "conflicting_duplicate": Kind(
        "row", "Leave one row per image, set data.rows: label if each row holds one label of its image"
    ),
    "duplicate_id": Kind("row", "Leave one row per id"),
    "identical_image": Kind("row", "Leave one row per image"),
    "near_duplicate": Kind("row", "Leave one row per picture, raise data.near_duplicate_similarity"),
    "no_label": Kind("row", "Give the rows a label"),
    "rare_label": Kind("label", "Add rows with these labels, lower data.min_positives"),
    "similar_labels": Kind("label", "Write each label in one way"),
    "null_label": Kind("label", "Empty these cells, add the name to data.no_label_names"),
    "metadata_column": Kind("column", "List the columns that are labels in data.label_columns"),
    "unlisted_image": Kind("file", "Add rows for the files, move them elsewhere"),
}


@dataclass(frozen=True)
class Issue:
    """One problem in one place.

    Attributes
    ----------
    kind : str
        A key of `KINDS`.
    line : int or None
        Line of the labels CSV where the row begins (the header is line 1); None if the problem is not a row's.
    id : str
        Id of the row; the label or the column, if the problem is about one; the file of an ``unlisted_image``,
        relative to the folder.
    detail : str
        What was found there.
    """

    kind: str
    line: int | None
    id: str
    detail: str


def in_order(issues: Iterable[Issue]) -> list[Issue]:
    """Sort by line, then kind; issues without a line come last, by kind and id."""

    def position(issue: Issue) -> tuple[bool, int, str, str, str]:
        return issue.line is None, issue.line or 0, issue.kind, issue.id, issue.detail

    return sorted(issues, key=position)


def to_table(issues: Iterable[Issue]) -> pd.DataFrame:
    """List ``issues`` `in_order` as a table (`COLUMNS`; ``line`` is Int64, missing where an issue has none)."""
    ordered = in_order(issues)
    values = {name: [getattr(issue, name) for issue in ordered] for name in COLUMNS}
    types = {name: "Int64" if name == "line" else "object" for name in COLUMNS}
    return pd.DataFrame({name: pd.Series(values[name], dtype=types[name]) for name in COLUMNS})


def from_table(table: pd.DataFrame) -> list[Issue]:
    """Undo `to_table`, also for a table of text as `posterity.files.read_csv` reads it."""

    def number(line: object) -> int | None:
        return None if pd.isna(line) or line == "" else int(str(line))  # type: ignore[call-overload]

    cells = zip(*(table[name] for name in COLUMNS), strict=True)
    return [Issue(str(kind), number(line), str(id_), str(detail)) for kind, line, id_, detail in cells]


def read_issues(path: str | os.PathLike[str]) -> list[Issue]:
    """Read the issues that stage `validate` wrote.

    Raises
    ------
    UserError
        If the file is missing or damaged, or not what dvc.lock says of it.
    """
    table = files.read_csv(path, "validate", COLUMNS)
    if unknown := [kind for kind in table["kind"].tolist() if kind not in KINDS]:
        raise reading.damaged(path, f"kinds of problems such as {next(iter(KINDS))}", repr(unknown[0]), "validate")
    if wrong := [line for line in table["line"].tolist() if line and not (line.isascii() and line.isdecimal())]:
        raise reading.damaged(path, "a number or nothing in column 'line'", repr(wrong[0]), "validate")
    return from_table(table)


def count_by_kind(issues: Iterable[Issue]) -> dict[str, int]:
    """Number of issues of every kind, 0 included, in the order of `KINDS`."""
    numbers = dict.fromkeys(KINDS, 0)
    for issue in issues:
        numbers[issue.kind] += 1
    return numbers


def in_words(issues: Iterable[Issue]) -> str:
    """How many there are of each kind that occurs, such as "no_label 2, rare_label 1"; "" if there is none."""
    return ", ".join(f"{kind} {number:,}" for kind, number in count_by_kind(issues).items() if number)


def dropped_lines(issues: Iterable[Issue], policies: Mapping[str, str]) -> set[int]:
    """Lines of the rows that a ``drop`` policy leaves out."""
    return {issue.line for issue in issues if issue.line is not None and policies[issue.kind] == "drop"}


def apply_policies(
    issues: Iterable[Issue],
    policies: Mapping[str, str],
    *,
    num_rows: int,
    max_dropped_fraction: float,
    listing: str,
    source: str = "the labels CSV",
) -> set[int]:
    """Decide which rows are left out, or that the run stops.

    Parameters
    ----------
    issues : iterable of Issue
        What was found. A later stage gives the list of all stages up to it.
    policies : mapping of str to str
        ``keep``, ``drop`` or ``fail`` for every kind.
    num_rows : int
        Rows of the labels CSV, before anything was dropped.
    max_dropped_fraction : float
        Greatest share of ``num_rows`` that may be dropped, in [0, 1].
    listing : str
        File that lists the issues, for the message.
    source : str
        Name of the labels CSV, for the message.

    Returns
    -------
    set of int
        The ``line`` of every dropped row.

    Raises
    ------
    UserError
        If a kind whose policy is ``fail`` occurs, if more rows are dropped than allowed, or if no row is left. One
        message tells all of it.
    """
    by_kind: dict[str, list[Issue]] = defaultdict(list)
    for issue in in_order(issues):
        by_kind[issue.kind].append(issue)
    failed = [kind for kind in KINDS if by_kind[kind] and policies[kind] == "fail"]
    complaints = []
    if failed:
        kinds = "1 kind of problem stops" if len(failed) == 1 else f"{len(failed)} kinds of problems stop"
        complaints.append(f"{source}: {kinds} the run. {listing} lists every problem.")
        complaints.extend(_failure(kind, by_kind[kind]) for kind in failed)

    rows = dropped_lines((issue for found in by_kind.values() for issue in found), policies)
    num_dropped = len(rows)
    if num_rows and num_dropped / num_rows > max_dropped_fraction:
        reasons = ", ".join(
            f"{kind} {len(found)}" for kind, found in by_kind.items() if policies[kind] == "drop" and found
        )
        complaints.append(
            f"{source}: {num_dropped} of {num_rows} rows would be dropped, {num_dropped / num_rows:.2%}; "
            f"data.max_dropped_fraction allows {max_dropped_fraction:.2%}. Reasons: {reasons or 'see the list'}; all "
            f"in {listing}. Repair the rows or raise data.max_dropped_fraction in params.yaml."
        )
    elif num_dropped >= num_rows:
        complaints.append(
            f"{source}: no row is left of {num_rows}. {listing} gives the reasons. Repair the rows or change "
            f"data.on_problem in params.yaml."
        )
    if complaints:
        raise UserError("\n".join(complaints))
    return rows


def _failure(kind: str, issues: list[Issue]) -> str:
    """One paragraph about a kind that stops the run: how often, where, what to do."""
    number = len(issues)
    lines = [f"  {kind}: {number} {KINDS[kind].unit}{'' if number == 1 else 's'}"]
    for issue in issues[:EXAMPLES_SHOWN]:
        place = "" if issue.line is None else f"line {issue.line}, "
        lines.append(f"    {place}{issue.id!r}: {printable(issue.detail)}")
    if number > EXAMPLES_SHOWN:
        lines.append(f"    ... and {number - EXAMPLES_SHOWN} more")
    milder = " or ".join(f"data.on_problem.{kind}: {policy}" for policy in POLICIES[kind] if policy != "fail")
    lines.append(f"    {KINDS[kind].fix}, or set {milder} in params.yaml.")
    return "\n".join(lines)

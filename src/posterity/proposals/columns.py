"""Which columns of a table hold labels, which a group or a side, and which are something else."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from posterity.choices import SIDE_WORDS
from posterity.dataset.columns import is_metadata_name
from posterity.dataset.csv_table import TextTable
from posterity.errors import UserError
from posterity.proposals.cells import Lists, Marks, as_lists, as_marks

_LIST_NAMES = re.compile(
    r"(finding[ _]?)?((label|tag|attribute|class)[_ ]?ids?|labels?|tags?|genres?|classes|class|class[ _]?names?|"
    r"categor(y|ies)|targets?|attributes?|"
    r"annotations?|choices?|keywords?|diagnos[ie]s|dx|topics?|species|objects?|label[ _]?names?|finding[ _]labels?)",
    re.IGNORECASE,
)
_PRESENCE_NAMES = re.compile(r"conf(idence)?|presence|present|is[_ ]?present|value|exists|positive", re.IGNORECASE)
_GROUP_NAMES = [
    r"patient", r"subject", r"person", r"animal", r"specimen", r"product", r"item", r"video", r"clip", r"scene",
    r"sequence", r"seq", r"session", r"burst", r"camera", r"asin", r"sku", r"lesion",
    r"participant", r"observation", r"recording", r"photographer", r"eye", r"mouse", r"plant", r"wsi", r"source_image",
    r"group", r"case", r"site", r"location", r"family",
    r"user", r"series", r"study", r"slide",
]  # fmt: skip
_SIDE_NAMES = re.compile(
    r"(data[_ ]?)?(split|set|subset|partition|side|fold[_ ]?name|phase|usage|purpose)s?([_ ]?name)?|"
    r"train[_ ]?(/|or)?[_ ]?(val|test)([_ ]?split)?|ml[_ ]?use|dataset|"
    r"is[_ ]?(valid|validation|val|train|training|test)",
    re.IGNORECASE,
)


@dataclass
class Roles:
    """What the columns hold, and what was ambiguous.

    Attributes
    ----------
    list_column, presence_column, group_column, side_column : str or None
        Columns by name.
    lists : Lists or None
        What is in ``list_column``.
    rows : str
        ``image`` or ``label``.
    marks : dict of str to Marks
        The one-hot columns.
    sides : dict of str to str
        What the texts of ``side_column`` stand for.
    others : list of str
        Columns without a role.
    ambiguous : list of str
        What could have been read otherwise.
    """

    list_column: str | None = None
    lists: Lists | None = None
    rows: str = "image"
    presence_column: str | None = None
    marks: dict[str, Marks] = field(default_factory=dict)
    group_column: str | None = None
    side_column: str | None = None
    sides: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)


def find(table: TextTable, image_column: str) -> Roles:
    """Give every column but ``image_column`` a role.

    Raises
    ------
    UserError
        If it cannot be told which column holds the labels.
    """
    roles = Roles()
    cells = {name: column for name, column in table.columns.items() if name not in (image_column, "")}
    num_rows, num_images = len(table.lines), len(set(table.columns[image_column]))
    roles.side_column, roles.sides = _side(cells, roles.ambiguous)
    roles.group_column = _group(
        {name: column for name, column in cells.items() if as_marks(column) is None}, num_rows, num_images
    )
    if roles.group_column:
        roles.ambiguous.append(
            f"rows with the same {roles.group_column!r} are kept on one side; if it is no group, set "
            f"split.group_column: null"
        )
    free = {name: column for name, column in cells.items() if name not in (roles.side_column, roles.group_column)}
    marks = {name: found for name, column in free.items() if (found := as_marks(column))}
    lists = {name: listed for name, column in free.items() if name not in marks and (listed := as_lists(column))}
    one_hot = {name: found for name, found in marks.items() if not is_metadata_name(name)}
    _choose(roles, one_hot, _best_list(_with_repeats(lists, num_rows), num_rows, roles, has_marks=len(one_hot) > 1))
    is_single = roles.lists is not None and roles.lists.is_single
    if num_images < 0.8 * num_rows and roles.list_column and not roles.marks and is_single:
        _rows_of_labels(roles, table, marks)
    _say_delimiter(roles)
    used = {roles.list_column, roles.presence_column, roles.group_column, roles.side_column, *roles.marks}
    roles.others = [name for name in cells if name not in used]
    left = [name for name in marks if name in roles.others]
    if left:
        roles.ambiguous.append(f"columns of 0 and 1 that are taken for meta data, not for labels: {', '.join(left)}")
    return roles


def _say_delimiter(roles: Roles) -> None:
    """A space may stand in a name as well, and so may a comma."""
    lists = roles.lists
    if lists and lists.delimiter in (" ", ",") and not lists.is_single and not lists.is_bracketed:
        roles.ambiguous.append(
            f"the names in {roles.list_column!r} are taken to be separated by {lists.delimiter!r}, which could belong "
            f"to them"
        )


def _choose(roles: Roles, one_hot: dict[str, Marks], found: tuple[str, Lists] | None) -> None:
    """Decide between a list column and one-hot columns, or for both where they say the same."""
    if found is None:
        roles.marks = one_hot
        return
    name, lists = found
    matching = {column: marks for column, marks in one_hot.items() if column in lists.names}
    is_named = _LIST_NAMES.fullmatch(name) is not None
    if len(matching) == len(lists.names):
        # Columns of labels that no row has are not in any list.
        roles.list_column, roles.lists, roles.marks = name, lists, one_hot
    elif len(one_hot) >= 2 and not is_named and not lists.is_bracketed and lists.is_single:
        roles.marks = one_hot
        roles.ambiguous.append(f"column {name!r} is taken for meta data, since {len(one_hot)} columns hold 0 and 1")
    else:
        roles.list_column, roles.lists = name, lists
        if one_hot:
            columns = ", ".join(list(one_hot)[:5])
            roles.ambiguous.append(f"columns of 0 and 1 that are called like no label of {name!r}: {columns}")


def _with_repeats(lists: Mapping[str, Lists], num_rows: int) -> dict[str, Lists]:
    """The columns whose names repeat, or that are called like labels."""
    return {
        name: found
        for name, found in lists.items()
        if _LIST_NAMES.fullmatch(re.sub(r"[ _-]?\d+$", "", name.strip()))
        or (len(found.names) <= 0.5 * num_rows and not is_metadata_name(name) and not _is_numeric(found))
    }


def _best_list(lists: Mapping[str, Lists], num_rows: int, roles: Roles, *, has_marks: bool) -> tuple[str, Lists] | None:
    """The column that most likely lists labels: by its name, brackets, joint labels, and few different names.

    Raises
    ------
    UserError
        If several are as likely.
    """

    def evidence(name: str) -> tuple[bool, bool, bool]:
        found = lists[name]
        return _LIST_NAMES.fullmatch(name.strip()) is not None, found.is_bracketed, not found.is_single

    if not lists:
        return None
    numbered = [name for name in lists if re.fullmatch(r".*?[ _-]?\d+", name.strip())]
    stems = {re.sub(r"[ _-]?\d+$", "", name.strip()) for name in numbered}
    if len(numbered) > 1 and len(stems) == 1:
        raise UserError(
            f"the labels seem to stand in several columns: {', '.join(map(repr, numbered))}. Join them to one, for "
            f"instance by pandas: `table['labels'] = table[{numbered}].agg(lambda row: '|'.join(row.dropna()), 1)`, "
            f"and drop the old ones: `table.drop(columns={numbered}).to_csv(..., index=False)`."
        )
    best = max(lists, key=lambda name: (evidence(name), -len(lists[name].names) / num_rows))
    rivals = [name for name in lists if name != best and evidence(name) == evidence(best)]
    if rivals and not any(evidence(best)) and not has_marks:
        raise UserError(
            f"it cannot be told which column holds the labels: {', '.join(map(repr, [best, *rivals]))} are as likely. "
            f"Set data.id_column, data.list_column and data.label_columns in params.yaml."
        )
    if rivals and any(evidence(best)):
        roles.ambiguous.append(f"column {best!r} is taken for the labels; {', '.join(map(repr, rivals))} could be, too")
    return best, lists[best]


def _is_numeric(found: Lists) -> bool:
    return all(name.replace(".", "", 1).lstrip("-").isdecimal() for name in found.names)


def _rows_of_labels(roles: Roles, table: TextTable, marks: Mapping[str, Marks]) -> None:
    """Read a table with several rows per image, each with one name, as one row per label.

    Raises
    ------
    UserError
        If a column seems to say how sure a label is.
    """
    roles.rows = "label"
    named = [name for name in table.columns if _PRESENCE_NAMES.fullmatch(name)]
    presence = [name for name in named if name in marks and marks[name].has_both]
    roles.presence_column = presence[0] if presence else None
    if unclear := [name for name in named if name not in marks]:
        example = table.columns[unclear[0]][0]
        raise UserError(
            f"column {unclear[0]!r} seems to say whether, or how surely, the label of a row is present, but it holds "
            f"more than 0 and 1, such as {example!r}. Leave only rows of which it is known, and write 0 and 1 there."
        )


def _side(cells: Mapping[str, Sequence[str]], ambiguous: list[str]) -> tuple[str | None, dict[str, str]]:
    flags = {}
    for name, column in cells.items():
        if not _SIDE_NAMES.fullmatch(name.strip()):
            continue
        texts = sorted({text.strip() for text in column})
        words = SIDE_WORDS | {"": "leave_out"} | {text.casefold(): side for text in texts if (side := _side_of(text))}
        if len(set(texts) - {""}) > 1 and all(text.casefold() in words for text in texts):
            if "" in texts:
                ambiguous.append(f"rows with an empty cell in {name!r} are left out; train would be another reading")
            return name, {text: words[text.casefold()] for text in texts}
        flag = re.fullmatch(r"is[_ ]?(\w+)", name.strip(), re.IGNORECASE)
        if flag and (found := as_marks(column)) and found.has_both:
            flags[name] = (SIDE_WORDS[flag[1].casefold()], texts)
        elif not flag:
            ambiguous.append(f"column {name!r} is called like one for sides, and holds others: {', '.join(texts[:5])}")
    if len(flags) > 1:
        ambiguous.append(
            f"{', '.join(map(repr, flags))} give sides by flags: make one column of them, and run init again"
        )
    if len(flags) != 1:
        return None, {}
    ((name, (side, texts)),) = flags.items()
    other = "train" if side != "train" else "validation"
    ambiguous.append(f"column {name!r}: rows without it are taken for the {other} side")
    return name, {text: side if text.casefold() in _YES else other for text in texts}


_YES = {"1", "1.0", "true", "yes", "y", "t"}


def _side_of(text: str) -> str:
    """The side of a word that holds one, such as train2017, PublicTest or validate; or ""."""
    words = [("test", "test"), ("val", "validation"), ("train", "train")]
    return next((side for word, side in words if re.search(rf"(^|[^a-z]|public|private){word}", text.casefold())), "")


def _group(cells: Mapping[str, Sequence[str]], num_rows: int, num_images: int) -> str | None:
    """A column whose cells name what several images show, such as a patient."""
    for pattern in _GROUP_NAMES:
        for name, column in cells.items():
            is_named = re.fullmatch(rf"(.*[_ ])?{pattern}s?([_ ]?(id|no|nr|number|name|index))?", name, re.IGNORECASE)
            number = len(set(column))
            lists = as_lists(column)
            is_list = lists is not None and not lists.is_single and lists.delimiter != " "
            if is_named and not is_list and max(4, 0.02 * num_images) <= number < num_images:
                return name
    return None

"""Which columns of the labels CSV hold what, and which of them look like something else than labels."""

import re
from collections.abc import Sequence

from posterity.dataset.csv_table import TextTable, delimiter_advice, nearest, shown
from posterity.dataset.options import TableForm
from posterity.errors import UserError

# Names under which tables keep facts about an image that are no labels of it.
_METADATA = re.compile(
    r"is[_-].*|.*[_-]?fold|k?fold[_-]?\d*|split|subset|partition|training|val|valid|validation|test|dev|"
    r"id|idx|index|row|unnamed(: ?\d+)?|age|sex|gender|width|height|weight|year|date|path|file[_-]?name|url|"
    r"flipped|augmented|duplicate[ds]?",
    re.IGNORECASE,
)


def find_label_columns(
    table: TextTable,
    *,
    id_column: str,
    list_column: str | None,
    label_columns: Sequence[str] | None,
    image_column: str | None,
    other_roles: Sequence[tuple[str, str | None]] = (),
) -> list[str]:
    """Check that all named columns exist; return the one-hot ones.

    ``label_columns`` None stands for every column that has no other role. ``other_roles`` are pairs of a key of
    params.yaml and the name of the column that it names, or None.

    Raises
    ------
    UserError
        If a column is missing or has two roles, or if no column can hold a label.
    """
    named = [("data.id_column", id_column), ("data.list_column", list_column), ("data.image_column", image_column)]
    roles = {name: key for key, name in [*named, *other_roles] if name is not None}
    roles_and_labels = [*roles.items(), *((name, "data.label_columns") for name in label_columns or ())]
    absent = [(name, key) for name, key in roles_and_labels if name not in table.columns]
    place = f"{table.path}, line {table.header_line}"
    there = shown([repr(name) for name in table.columns])
    if absent:
        missing = "; ".join(f"no column {name!r} ({key}){nearest(name, table.columns)}" for name, key in absent)
        hint = delimiter_advice(table)
        keys = ", ".join(dict.fromkeys(key for _, key in absent))
        optional = [key for _, key in absent if key not in ("data.id_column", "data.label_columns")]
        nulls = "".join(f", or set {key}: null" for key in optional)
        raise UserError(f"{place}: {missing}. Got the columns {there}.{hint} Correct {keys} in params.yaml{nulls}.")
    if label_columns is None:
        label_columns = [name for name in table.columns if name not in roles]
        if "" in label_columns:
            raise UserError(
                f"{place}: every column needs a name, since all without another role are labels. Got one without. "
                f"Remove it (pandas: `to_csv(..., index=False)`) or list the labels in params.yaml: data.label_columns."
            )
    for name in label_columns:
        if name in roles:
            raise UserError(f"params.yaml: data.label_columns names {name!r}, the {roles[name]}. Remove one of them.")
    if list_column is None and not label_columns:
        raise UserError(
            f"{place}: no column holds labels. Got the columns {there}. Name the column with a list in "
            f"data.list_column or the one-hot columns in data.label_columns in params.yaml."
        )
    return list(label_columns)


def label_columns_of(table: TextTable, form: TableForm) -> list[str]:
    """Check the columns that a form names; return the one-hot ones, of which names that mean "no label" are none.

    Raises
    ------
    UserError
        As `find_label_columns`.
    """
    found = find_label_columns(
        table,
        id_column=form.id_column,
        list_column=form.list_column,
        label_columns=[] if form.rows == "label" else form.label_columns,
        image_column=form.image_column,
        other_roles=[
            ("data.presence_column", form.presence_column),
            ("split.group_column", form.group_column),
            ("split.side_column", form.side_column),
        ],
    )
    return [name for name in found if name not in form.no_label_names]


def none_columns(table: TextTable, form: TableForm) -> list[str]:
    """The columns of 0 and 1 that say that an image has no label: those called like one of ``no_label_names``."""
    if form.rows == "label":
        return []
    roles = {form.id_column, form.list_column, form.image_column, form.group_column, form.side_column}
    return [name for name in table.columns if name in form.no_label_names and name not in roles]


def is_metadata_name(name: str) -> bool:
    """Whether a column of this name hardly holds a label, such as ``is_train``, ``fold`` or ``split``.

    Examples
    --------
    >>> [name for name in ("is_valid", "fold", "kfold", "cat", "Fold mountain", "Island") if is_metadata_name(name)]
    ['is_valid', 'fold', 'kfold']
    """
    return _METADATA.fullmatch(name.strip()) is not None

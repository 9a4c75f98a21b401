"""A look ahead at the split, from the table alone: before an image is read, decoded or trained on."""

from pathlib import Path

import pandas as pd

from posterity.dataset.csv_table import find_label_columns, read_table
from posterity.dataset.options import TableForm
from posterity.splitting.options import SplitOptions
from posterity.splitting.sides import Split, divide


def dry_split(labels_csv: str | Path, form: TableForm, options: SplitOptions, *, seed: int) -> Split:
    """Divide the rows of a labels CSV as stage `split` will, as far as the table tells.

    The stage knows more: which files have the same bytes, which rows are dropped, and the labels, by which it may
    stratify. So the counts may differ a little, and a split that is possible here may turn out not to be.

    Parameters
    ----------
    labels_csv : path
        The table.
    form : TableForm
        Which of its columns hold what.
    options : SplitOptions
        How rows are divided.
    seed : int
        Of what is drawn.

    Raises
    ------
    UserError
        If the table cannot be read, lacks a column, or if `posterity.splitting.sides.divide` raises it.
    """
    table = read_table(labels_csv)
    find_label_columns(
        table,
        id_column=form.id_column,
        list_column=form.list_column,
        label_columns=form.label_columns,
        image_column=form.image_column,
        group_column=form.group_column,
        side_column=form.side_column,
    )
    lines = [str(line) for line in table.lines]
    index = pd.DataFrame({"line": lines, "id": table.columns[form.id_column], "sha256": lines})  # no image is another
    for name, column in (("group", form.group_column), ("side", form.side_column)):
        if column is not None:
            index[name] = [cell.strip() for cell in table.columns[column]]
    return divide(index, options, seed=seed)

"""A look ahead at the rows and their split, from the table alone: before an image is read, decoded or trained on."""

from pathlib import Path

import pandas as pd

from posterity.dataset import label_rows
from posterity.dataset.columns import label_columns_of
from posterity.dataset.csv_table import read_table
from posterity.dataset.labels import read_labels
from posterity.dataset.options import TableForm
from posterity.splitting.options import SplitOptions
from posterity.splitting.sides import Split, divide
from posterity.targets import PRESENT


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
    table = read_table(labels_csv, form.delimiter)
    label_columns_of(table, form)
    lines = [str(line) for line in table.lines]
    ids = [id_.strip() for id_ in table.columns[form.id_column]]
    index = pd.DataFrame({"line": lines, "id": ids, "sha256": lines})  # no image is another
    for name, column in (("group", form.group_column), ("side", form.side_column)):
        if column is not None:
            index[name] = [cell.strip() for cell in table.columns[column]]
    if form.rows == "label":
        index = index.drop_duplicates("id", ignore_index=True)
    return divide(index, options, seed=seed)


def rows_of_several_labels(labels_csv: str | Path, form: TableForm) -> tuple[int, int]:
    """Number of images of a labels CSV that have two labels or more, and of all.

    Parameters
    ----------
    labels_csv : path
        The table.
    form : TableForm
        Which of its columns hold what.

    Raises
    ------
    UserError
        If the table cannot be read as one of labels.
    """
    table = read_table(labels_csv, form.delimiter)
    columns = label_columns_of(table, form)
    if form.rows == "label":
        labels = label_rows.join(table, form)[1]
    else:
        labels = read_labels(table, table.columns[form.id_column], columns, form)
    numbers = (labels.targets == PRESENT).sum(axis=1)
    return int((numbers > 1).sum()), len(numbers)

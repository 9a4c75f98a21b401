"""Tables that have one row per image and label: their rows are joined to one per image."""

from collections.abc import Sequence

import numpy as np

from posterity.dataset.cell_values import BAD_CELL, CellValues
from posterity.dataset.csv_table import TextTable, short
from posterity.dataset.issues import Issue
from posterity.dataset.label_names import null_labels, similar_labels
from posterity.dataset.labels import Labels, no_labels, without_none
from posterity.dataset.options import TableForm
from posterity.errors import UserError
from posterity.targets import ABSENT, PRESENT, UNKNOWN


def join(table: TextTable, form: TableForm, *, constant_columns: Sequence[str] = ()) -> tuple[TextTable, Labels]:
    """Join the rows of each image.

    Parameters
    ----------
    table : TextTable
        Every row has one label of an image in ``form.list_column``, or none.
    form : TableForm
        ``presence_column`` says whether the label is present; without it, it is. ``unlisted_labels`` says what a label
        is for an image without a row for it.
    constant_columns : sequence of str
        Columns that have to say the same in all rows of an image, such as that of the file name.

    Returns
    -------
    table : TextTable
        One row per image, in the order of its first row, which it is; the line is that of the first row.
    labels : Labels
        Labels of these rows.

    Raises
    ------
    UserError
        If a column of ``constant_columns`` says two things about an image, or if no row has a label.
    """
    ids = [id_.strip() for id_ in table.columns[form.id_column]]
    cells = table.columns[form.list_column or ""]
    number_of_id: dict[str, int] = {}
    firsts: list[int] = []
    for row, id_ in enumerate(ids):
        if number_of_id.setdefault(id_, len(firsts)) == len(firsts):
            firsts.append(row)
    image_of_row = [number_of_id[id_] for id_ in ids]
    _check_constant(table, ids, image_of_row, firsts, constant_columns)

    values = CellValues(form.values)
    presence = table.columns[form.presence_column] if form.presence_column else None
    issues: list[Issue] = []
    said: list[dict[str, tuple[int, int]]] = [{} for _ in firsts]  # of each image: label -> state and line
    nones: list[list[str]] = [[] for _ in firsts]

    def note(kind: str, image: int, detail: str) -> None:
        issues.append(Issue(kind, table.lines[firsts[image]], ids[firsts[image]], detail))

    for row, (image, cell) in enumerate(zip(image_of_row, cells, strict=True)):
        name, line = cell.strip(), table.lines[row]
        state = PRESENT if presence is None else values.state(presence[row])
        if state == BAD_CELL:
            got = short(presence[row]) if presence else ""
            note(
                "bad_label_cell",
                image,
                f"line {line}, column {form.presence_column!r}: expected {values.expected}, got {got}",
            )
        elif name in form.no_label_names:
            nones[image] += [name] if state == PRESENT else []
        elif name:
            before, at = said[image].setdefault(name, (state, line))
            if before != state:
                note("labels_disagree", image, f"{name!r}: line {at} and line {line} say different things")
    vocabulary = sorted({name for labels in said for name in labels})
    default = ABSENT if form.unlisted_labels == "absent" else UNKNOWN
    targets = np.full((len(firsts), len(vocabulary)), default, np.uint8)
    index = {name: position for position, name in enumerate(vocabulary)}
    for image, labels in enumerate(said):
        for name, (state, _) in labels.items():
            targets[image, index[name]] = state
        if nones[image]:
            try:
                present = [name for name, (state, _) in labels.items() if state == PRESENT]
                without_none([*nones[image], *present], form.no_label_names)
                targets[image][targets[image] == UNKNOWN] = ABSENT
            except ValueError as error:
                note("bad_label_cell", image, str(error))
    issues += [*null_labels(vocabulary), *similar_labels(vocabulary)]
    columns = {name: [cells[row] for row in firsts] for name, cells in table.columns.items()}
    joined = TextTable(table.path, columns, [table.lines[row] for row in firsts], table.header_line)
    if not (targets == PRESENT).any() and not issues:
        raise no_labels(table)
    return joined, Labels(targets, vocabulary, issues, np.array([bool(names) for names in nones]))


def _check_constant(
    table: TextTable, ids: Sequence[str], image_of_row: Sequence[int], firsts: Sequence[int], columns: Sequence[str]
) -> None:
    for name in columns:
        cells = table.columns[name]
        for row, image in enumerate(image_of_row):
            first = firsts[image]
            if cells[row] != cells[first]:
                raise UserError(
                    f"{table.path}: column {name!r} must say the same in all rows of an image (data.rows: label). Got "
                    f"{short(cells[first])} in line {table.lines[first]} and {short(cells[row])} in line "
                    f"{table.lines[row]} for {ids[row]!r}. Correct one of them."
                )

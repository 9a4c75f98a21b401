"""A proposal: the settings of params.yaml for a folder and a table, what they read, and what else they could be."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from posterity.config.image_pattern import Pattern
from posterity.dataset import label_rows, text_file
from posterity.dataset.columns import label_columns_of
from posterity.dataset.csv_table import (
    WHITESPACE,
    TextTable,
    better_delimiter,
    declared_delimiter,
    first_line,
    read_table,
    short,
    shown,
)
from posterity.dataset.image_folder import list_folder
from posterity.dataset.image_paths import FolderIndex
from posterity.dataset.labels import Labels, names, read_labels
from posterity.dataset.list_cells import vector_length
from posterity.dataset.options import TableForm
from posterity.errors import UserError
from posterity.proposals import columns, images
from posterity.proposals.cells import as_marks, values_of
from posterity.targets import is_known, is_present

NUM_EXAMPLES = 3
# Names that mean that an image has no label, where they never stand beside another.
_NO_LABEL = re.compile(
    r"nan|none|null|<na>|nat|n/?a|-|no[ _-]?(finding|label|tag|class|object|annotation|category)s?|\(no .* listed\)|"
    r"un-?label+ed|nothing|empty|negative",
    re.IGNORECASE,
)


@dataclass
class Proposal:
    """What a folder of images and a table seem to be.

    Attributes
    ----------
    settings : dict of str to value
        Dotted keys of params.yaml and what they should be.
    labels : dict of str to int
        The labels as these settings read them, and how many images have each.
    num_images, num_unknown : int
        Images of the table, and cells of unknown labels.
    examples : list of (str, list of str)
        Some image files and their labels.
    notes, ambiguous : list of str
        What was seen, and what could have been read otherwise.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    num_images: int = 0
    num_unknown: int = 0
    examples: list[tuple[str, list[str]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)


def propose(images_folder: str | Path, table_file: str | Path) -> Proposal:
    """Look at a folder and a table, and propose the settings that read them.

    Raises
    ------
    UserError
        If the table or the folder cannot be read, or if it cannot be told which columns hold what: with the reasons.
    """
    folder = Path(images_folder)
    index = FolderIndex(list_folder(folder).files)
    proposal = Proposal()
    delimiter = _delimiter(Path(table_file), proposal)
    table = read_table(table_file, delimiter)
    anywhere = [Pattern("**/{name}"), Pattern("**/{name}.*")]
    if any(index.matches(pattern, name) for name in table.columns if name for pattern in anywhere):
        cells = shown([repr(name) for name in table.columns], 5)
        raise UserError(
            f"{table.path}: the first line seems to be a row, not a header: {cells}. Write the names of the columns "
            f"above it, such as image,labels."
        )
    image = images.find(table, index)
    if image is None:
        raise UserError(_no_image_column(table, folder, index))
    if not image.name:
        raise UserError(
            f"{table.path}: the column that leads to the images has no name. Write one into the header, such as image "
            f"(pandas: `to_csv(..., index_label='image')`)."
        )
    try:
        roles = columns.find(table, image.name)
    except UserError as error:
        raise UserError(f"{table.path}: {error}") from None
    proposal.ambiguous += roles.ambiguous
    if image.others:
        proposal.ambiguous.append(
            f"the images are found by {image.pattern!r}; other files by {' and '.join(map(repr, image.others))}"
        )
    if image.num_found < image.num_sampled:
        proposal.ambiguous.append(
            f"{image.num_sampled - image.num_found} of {image.num_sampled} rows that were tried lead to no file, or to "
            f"several, by {image.pattern!r} from column {image.name!r}"
        )
    if roles.list_column is None and not roles.marks:
        raise UserError(_no_labels(table, image.name, roles.others))
    if groups := _groups_in_paths(table.columns[image.name]):
        proposal.ambiguous.append(
            f"the paths hold what may be a group of images, such as {groups!r}: if its images must stay on one side of "
            f"the split, add a column with it and set split.group_column"
        )
    marks = list(roles.marks.values())
    if roles.presence_column and (presence := as_marks(table.columns[roles.presence_column])):
        marks.append(presence)
    values, ambiguous = values_of(marks)
    proposal.ambiguous += ambiguous
    without_role = [name for name in table.columns if name not in (image.name, roles.list_column)]
    takes_all = without_role == list(roles.marks)
    form = TableForm(
        image.name,
        delimiter=delimiter,
        rows="label" if roles.rows == "label" else "image",
        presence_column=roles.presence_column,
        unlisted_labels="unknown" if roles.presence_column else "absent",
        list_column=roles.list_column,
        list_delimiter=roles.lists.delimiter if roles.lists else "|",
        label_columns=None if takes_all else list(roles.marks),
        values=values,
        image_pattern=image.pattern,
    )
    if roles.presence_column:
        proposal.ambiguous.append(
            f"a label without a row for an image is read as unknown, since {roles.presence_column!r} says which labels "
            f"are absent; absent would be the other reading"
        )
    form, labels, joined = _read(table, form, proposal)
    _describe(proposal, form, labels, joined, index)
    proposal.settings = {
        "data.images": folder.as_posix(),
        "data.labels": Path(table_file).as_posix(),
        "data.delimiter": form.delimiter,
        "data.rows": form.rows,
        "data.id_column": form.id_column,
        "data.list_column": form.list_column,
        "data.list_delimiter": form.list_delimiter,
        "data.label_columns": None if form.label_columns is None else list(form.label_columns),
        "data.presence_column": form.presence_column,
        "data.unlisted_labels": form.unlisted_labels,
        "data.values": dict(form.values),
        "data.no_label_names": list(form.no_label_names),
        "data.image_pattern": form.image_pattern,
        "data.image_column": None,
        "split.group_column": roles.group_column,
        "split.side_column": roles.side_column,
    }
    if roles.side_column:
        proposal.settings["split.sides"] = roles.sides
    return proposal


def _delimiter(path: Path, proposal: Proposal) -> str:
    """The delimiter of the columns. Lines that say what the table is, such as ``sep=;``, are notes of the proposal."""
    text = text_file.read(path)
    if declared := declared_delimiter(text):
        what = "is the number of rows" if declared == WHITESPACE else f"says that {declared!r} separates the columns"
        proposal.notes.append(f"the first line {what}")
        return declared
    first, rest = first_line(text)
    found = better_delimiter(text, ",") or ","
    if found == "," and len(next(csv.reader(io.StringIO(first)), [])) < 2 and len(first_line(rest)[0].split()) > 1:
        return WHITESPACE if len(first.split()) > 1 else found
    return found


def _no_image_column(table: TextTable, folder: Path, index: FolderIndex) -> str:
    first = {name: cells[0] for name, cells in table.columns.items()}
    for above in folder.resolve().parents[:3]:
        if any((above / cell).is_file() for cell in first.values() if cell and not cell.startswith(("/", ".."))):
            return f"{table.path}: the paths begin above {folder}. Give the folder {above} instead."
    cells = ", ".join(f"{name!r} ({cell[:40]!r})" for name, cell in list(first.items())[:10])
    return (
        f"{table.path}: no column leads to the files in {folder}. Got the columns {cells}, and files such as "
        f"{shown([repr(name) for name in index.listing], 3)}. Give the folder that holds the images, or correct the "
        f"names in the table."
    )


def _no_labels(table: TextTable, image_column: str, others: Sequence[str]) -> str:
    vectors = [name for name in others if vector_length(sorted(set(table.columns[name])))]
    if vectors:
        return (
            f"{table.path}: column {vectors[0]!r} holds vectors of 0 and 1, such as "
            f"{short(table.columns[vectors[0]][0])}, which do not say what the labels are called. Write one column per "
            f"label instead, with its name in the header."
        )
    return (
        f"{table.path}: it cannot be told which columns hold labels. Column {image_column!r} leads to the images; of "
        f"the others ({shown([_with_texts(table, name) for name in others], 10) or 'there are none'}), none has cells "
        f"of 0 and 1 or lists of names that repeat. Set data.list_column, or data.label_columns and in data.values "
        f"what their cells mean, in params.yaml."
    )


def _with_texts(table: TextTable, name: str) -> str:
    texts = sorted({cell.strip() for cell in table.columns[name]})
    return f"{name!r} with {', '.join(short(text, 20) for text in texts[:3])}{', ...' if len(texts) > 3 else ''}"


def _groups_in_paths(cells: Sequence[str]) -> str:
    """A folder of the paths that is called like a patient or a video and holds several images, or ""."""
    found = Counter(
        part
        for cell in cells
        for part in re.split(r"[/\\]", cell)[:-1]
        if re.match(r"(patient|subject|person|video|product|case|animal|scene)[ _-]?\d", part, re.IGNORECASE)
    )
    repeated = [part for part, number in found.items() if number > 1]
    return repeated[0] if len(repeated) > 1 else ""


def _read(table: TextTable, form: TableForm, proposal: Proposal) -> tuple[TableForm, Labels, TextTable]:
    """Read the labels by ``form``, once more without the names that mean that there is none."""
    labels, joined = _labels(table, form)
    none = _names_of_none(form, labels)
    if none:
        form = replace(form, no_label_names=none)
        if form.list_column is None:
            form = replace(form, label_columns=[name for name in labels.vocabulary if name not in none])
        labels, joined = _labels(table, form)
        proposal.ambiguous.append(f"read as having no label: {', '.join(map(repr, none))}; it could be a label as well")
    return form, labels, joined


def _labels(table: TextTable, form: TableForm) -> tuple[Labels, TextTable]:
    if form.rows == "label":
        joined, labels = label_rows.join(table, form)
        return labels, joined
    one_hot = label_columns_of(table, form)
    return read_labels(table, table.columns[form.id_column], one_hot, form), table


def _names_of_none(form: TableForm, labels: Labels) -> list[str]:
    present = is_present(labels.targets)
    is_joint = present.sum(axis=1) > 1
    return [
        name
        for position, name in enumerate(labels.vocabulary)
        if _NO_LABEL.fullmatch(name.strip()) and present[:, position].any() and not present[is_joint, position].any()
    ]


def _describe(proposal: Proposal, form: TableForm, labels: Labels, table: TextTable, index: FolderIndex) -> None:
    present = is_present(labels.targets)
    proposal.num_images = len(table.lines)
    proposal.num_unknown = int((~is_known(labels.targets)).sum())
    proposal.labels = dict(zip(labels.vocabulary, present.sum(axis=0).tolist(), strict=True))
    kinds: dict[str, list[str]] = {}
    for issue in labels.issues:
        kinds.setdefault(issue.kind, []).append(f"{issue.id!r}: {issue.detail}")
    proposal.ambiguous += [
        f"{kind} {len(found)}: {found[0]}" + (", ..." if len(found) > 1 else "") for kind, found in kinds.items()
    ]
    pattern = Pattern(str(form.image_pattern))
    # Rows with several labels say most about how a list is read.
    order = sorted(range(len(table.lines)), key=lambda row: (-min(int(present[row].sum()), 3), row))
    for row in sorted(order[:NUM_EXAMPLES]):
        cell = table.columns[form.id_column][row].strip().replace("\\", "/")
        found = index.matches(pattern, cell)
        proposal.examples.append(
            (found[0] if found else pattern.name_of(cell), names(labels.targets[row], labels.vocabulary))
        )

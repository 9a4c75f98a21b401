"""The manifest: the checked table of images, their digests, sizes and labels, beside the list of all problems."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from posterity import files, reading
from posterity.dataset import image_files, label_rows
from posterity.dataset.checks import LabelledRows, duplicate_ids, identical_images, settle_rare_labels, unclear_rows
from posterity.dataset.columns import label_columns_of, none_columns
from posterity.dataset.csv_table import PLACES_SHOWN, TextTable, read_table, shown
from posterity.dataset.image_files import ImageFacts
from posterity.dataset.image_folder import FolderListing, list_folder, outside_links, utf8_text
from posterity.dataset.image_paths import FolderIndex, image_paths
from posterity.dataset.issues import Issue, dropped_lines
from posterity.dataset.label_names import label_counts
from posterity.dataset.labels import multi_hot, names, read_labels
from posterity.dataset.options import Policies, Reading, TableForm
from posterity.errors import UserError
from posterity.pixels.decode import ImageProblem
from posterity.pixels.image_names import is_image_path
from posterity.targets import ABSENT, PRESENT, UNKNOWN, UInt8Array, is_present
from posterity.workers.threads import threads

COLUMNS = ["line", "id", "path", "sha256", "bytes", "width", "height", "labels"]
UNKNOWN_COLUMN = "unknown"
STAGE = "validate"  # which makes it
_SHA256 = re.compile("[0-9a-f]{64}")
NUMBERS = {"line": "int64", "bytes": "int64", "width": "int64", "height": "int64"}


@dataclass(frozen=True)
class Manifest:
    """A data set after the checks.

    Attributes
    ----------
    table : DataFrame
        `COLUMNS`, one row per row of the labels CSV that no policy drops and whose image and labels are sound, in the
        order of the CSV. ``labels`` holds a JSON list of those that are present. Then ``group`` and ``side``, if the
        form names such columns, and, if any label is unknown, `UNKNOWN_COLUMN`, which lists these likewise.
    vocabulary : list of str
        Label names, in the order of the targets.
    issues : list of Issue
        Every problem, whatever its policy.
    num_rows : int
        Rows of the labels CSV; images, if it has one row per image and label.
    notes : list of str
        What was done to the table that its reader may not expect, and its labels with the number of rows of each.
    """

    table: pd.DataFrame
    vocabulary: list[str]
    issues: list[Issue]
    num_rows: int
    notes: list[str] = field(default_factory=list)


def build(
    labels_csv: str | Path, images_folder: str | Path, form: TableForm, policies: Policies, reading: Reading
) -> Manifest:
    """Check a folder of images and its labels CSV; find every problem in one pass.

    No policy stops the run here but in `posterity.dataset.issues.apply_policies`, so that the list can be saved first.

    Raises
    ------
    UserError
        If the CSV cannot be read as a table of labels, if an id is blank or leads out of the folder, or if the folder
        is missing or empty. No policy tolerates these.
    """
    table = read_table(labels_csv, form.delimiter)
    one_hot_columns = label_columns_of(table, form)
    notes: list[str] = []
    if says_none := none_columns(table, form):
        notes.append(f"read as saying that there is no label: the columns {shown([repr(name) for name in says_none])}")
    table = _with_ids(table, form.id_column)
    if form.rows == "label":
        constant = [name for name in (form.image_column, form.group_column, form.side_column) if name]
        num_lines = len(table.lines)
        table, labels = label_rows.join(table, form, constant_columns=constant)
        notes.append(f"{num_lines:,} rows joined to {len(table.lines):,} images (data.rows: label)")
    ids, lines = table.columns[form.id_column], table.lines
    folder = Path(images_folder)
    listing = list_folder(folder)
    index = FolderIndex(listing.files)
    paths, ambiguous = image_paths(
        table,
        folder,
        index,
        id_column=form.id_column,
        image_pattern=form.image_pattern,
        image_column=form.image_column,
    )
    if form.rows == "image":
        labels = read_labels(table, ids, one_hot_columns, form)
    targets, vocabulary, issues = labels.targets, labels.vocabulary, labels.issues

    places = _places(folder, paths)
    by_place = image_files.inspect(
        list(places.values()),
        reading.limits,
        reading.mapper or threads(),
        reading.note,
        show_progress=reading.show_progress,
    )
    facts = {path: by_place[place] for path, place in places.items()}
    if "" in paths:
        facts[""] = ImageProblem("missing_image", "the cell for the image is empty")
    issues += [Issue("ambiguous_image", lines[row], ids[row], detail) for row, detail in ambiguous.items()]
    for row, (line, id_, path) in enumerate(zip(lines, ids, paths, strict=True)):
        if isinstance(found := facts[path], ImageProblem):
            detail = f"{places[path]}: {found}" if path else str(found)
            cell = table.columns[form.image_column or form.id_column][row].strip()
            missing = path and found.kind == "missing_image"
            issues.append(
                Issue(found.kind, line, id_, detail + (index.hint(path, cell, form.image_column) if missing else ""))
            )
    issues += _outside_links(lines, ids, paths, facts, outside_links(folder, listing.links, set(paths)))
    label_texts = _label_texts(targets, vocabulary)
    unclear = unclear_rows(issues)
    says_nothing = ~is_present(targets).any(axis=1) & ~labels.says_none
    for row in np.flatnonzero(says_nothing).tolist():
        num_unknown = int((targets[row] == UNKNOWN).sum())
        if lines[row] not in unclear and num_unknown in (0, len(vocabulary)):
            detail = "all labels are unknown" if num_unknown else "no label"
            issues.append(Issue("no_label", lines[row], ids[row], detail))
    digests = [found.sha256 if isinstance(found := facts[path], ImageFacts) else "" for path in paths]
    rows = LabelledRows(lines, ids, label_texts, targets)
    issues += duplicate_ids(rows, issues)
    issues += identical_images(rows, paths, digests, issues)

    dropped = dropped_lines(issues, policies.on_problem)
    kept = [row for row, line in enumerate(lines) if line not in dropped]
    notes.append(label_counts(targets[kept], vocabulary))
    settled = settle_rare_labels(
        targets[kept],
        [lines[row] for row in kept],
        [ids[row] for row in kept],
        vocabulary,
        min_positives=policies.min_positives,
        drop=policies.on_problem["rare_label"] == "drop",
        known=issues,
    )
    issues += settled.issues
    if settled.is_dropped.any():
        dropped = dropped_lines(issues, policies.on_problem)
        targets = targets[:, ~settled.is_dropped]
        vocabulary = [name for name, gone in zip(vocabulary, settled.is_dropped, strict=True) if not gone]
        label_texts = _label_texts(targets, vocabulary)
    issues += _unlisted(listing, set(paths))

    sound = []
    for row, (line, id_, path, text) in enumerate(zip(lines, ids, paths, label_texts, strict=True)):
        found = facts[path]
        if line not in dropped and line not in unclear and row not in ambiguous and isinstance(found, ImageFacts):
            sound.append((row, line, id_, places[path], found.sha256, found.bytes, found.width, found.height, text))
    kept = [row for row, *_ in sound]
    checked = pd.DataFrame([facts for _, *facts in sound], columns=COLUMNS).astype(NUMBERS)
    if (targets[kept] == UNKNOWN).any():
        checked[UNKNOWN_COLUMN] = _label_texts(np.where(targets[kept] == UNKNOWN, PRESENT, ABSENT), vocabulary)
    return Manifest(_with_split_columns(checked, table, form), vocabulary, issues, len(lines), notes)


def read_manifest(path: str | Path) -> pd.DataFrame:
    """Read a manifest CSV: `COLUMNS`, with line, bytes, width and height as int64 and the rest as text.

    Raises
    ------
    UserError
        If the file is missing or damaged, or not what dvc.lock says of it.
    """
    table = files.read_csv(path, STAGE, COLUMNS, **NUMBERS)
    if wrong := [text for text in table["sha256"].tolist() if not _SHA256.fullmatch(text)]:
        raise reading.damaged(path, "a sha256 in every cell of column 'sha256'", repr(wrong[0]), STAGE)
    return table


def read_label_names(path: str | Path, manifest: pd.DataFrame, source: str | Path) -> list[str]:
    """Read the names of the labels, those of the ``manifest`` that was read from ``source``.

    Raises
    ------
    UserError
        If a file is missing or damaged, or not what dvc.lock says of it, or if the manifest has another label.
    """
    vocabulary = reading.as_names(files.read_json(path, STAGE), path, STAGE)
    known = set(vocabulary)
    for column in ("labels", UNKNOWN_COLUMN):
        for text in manifest[column].unique() if column in manifest else ():
            where = f"a JSON list of labels in every cell of column {column!r}"
            try:
                listed = json.loads(text)
            except (ValueError, RecursionError):
                listed = None
            if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
                raise reading.damaged(source, where, repr(text[:100]), STAGE)
            if foreign := [name for name in listed if name not in known]:
                raise reading.damaged(source, f"labels that {path} names", repr(foreign[0]), STAGE)
    return vocabulary


def targets(manifest: pd.DataFrame, vocabulary: Sequence[str]) -> UInt8Array:
    """Targets of a manifest, uint8 (len(manifest), len(vocabulary)): see `posterity.targets`."""

    def cells(column: str) -> UInt8Array:
        codes, texts = pd.factorize(manifest[column])
        return multi_hot([json.loads(text) for text in texts], vocabulary)[codes]

    found = cells("labels")
    if UNKNOWN_COLUMN in manifest:
        found[cells(UNKNOWN_COLUMN) == 1] = UNKNOWN
    return found


def _with_split_columns(manifest: pd.DataFrame, table: TextTable, form: TableForm) -> pd.DataFrame:
    """Add ``group`` and ``side``, the texts that section ``split`` needs, where the form names such columns."""
    for name, column in (("group", form.group_column), ("side", form.side_column)):
        if column is not None:
            by_line = dict(zip(table.lines, table.columns[column], strict=True))
            manifest[name] = [by_line[line].strip() for line in manifest["line"]]
    return manifest


def _with_ids(table: TextTable, column: str) -> TextTable:
    """The table with white space taken off its ids.

    Raises
    ------
    UserError
        If an id is empty.
    """
    ids = [id_.strip() for id_ in table.columns[column]]
    if blank := [f"line {line}" for line, id_ in zip(table.lines, ids, strict=True) if not id_]:
        raise UserError(
            f"{table.path}: column {column!r} must hold an id in every row. Got an empty cell in "
            f"{shown(blank, PLACES_SHOWN)}. Fill in the id or remove the row."
        )
    return replace(table, columns=table.columns | {column: ids})


def _places(folder: Path, paths: Iterable[str]) -> dict[str, str]:
    """What ``(folder / path).as_posix()`` is for each of ``paths`` but "", in a tenth of its time."""
    prefix = "" if folder == Path() else folder.as_posix().rstrip("/") + "/"
    return {path: prefix + path for path in paths if path}


def _outside_links(
    lines: Sequence[int],
    ids: Sequence[str],
    paths: Sequence[str],
    facts: Mapping[str, ImageFacts | ImageProblem],
    outside: Mapping[str, str],
) -> list[Issue]:
    return [
        Issue("outside_link", line, id_, f"{path}: a link leads out of data.images, to {outside[path]}")
        for line, id_, path in zip(lines, ids, paths, strict=True)
        if path in outside and isinstance(facts[path], ImageFacts)
    ]


def _unlisted(listing: FolderListing, named: set[str]) -> list[Issue]:
    """Files that no row names, and what has an image's name but is no file."""
    issues = []
    for path in sorted({*listing.files, *listing.folders, *listing.odd} - named):
        if is_image_path(path):
            what = listing.odd.get(
                path, "" if path not in listing.folders else "a folder, although named like an image"
            )
            stops = "; `dvc repro` cannot pass it: remove or rename it" if path in listing.odd else ""
            issues.append(
                Issue(
                    "unlisted_image",
                    None,
                    utf8_text(path),
                    "image file without a row" + (f": {what}{stops}" if what else ""),
                )
            )
    return issues


def _label_texts(targets: UInt8Array, vocabulary: Sequence[str]) -> list[str]:
    """Present labels of every row as a JSON list; each distinct combination is written once."""
    known: dict[bytes, str] = {}
    texts = []
    for vector in targets:
        key = vector.tobytes()
        if key not in known:
            known[key] = json.dumps(names(vector, vocabulary), ensure_ascii=False)
        texts.append(known[key])
    return texts

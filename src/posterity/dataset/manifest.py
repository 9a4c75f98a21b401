"""The manifest: the checked table of images, their digests, sizes and labels, beside the list of all problems."""

import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from posterity import files
from posterity.dataset import image_files
from posterity.dataset.checks import duplicate_ids, identical_images, settle_rare_labels, unclear_rows
from posterity.dataset.csv_table import PLACES_SHOWN, TextTable, find_label_columns, read_table, shown
from posterity.dataset.image_files import ImageFacts
from posterity.dataset.image_folder import FolderListing, list_folder, outside_links, printable
from posterity.dataset.issues import Issue, dropped_lines
from posterity.dataset.labels import UInt8Array, multi_hot, names, read_labels
from posterity.dataset.options import Policies, Reading, TableForm
from posterity.errors import UserError
from posterity.pixels.decode import ImageProblem
from posterity.pixels.image_names import is_image_path
from posterity.workers.threads import threads

COLUMNS = ["line", "id", "path", "sha256", "bytes", "width", "height", "labels"]
NUMBERS = {"line": "int64", "bytes": "int64", "width": "int64", "height": "int64"}


@dataclass(frozen=True)
class Manifest:
    """A data set after the checks.

    Attributes
    ----------
    table : DataFrame
        `COLUMNS`, one row per row of the labels CSV that no policy drops and whose image and labels are sound, in the
        order of the CSV. ``labels`` holds a JSON list.
    vocabulary : list of str
        Label names, in the order of the targets.
    issues : list of Issue
        Every problem, whatever its policy.
    num_rows : int
        Rows of the labels CSV.
    """

    table: pd.DataFrame
    vocabulary: list[str]
    issues: list[Issue]
    num_rows: int


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
    table = read_table(labels_csv)
    one_hot_columns = find_label_columns(
        table,
        id_column=form.id_column,
        list_column=form.list_column,
        label_columns=form.label_columns,
        image_column=form.image_column,
    )
    ids, lines = table.columns[form.id_column], table.lines
    blank = [f"line {line}" for line, id_ in zip(lines, ids, strict=True) if not id_.strip()]
    if blank:
        raise UserError(
            f"{labels_csv}: column {form.id_column!r} must hold an id in every row. Got an empty cell in "
            f"{shown(blank, PLACES_SHOWN)}. Fill in the id or remove the row."
        )
    folder = Path(images_folder)
    paths = _image_paths(table, folder, form)
    listing = list_folder(folder)
    targets, vocabulary, issues = read_labels(table, ids, one_hot_columns, form.list_column, form.list_delimiter)

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
    issues += _image_issues(lines, ids, paths, places, facts, listing.files)
    issues += _outside_links(lines, ids, paths, facts, outside_links(folder, listing.links, set(paths)))
    label_texts = _label_texts(targets, vocabulary)
    unclear = unclear_rows(issues)
    for row in np.flatnonzero(~targets.any(axis=1)).tolist():
        if lines[row] not in unclear:
            issues.append(Issue("no_label", lines[row], ids[row], "no label"))
    issues += duplicate_ids(lines, ids, label_texts, issues)
    digests = [found.sha256 if isinstance(found := facts[path], ImageFacts) else "" for path in paths]
    issues += identical_images(lines, ids, label_texts, digests, issues)

    dropped = dropped_lines(issues, policies.on_problem)
    kept = [row for row, line in enumerate(lines) if line not in dropped]
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
        targets, vocabulary = targets[:, ~settled.is_dropped], names(~settled.is_dropped, vocabulary)
        label_texts = _label_texts(targets, vocabulary)
    issues += _unlisted(listing, set(paths))

    sound = []
    for line, id_, path, text in zip(lines, ids, paths, label_texts, strict=True):
        found = facts[path]
        if line not in dropped and line not in unclear and isinstance(found, ImageFacts):
            sound.append((line, id_, places[path], found.sha256, found.bytes, found.width, found.height, text))
    return Manifest(pd.DataFrame(sound, columns=COLUMNS).astype(NUMBERS), vocabulary, issues, len(lines))


def read_manifest(path: str | Path) -> pd.DataFrame:
    """Read a manifest CSV: `COLUMNS`, with line, bytes, width and height as int64 and the rest as text."""
    return files.read_csv(path, **NUMBERS)


def targets(manifest: pd.DataFrame, vocabulary: Sequence[str]) -> UInt8Array:
    """Multi-hot labels of a manifest, uint8 (len(manifest), len(vocabulary))."""
    codes, texts = pd.factorize(manifest["labels"])
    return multi_hot([json.loads(text) for text in texts], vocabulary)[codes]


def _image_paths(table: TextTable, folder: Path, form: TableForm) -> list[str]:
    """Path of every row's image relative to ``folder``, normalised; "" where the image column is empty."""
    column = form.image_column or form.id_column
    cells = table.columns[column]
    if form.image_column:
        written = [cell.strip() for cell in cells]
    else:
        written = [form.image_pattern.replace("{id}", id_) for id_ in cells]
    paths = [posixpath.normpath(path) if path else "" for path in written]
    outside = [
        f"line {line} {cell!r}"
        for line, cell, path in zip(table.lines, cells, paths, strict=True)
        if path.startswith(("/", "../")) or path in ("..", ".")
    ]
    if outside:
        pattern = "" if form.image_column else f" (data.image_pattern: {form.image_pattern!r})"
        raise UserError(
            f"{table.path}: column {column!r} must lead to a file inside data.images = {folder}{pattern}. Got a path "
            f"that does not: {shown(outside, PLACES_SHOWN)}. Write it relative to that folder, without '..'."
        )
    return paths


def _places(folder: Path, paths: Iterable[str]) -> dict[str, str]:
    """What ``(folder / path).as_posix()`` is for each of ``paths`` but "", in a tenth of its time."""
    prefix = "" if folder == Path() else folder.as_posix().rstrip("/") + "/"
    return {path: prefix + path for path in paths if path}


def _image_issues(
    lines: Sequence[int],
    ids: Sequence[str],
    paths: Sequence[str],
    places: Mapping[str, str],
    facts: Mapping[str, ImageFacts | ImageProblem],
    listing: Iterable[str],
) -> list[Issue]:
    by_stem: dict[str, str] = {}
    if any(isinstance(found, ImageProblem) and found.kind == "missing_image" for found in facts.values()):
        by_stem = {posixpath.splitext(name)[0].casefold(): name for name in listing}
    issues = []
    for line, id_, path in zip(lines, ids, paths, strict=True):
        found = facts[path]
        if isinstance(found, ImageProblem):
            detail = f"{places[path]}: {found}" if path else str(found)
            stem = posixpath.splitext(path)[0].casefold()
            # The second try is for ids that carry the suffix already: x.jpg and the pattern {id}.jpg.
            similar = by_stem.get(stem) or by_stem.get(posixpath.splitext(stem)[0])
            hint = f" (there is {similar!r})" if similar and found.kind == "missing_image" else ""
            issues.append(Issue(found.kind, line, id_, detail + hint))
    return issues


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
                    printable(path),
                    "image file without a row" + (f": {what}{stops}" if what else ""),
                )
            )
    return issues


def _label_texts(targets: UInt8Array, vocabulary: Sequence[str]) -> list[str]:
    """Labels of every row as a JSON list; each distinct combination is written once."""
    known: dict[bytes, str] = {}
    texts = []
    for vector in targets:
        key = vector.tobytes()
        if key not in known:
            known[key] = json.dumps(names(vector, vocabulary), ensure_ascii=False)
        texts.append(known[key])
    return texts

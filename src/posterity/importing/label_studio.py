"""Label Studio: its JSON, JSON-MIN and CSV exports (labelstud.io, "Export annotations", "Label Studio JSON format").

What JSON-MIN and CSV write for a control was read in `convert_to_json_min` and `exports/csv2.py` of label-studio-sdk:
one choice is plain text, several are ``{"choices": [...]}``, and regions are a list of mappings, in a column that is
called like the control. Where all cells are plain text, nothing tells such a column from one of the task's own data.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from posterity.dataset.csv_table import read_table, shown
from posterity.errors import UserError
from posterity.importing.imported import ImageNames, ImportedTable, item, listed, read_json
from posterity.pixels.image_names import is_image_path
from posterity.text import json_text, shell_word

# Columns that the exports add themselves.
_OWN = {
    "id", "annotation_id", "annotator", "created_at", "updated_at", "lead_time", "agreement", "completed_by",
    "was_cancelled", "task_id", "sentiment_comment", "history",
}  # fmt: skip
_IMAGES = ("image", "img", "photo", "picture", "image_url", "url", "file", "captioning")


class _Annotation(NamedTuple):
    """An annotation of an image: the labels by control, and why it does not count, or ""."""

    image: str
    labels: dict[str, list[str]]
    reason: str = ""


def label_studio(source: Path, controls: Sequence[str] = ()) -> ImportedTable:
    """Read an export: all labels that were chosen for an image, or drawn on it.

    Cancelled annotations do not count. Where several people have annotated an image, a label counts if at least half of
    them have chosen it.

    Parameters
    ----------
    source : Path
        Export; CSV and TSV are known by their suffix.
    controls : sequence of str
        Names of the controls (columns of CSV and JSON-MIN) whose labels are taken; all of them by default.

    Raises
    ------
    UserError
        If it is no such export, if a control of ``controls`` is not in it, or if it is not clear what a label is: a
        CSV with several columns that may hold labels, or two controls that offer the same label.
    """
    if source.suffix.lower() in (".csv", ".tsv"):
        table = read_table(source, "\t" if source.suffix.lower() == ".tsv" else ",")
        rows = [dict(zip(table.columns, cells, strict=True)) for cells in zip(*table.columns.values(), strict=True)]
        found = _from_rows(rows, [f"{source}, line {line}" for line in table.lines], source, controls)
    else:
        found = _from_json(source, controls)
    names = ImageNames(str(source))
    votes: dict[str, list[list[str]]] = defaultdict(list)
    used: dict[str, set[str]] = defaultdict(set)
    left_out = []
    for image, labels, reason in found:
        if reason:
            left_out.append(f"{image!r}: {reason}")
            continue
        for control, chosen in labels.items():
            used[control].update(chosen)
        votes[names.add(image)].append([label for chosen in labels.values() for label in chosen])
    _check_controls(source, used, controls)
    decided, notes = _by_vote(votes)
    if len(used) > 1:
        notes.insert(
            0, f"the labels of {len(used)} controls are joined: {shown(sorted(used))}; --label-column takes one"
        )
    return listed(decided, notes=names.notes() + notes, left_out=left_out)


def _by_vote(votes: dict[str, list[list[str]]]) -> tuple[dict[str, list[str]], list[str]]:
    """The labels of every image, and what to say about images with several annotations."""
    decided = {}
    differing = []
    for name, given in votes.items():
        counted = Counter(label for labels in given for label in dict.fromkeys(labels))
        decided[name] = [label for label, number in counted.items() if 2 * number >= len(given)]
        if any(set(labels) != set(given[0]) for labels in given):
            differing.append(name)
    several = sum(len(given) > 1 for given in votes.values())
    if not several:
        return decided, []
    note = (
        f"{several:,} images have several annotations, {len(differing):,} of them different ones: a label counts if at "
        f"least half of the annotations have it"
    )
    return decided, [note + (f" (different: {shown(differing, 5)})" if differing else "")]


def _check_controls(source: Path, used: dict[str, set[str]], controls: Sequence[str]) -> None:
    if missing := [name for name in controls if name not in used]:
        raise UserError(
            f"{source}: no label is of the control {', '.join(map(repr, missing))}. Got the controls "
            f"{', '.join(map(repr, sorted(used))) or 'none'}. Correct --label-column."
        )
    by_label: dict[str, str] = {}
    for control, labels in used.items():
        for label in labels:
            other = by_label.setdefault(label, control)
            if other != control:
                raise UserError(
                    f"{source}: the controls {other!r} and {control!r} both have the label {label!r}, so that joined "
                    f"it would mean two things. Name the control to read: --label-column {shell_word(other)}."
                )


def _from_json(source: Path, controls: Sequence[str]) -> Iterator[_Annotation]:
    tasks = read_json(source)
    if not isinstance(tasks, list) or not tasks:
        raise UserError(f"{source}: expected a list of tasks, as Label Studio exports. Got {type(tasks).__name__}.")
    for number, task in enumerate(tasks):
        if not isinstance(task, dict):
            raise UserError(f"{source}, task {number}: expected a mapping. Got {task!r:.60}.")
    if not any("data" in task or "annotations" in task for task in tasks):
        yield from _from_rows(tasks, [f"{source}, task {number}" for number in range(len(tasks))], source, controls)
        return
    for number, task in enumerate(tasks):
        place = f"{source}, task {number}"
        image = _image(item(task, "data", dict, place), place)
        annotations = task.get("annotations", task.get("completions", []))
        if not isinstance(annotations, list) or not all(isinstance(found, dict) for found in annotations):
            raise UserError(f"{place}: expected a list at 'annotations', of mappings. Got {annotations!r:.60}.")
        counted = [found for found in annotations if not (found.get("was_cancelled") or found.get("skipped"))]
        if not counted:
            yield _Annotation(image, {}, "all annotations are cancelled" if annotations else "no annotation")
        for annotation in counted:
            yield _Annotation(image, _chosen(annotation.get("result") or [], place, controls))


def _chosen(result: Any, place: str, controls: Sequence[str]) -> dict[str, list[str]]:
    """The labels of an annotation's ``result``, by control."""
    if not isinstance(result, list) or not all(isinstance(entry, dict) for entry in result):
        raise UserError(f"{place}: expected a list at 'result', of mappings. Got {result!r:.60}.")
    found: dict[str, list[str]] = defaultdict(list)
    for entry in result:
        control, value = str(entry.get("from_name", "")), entry.get("value")
        if isinstance(value, dict) and (not controls or control in controls):
            labels = _labels_of(value)
            if labels is not None:
                found[control] += labels
    return dict(found)


def _labels_of(value: dict[str, Any]) -> list[str] | None:
    """The labels in the value of a region or of choices; None if it has none, as a text or a rating."""
    for key, names in value.items():
        if isinstance(names, list) and (key == "choices" or key.endswith("labels")):
            return [str(name) for name in names]
        if isinstance(names, list) and key == "taxonomy":
            return [" / ".join(map(str, path)) for path in names if isinstance(path, list)]
    return None


def _from_rows(
    rows: Sequence[dict[str, Any]], places: Sequence[str], source: Path, controls: Sequence[str]
) -> Iterator[_Annotation]:
    """Annotations of CSV and JSON-MIN: a row for each, with the labels of a control in the column of its name."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    first = _image_key(rows[0], places[0])
    others = [name for name in columns if name not in _OWN and name != first]
    if missing := [name for name in controls if name not in others]:
        raise UserError(
            f"{source}: no column {', '.join(map(repr, missing))}. Got {', '.join(map(repr, others)) or 'none'} beside "
            f"the image. Correct --label-column."
        )
    if not others:
        raise UserError(f"{source}: expected a column with the choices. Got none beside {first!r}.")
    unclear = [name for name in others if not any(_is_evident(row.get(name)) for row in rows)]
    if len(others) > 1 and unclear and not controls:
        raise UserError(
            f"{source}: cannot tell which columns hold labels and which are data of the tasks: "
            f"{', '.join(map(repr, others))}. Name each that holds labels: --label-column {shell_word(others[0])}. "
            f"The JSON export says it by itself."
        )
    for row, place in zip(rows, places, strict=True):
        image = _image(row, place)
        if row.get("annotation_id", 1) in ("", None):
            yield _Annotation(image, {}, "no annotation")
            continue
        try:
            yield _Annotation(image, {name: _labels_in(row.get(name)) for name in controls or others})
        except ValueError as error:
            yield _Annotation(image, {}, f"{place}: {error}")


def _is_evident(cell: Any) -> bool:
    """Whether only a control writes such a cell: choices, or regions with labels."""
    if isinstance(cell, str) and not cell.lstrip().startswith(("{", "[")):
        return False
    try:
        value = json.loads(cell) if isinstance(cell, str) else cell
    except (ValueError, RecursionError):
        return False
    parts = value if isinstance(value, list) else [value]
    return any(isinstance(one, dict) and _labels_of(one) is not None for one in parts)


def _labels_in(cell: Any) -> list[str]:
    """The labels in a cell of a control: plain text, or what `json.dumps` made of choices or of regions."""
    value = cell
    if isinstance(cell, str):
        if not cell.strip():
            return []
        if not cell.lstrip().startswith(("{", "[")):
            return [cell.strip()]
        try:
            value = json.loads(cell)
        except (ValueError, RecursionError):
            return [cell.strip()]  # a single choice that begins with a bracket
    if value is None:
        return []
    labels: list[str] = []
    for one in value if isinstance(value, list) else [value]:
        names = _labels_of(one) if isinstance(one, dict) else [one] if isinstance(one, str) else None
        if names is None:
            raise ValueError(f"expected choices or labelled regions, got {one!r:.60}")
        labels += names
    return labels


def _image(data: dict[str, Any], place: str) -> str:
    value = data.get(_image_key(data, place))
    if not isinstance(value, str):
        raise UserError(f"{place}: expected the address of an image. Got {value!r:.60}.")
    return value


def _image_key(data: dict[str, Any], place: str) -> str:
    """The key of the image: the one whose text is called like an image file, by preference one of `_IMAGES`."""

    def is_image(value: Any) -> bool:
        name = value.split("?d=")[-1].split("?")[0].replace("\\", "/") if isinstance(value, str) else ""
        return is_image_path(name.rsplit("/", 1)[-1])

    found = [key for key, value in data.items() if is_image(value)]
    named = [key for key in _IMAGES if key in found]
    if named or len(found) == 1:
        return (named or found)[0]
    if found:
        raise UserError(
            f"{place}: several of its data may be the image: {', '.join(map(repr, found))}. Call the right one 'image'."
        )
    # An address without a suffix.
    for key in _IMAGES:
        if isinstance(data.get(key), str) and data[key].strip():
            return key
    raise UserError(f"{place}: expected the address of an image in its data. Got {json_text(data)[:80]}.")

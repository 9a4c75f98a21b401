"""Label Studio: its JSON, JSON-MIN and CSV exports (labelstud.io, "Export annotations", "Label Studio JSON format")."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from posterity.dataset.csv_table import read_table
from posterity.dataset.list_cells import parse_list
from posterity.errors import UserError
from posterity.importing.imported import ImageNames, ImportedTable, item, listed, read_json

# Columns of the exports that are neither the image nor a choice.
_OWN = {
    "id", "annotation_id", "annotator", "created_at", "updated_at", "lead_time", "agreement", "completed_by",
    "was_cancelled", "task_id", "sentiment_comment",
}  # fmt: skip
_IMAGES = ("image", "img", "photo", "picture", "image_url", "url", "file", "captioning")


def label_studio(source: Path) -> ImportedTable:
    """Read an export: all labels that were chosen for an image, or drawn on it.

    Cancelled annotations do not count. Where several people have annotated an image, a label counts if at least half of
    them have chosen it.
    """
    choices = _from_csv(source) if source.suffix.lower() in (".csv", ".tsv") else _from_json(source)
    names = ImageNames(str(source))
    votes: dict[str, list[list[str]]] = defaultdict(list)
    left_out = []
    for image, labels, reason in choices:
        if reason:
            left_out.append(f"{image!r}: {reason}")
        else:
            votes[names.add(image)].append(labels)
    decided = {}
    num_differing = 0
    for name, given in votes.items():
        counted = Counter(label for labels in given for label in dict.fromkeys(labels))
        decided[name] = [label for label, number in counted.items() if 2 * number >= len(given)]
        num_differing += any(set(labels) != set(given[0]) for labels in given)
    notes = names.notes()
    if several := sum(len(given) > 1 for given in votes.values()):
        notes.append(
            f"{several:,} images have several annotations, {num_differing:,} of them different ones: a label counts "
            f"if at least half of the annotations have it"
        )
    return listed(decided, notes=notes, left_out=left_out)


def _from_json(source: Path) -> Iterator[tuple[str, list[str], str]]:
    """Image, labels and why they do not count, for every annotation."""
    tasks = read_json(source)
    if not isinstance(tasks, list) or not tasks:
        raise UserError(f"{source}: expected a list of tasks, as Label Studio exports. Got {type(tasks).__name__}.")
    for number, task in enumerate(tasks):
        place = f"{source}, task {number}"
        if not isinstance(task, dict):
            raise UserError(f"{place}: expected a mapping. Got {task!r:.60}.")
        if "data" not in task and "annotations" not in task:
            yield _minimal(task, place)
            continue
        image = _image(item(task, "data", dict, place), place)
        annotations = task.get("annotations", task.get("completions", []))
        if not isinstance(annotations, list):
            raise UserError(f"{place}: expected a list at 'annotations'. Got {annotations!r:.60}.")
        counted = [found for found in annotations if isinstance(found, dict) and not found.get("was_cancelled")]
        if not counted:
            yield image, [], "no annotation" if not annotations else "all annotations are cancelled"
        for annotation in counted:
            yield image, _labels(annotation.get("result", []), place), ""


def _labels(result: Any, place: str) -> list[str]:
    if not isinstance(result, list):
        raise UserError(f"{place}: expected a list at 'result'. Got {result!r:.60}.")
    found: list[str] = []
    for entry in result:
        kind = entry.get("type") if isinstance(entry, dict) else None
        value = (
            entry.get("value", {}).get(kind)
            if isinstance(entry, dict) and isinstance(entry.get("value"), dict)
            else None
        )
        if kind == "taxonomy" and isinstance(value, list):
            value = [" / ".join(map(str, path)) for path in value if isinstance(path, list)]
        if isinstance(value, list) and (kind == "choices" or str(kind).endswith("labels") or kind == "taxonomy"):
            found += [str(name) for name in value]
    return found


def _minimal(task: dict[str, Any], place: str) -> tuple[str, list[str], str]:
    """A task of JSON-MIN, where choices stand beside the data."""
    image = _image(task, place)
    labels: list[str] = []
    for key, value in task.items():
        if key in _OWN or value == image:
            continue
        if isinstance(value, dict) and isinstance(value.get("choices"), list):
            labels += map(str, value["choices"])
        elif isinstance(value, list):
            for one in value:
                names = (
                    next((one[key] for key in one if key.endswith("labels")), []) if isinstance(one, dict) else [one]
                )
                labels += map(str, names)
        elif isinstance(value, str):
            labels.append(value)
    return image, labels, ""


def _image(data: dict[str, Any], place: str) -> str:
    for key in (*_IMAGES, *data):
        value = data.get(key)
        if isinstance(value, str) and "." in value.rsplit("/", 1)[-1]:
            return value
    raise UserError(f"{place}: expected the address of an image in its data. Got {json.dumps(data)[:80]}.")


def _from_csv(source: Path) -> Iterator[tuple[str, list[str], str]]:
    table = read_table(source, "\t" if source.suffix.lower() == ".tsv" else ",")
    images = [name for name in _IMAGES if name in table.columns]
    if not images:
        raise UserError(f"{source}, line 1: expected a column 'image'. Got {', '.join(map(repr, table.columns))}.")
    chosen = [name for name in table.columns if name not in _OWN and name != images[0]]
    if not chosen:
        raise UserError(f"{source}, line 1: expected a column with the choices. Got none beside {images[0]!r}.")
    for row, image in enumerate(table.columns[images[0]]):
        labels: list[str] = []
        reason = ""
        for name in chosen:
            cell = table.columns[name][row]
            try:
                # One choice is plain text, which may hold any character: there is no delimiter.
                labels += parse_list(cell, "\0")
            except ValueError as error:
                reason = f"line {table.lines[row]}, column {name!r}: {error}"
        yield image, labels, reason

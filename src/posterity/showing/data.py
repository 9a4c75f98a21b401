"""`posterity show data`: the label table as it was read, the counts of the labels, the arrays, and the problems."""

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from posterity import files, reading
from posterity.cache import rows as cached_rows
from posterity.cache.features import FeatureCache
from posterity.cache.tensors import TensorCache
from posterity.dataset import manifest
from posterity.dataset.issues import Issue, count_by_kind, from_table
from posterity.showing import run
from posterity.showing.console import bar, heading, table, text
from posterity.splitting import split_file
from posterity.targets import PRESENT, UNKNOWN, UInt8Array, is_known, is_present

if TYPE_CHECKING:
    from rich.console import Console

ROWS_SHOWN = 5
LABELS_SHOWN = 40  # of the counts; all of them are in metrics/data.json
EXAMPLES_SHOWN = 3
CELLS = ("0", "1", "?")
BAR_WIDTH = 20


def show(console: "Console") -> None:
    """Print the view.

    Raises
    ------
    UserError
        If no stage has read the data yet, or if a file is damaged.
    """
    listed = manifest.read_manifest(run.path("manifest"))
    names = manifest.read_label_names(run.path("labels"), listed, run.path("manifest"))
    targets = manifest.targets(listed, names)
    is_cached = run.path("rows").exists()
    cached = cached_rows.read(run.path("rows")) if is_cached else None
    for line in run.description():
        console.print(text(line))

    heading(console, f"{run.path('manifest')}: {len(listed):,} usable rows, {len(names):,} labels")
    first = listed.head(ROWS_SHOWN)
    _show_rows(console, first["id"].tolist(), _sizes(first), targets[:ROWS_SHOWN], names)
    if len(listed) > ROWS_SHOWN:
        console.print(text(f"... {len(listed) - ROWS_SHOWN:,} more rows", "dim"))

    if cached is not None:
        names, targets = cached.label_names, cached.targets
    heading(console, "Rows that have each label")
    _show_counts(console, targets, names, None if cached is None else _sides(cached))

    heading(console, "Arrays")
    for line in _arrays(cached):
        console.print(text(line))

    heading(console, "Problems")
    _show_problems(console)


def _sizes(listed: pd.DataFrame) -> list[str]:
    return [f"{width} x {height}" for width, height in zip(listed["width"], listed["height"], strict=True)]


def _show_rows(console: "Console", ids: list[str], sizes: list[str], targets: UInt8Array, names: list[str]) -> None:
    """The first rows with as many label columns as fit: 1 = present, 0 = absent, ? = unknown."""
    left = console.width - max(len(text(id_)) for id_ in [*ids, "id"]) - max(map(len, [*sizes, "size"])) - 4
    number = 0
    for name in names:
        left -= len(text(name)) + 2
        if left < 0:
            break
        number += 1
    number = max(number, 1)
    cells = [[CELLS[value] for value in row[:number]] for row in targets]
    rows = [(id_, size, *row) for id_, size, row in zip(ids, sizes, cells, strict=True)]
    titles = [("id", "left"), ("size", "left"), *((name, "right") for name in names[:number])]
    console.print(table(titles, rows))
    if len(names) > number:
        console.print(text(f"... {len(names) - number:,} more labels", "dim"))


def _show_counts(
    console: "Console", targets: UInt8Array, names: list[str], sides: split_file.RowsBySide | None
) -> None:
    present, unknown = is_present(targets), ~is_known(targets)
    with_unknown = bool(unknown.any())
    by_side = {name: rows for name, rows in (sides._asdict() if sides else {}).items() if len(rows)}
    is_ascii = console.options.ascii_only
    order = np.argsort(-present.sum(axis=0), kind="stable").tolist()
    rows = []
    for label in order[:LABELS_SHOWN]:
        count = int(present[:, label].sum())
        share = count / max(len(targets), 1)
        cells = [names[label], f"{count:,}", f"{100 * share:.1f} %"]
        cells += [f"{int(unknown[:, label].sum()):,}"] if with_unknown else []
        cells += [f"{int(present[rows, label].sum()):,}" for rows in by_side.values()]
        rows.append((*cells, bar(share, BAR_WIDTH, is_ascii=is_ascii)))
    titles = ["rows", "share", *(["unknown"] if with_unknown else []), *by_side]
    bars = [] if console.width < 80 else [("", "left")]
    shown = [row if bars else row[:-1] for row in rows]
    console.print(table([("label", "left"), *((title, "right") for title in titles), *bars], shown))
    if len(order) > LABELS_SHOWN:
        more = f"... {len(order) - LABELS_SHOWN:,} more labels; {run.path('data-metrics')} has all of them"
        console.print(text(more, "dim"))
    numbers = np.bincount(present.sum(axis=1)).tolist()
    counted = ", ".join(f"{number}: {rows:,}" for number, rows in enumerate(numbers) if rows)
    console.print(text(f"Rows by number of labels: {counted}"))


def _sides(cached: cached_rows.Rows) -> split_file.RowsBySide | None:
    if not run.path("split").exists():
        return None
    return split_file.read(run.path("split"), cached.index)


def _arrays(cached: cached_rows.Rows | None) -> list[str]:
    """One line for each array on disk: its file, type and shape; or how to make it."""
    if cached is None:
        return [run.not_there("rows", "arrays", "preprocess") or ""]
    cells = f"{PRESENT} = present, 0 = absent" + (f", {UNKNOWN} = unknown" if (cached.targets == UNKNOWN).any() else "")
    lines = [f"{run.path('rows')}/targets.npy: uint8 {cached.targets.shape}, {cells}"]
    if missing := run.not_there("tensors", "pixels", "preprocess"):
        lines.append(missing)
    else:
        pixels = TensorCache(run.path("tensors"))
        shape = (len(pixels), pixels.spec.height, pixels.spec.width, 3)
        size = int(np.prod(shape)) / 1e6
        lines.append(
            f"{run.path('tensors')}: uint8 {shape} in {len(pixels.sha256):,} files, {size:,.0f} MB; "
            f"fit {pixels.spec.fit}, resampling {pixels.spec.resampling}"
        )
    if missing := run.not_there("split", "sides", "split"):
        lines.append(missing)
    if run.path("features").exists():
        content = reading.read_json(run.path("features") / "meta.json", "features")
        if isinstance(content, dict) and content.get("backbones"):
            features = FeatureCache(run.path("features"))
            of = ", ".join(features.backbones)
            vectors = (features.num_rows, 2, features.length)
            lines.append(
                f"{run.path('features')}/features.npy: float32 {vectors}, of the images and mirror images, by {of}"
            )
    return lines


def _show_problems(console: "Console") -> None:
    option = "issues" if run.path("issues").exists() else "known-issues"
    found = from_table(files.read_csv(run.path(option)))
    numbers = {kind: number for kind, number in count_by_kind(found).items() if number}
    if not numbers:
        console.print(text("none"))
        return
    rows = [(kind, f"{number:,}", _examples(found, kind)) for kind, number in numbers.items()]
    console.print(table([("kind", "left"), ("found", "right"), ("for example", "left")], rows))
    console.print(text(f"{run.path(option)} lists all of them.", "dim"))


def _examples(found: list[Issue], kind: str) -> str:
    named = [issue.id for issue in found if issue.kind == kind]
    more = ", ..." if len(named) > EXAMPLES_SHOWN else ""
    return (
        ", ".join(json.dumps(id_, ensure_ascii=False) if " " in id_ else id_ for id_ in named[:EXAMPLES_SHOWN]) + more
    )

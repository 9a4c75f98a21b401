"""`posterity show metrics`: the main figures of every side beside their baseline, and what the last commit had."""

from typing import TYPE_CHECKING, Any

from posterity import files
from posterity.errors import UserError
from posterity.reporting.figures import KNOWN_PRIORS, MEANINGS
from posterity.reporting.since_commit import since_commit
from posterity.showing import run
from posterity.showing.console import heading, number, table, text

if TYPE_CHECKING:
    from rich.console import Console


def show(console: "Console") -> None:
    """Print the view.

    Raises
    ------
    UserError
        If there are no figures, or if a file is damaged.
    """
    figures = _read("metrics")
    if figures is None:
        raise UserError(
            f"{run.path('metrics')} does not exist: no model has been evaluated here. Run `dvc repro`, then "
            "`posterity show metrics` again."
        )
    for line in run.description():
        console.print(text(line))
    _show_side(console, f"Validation: {figures.get('rows_scored', 0):,} images, {_labels(figures)}", figures)
    for option, title, otherwise in (
        ("folds", "Training, by networks that did not see the image", "train.folds: 1 makes no such scores"),
        ("test-metrics", "Test", "split.test_fraction: 0 or split.side_column keeps no image for it"),
    ):
        other = _read(option)
        if other is None:
            console.print(text(f"\n{title}: {run.path(option)} does not exist. `dvc repro` makes it."))
        elif other.get("rows_scored"):
            _show_side(console, f"{title}: {other['rows_scored']:,} images", other)
        else:
            heading(console, f"{title}: no images ({otherwise})")
    _show_training(console)
    _show_since_commit(console)


def _read(option: str) -> dict[str, Any] | None:
    """The content of a metrics file; None if it is not there."""
    place = run.path(option)
    if not place.exists():
        return None
    content = files.read_json(place)
    if not isinstance(content, dict):
        raise UserError(f"{place}: expected a JSON object, as a stage writes it. Got something else. Run `dvc repro`.")
    return content


def _labels(figures: dict[str, Any]) -> str:
    unknown = figures.get("cells_unknown", 0)
    return f"{figures.get('labels_scored', 0):,} labels scored" + (f", {unknown:,} cells unknown" if unknown else "")


def _show_side(console: "Console", title: str, figures: dict[str, Any]) -> None:
    heading(console, title)
    rows: list[tuple[str, ...]] = []
    for name, meaning in MEANINGS.items():
        if not isinstance(figures.get(name), int | float):
            continue
        low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
        interval = "" if low is None or high is None else f"{number(low)} to {number(high)}"
        prior = figures.get(f"{name}_prior", KNOWN_PRIORS.get(name))
        rows.append((name, number(figures[name]), interval, number(prior), meaning))
    titles = [("figure", "left"), ("model", "right"), ("95 % interval", "left"), ("baseline", "right"), ("", "left")]
    if console.width < 100:  # the meanings would be broken into columns of a word
        rows, titles = [row[:-1] for row in rows], titles[:-1]
    console.print(table(titles, rows))
    console.print(text("The baseline answers the label frequencies of the training side to every image.", "dim"))


def _show_training(console: "Console") -> None:
    figures = _read("train-metrics")
    if figures is None:
        return
    heading(console, "Training")
    parts = [f"{figures[name]:,} {what}" for name, what in (("parameters", "weights"),) if name in figures]
    if "kept_epoch" in figures:
        parts.append(f"the weights of epoch {figures['kept_epoch']:g}")
    losses = [
        ("bce", "of the training images"),
        ("val_bce", "of the validation images"),
        ("val_bce_prior", "of the baseline"),
    ]
    parts += [f"binary cross-entropy {figures[name]:.4f} {what}" for name, what in losses if name in figures]
    console.print(text("; ".join(parts)))


def _show_since_commit(console: "Console") -> None:
    heading(console, "Since the last commit")
    console.print(text(since_commit().sentence))
    console.print(text("`posterity verify --against HEAD` compares all figures.", "dim"))

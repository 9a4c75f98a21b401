"""`posterity show label NAME`: how well one label is told, where it goes wrong, and what it is taken for."""

from typing import TYPE_CHECKING

from posterity import model_card, model_decisions
from posterity.cache import rows as cached_rows
from posterity.config.schema import Params
from posterity.evaluation.calibration import reliability_points_checked
from posterity.evaluation.decisions import Decisions
from posterity.evaluation.scored_rows import BoolArray, ScoredRows
from posterity.reporting.confusions import missed
from posterity.reporting.label_figures import LabelFigures, all_labels
from posterity.reporting.selection import picks
from posterity.showing import run, scored
from posterity.showing.console import heading, number, table, text
from posterity.splitting import split_file
from posterity.splitting.groups import groups_of
from posterity.targets import is_known, is_present

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

EXAMPLES = 5  # images of a kind
BINS = 5  # of scores


def show(console: "Console", name: str, params: Params) -> None:
    """Print the view of the label ``name``.

    Raises
    ------
    UserError
        If there is no such label, if no stage has read the data yet, or if a file is damaged.
    """
    cached = cached_rows.read(run.path("rows"))
    name = run.found_name(name, cached.label_names, what="the name of a label", source="`posterity show data`")
    label = cached.label_names.index(name)
    for line in run.description():
        console.print(text(line))
    if absent := run.not_there("split", "sides", "split"):
        console.print(text(absent))
        return
    sides = split_file.read(run.path("split"), cached.index)
    heading(console, f"Label {name}")
    cells = cached.targets[:, label]
    rows = [
        (side, f"{len(numbers):,}", f"{is_present(cells[numbers]).sum():,}", f"{(~is_known(cells[numbers])).sum():,}")
        for side, numbers in sides._asdict().items()
        if len(numbers)
    ]
    titles = [("side", "left"), *((title, "right") for title in ("images", "with the label", "unknown"))]
    console.print(table(titles, rows))

    found = scored.read(cached, sides)
    if found is None or found.decided is None or not run.path("model").exists():
        for option, what, stage in (("scores", "scores", "train"), ("model", "decisions", "evaluate")):
            console.print(text(run.not_there(option, what, stage) or ""))
        return
    decisions = model_decisions.of_card(run.path("model"), model_card.read(run.path("model")))
    figures = all_labels(
        found.rows,
        found.decided,
        decisions.thresholds,
        cached.label_names,
        groups=groups_of(cached.index.iloc[found.numbers]),
        num_samples=params.evaluate.bootstrap_samples,
        seed=params.seed,
    )[label]
    _show_figures(console, figures)
    _show_decisions(console, figures, decisions)
    _show_reliability(console, found.rows, label)
    _show_images(console, found.rows, found.decided, label, cached.index["id"].iloc[found.numbers], cached.label_names)
    _show_confusions(console, found.rows, found.decided, label, cached.label_names)


def _show_figures(console: "Console", figures: LabelFigures) -> None:
    heading(console, f"Scores of the {figures.known:,} validation images in which it is known")
    if figures.average_precision is None:
        console.print(text("All of them have the label, or none: it cannot be scored."))
        return
    between = f"{number(figures.low)} to {number(figures.high)}"
    rows = [
        ("average precision", number(figures.average_precision), between, number(figures.prior)),
        ("area under the ROC curve", number(figures.roc_auc), "", number(0.5)),
        ("mean score", number(figures.mean_score), "", number(figures.prior)),
    ]
    titles = [("figure", "left"), ("model", "right"), ("95 % interval", "left"), ("chance", "right")]
    console.print(table(titles, rows))
    console.print(text(f"Better than chance: {figures.trust}."))


def _show_decisions(console: "Console", figures: LabelFigures, decisions: Decisions) -> None:
    heading(console, "Decisions")
    if decisions.exactly_one:
        console.print(text("Every image gets its likeliest label and no other one (decide.exactly_one: true)."))
    elif figures.threshold > 1:
        console.print(text("The label is never decided on: no threshold reaches what section decide asks for."))
    else:
        method = decisions.calibration.method
        console.print(text(f"Threshold {figures.threshold:.3f}, on probabilities with calibration {method}."))
    wrong, lost = figures.decided - figures.right, figures.support - figures.right
    console.print(
        text(
            f"Decided by thresholds that the image had no part in: {figures.right:,} right, {wrong:,} wrong, {lost:,} "
            f"missed; precision {figures.precision:.3f}, recall {figures.recall:.3f}, F1 {figures.f1:.3f}."
        )
    )


def _show_reliability(console: "Console", rows: ScoredRows, label: int) -> None:
    heading(console, "Scores beside observed frequencies")
    points = reliability_points_checked(rows.of_label(label), BINS)
    cells = [
        (number(score), number(share), f"{count:,.0f}")
        for score, share, count in points[["mean_score", "observed_frequency", "count"]].to_numpy()
    ]
    console.print(table([("mean score", "right"), ("have the label", "right"), ("images", "right")], cells))


def _show_images(
    console: "Console", rows: ScoredRows, decided: BoolArray, label: int, ids: "pd.Series[str]", names: list[str]
) -> None:
    found = picks(rows, decided, label, each=EXAMPLES)
    for title, places in (
        ("Best hits, highest scores", found.hits),
        ("Worst false positives, highest scores", found.false_positives),
        ("Worst false negatives, lowest scores", found.false_negatives),
    ):
        heading(console, title)
        cells = []
        for place in places:
            has = ", ".join(names[column] for column in rows.truth[place].nonzero()[0])
            cells.append((ids.iloc[place], number(rows.scores[place, label]), has or "(no label)"))
        if cells:
            console.print(table([("id", "left"), ("score", "right"), ("labels", "left")], cells))
        else:
            console.print(text("none"))
    console.print(text("`posterity show image ID` shows one of them.", "dim"))


def _show_confusions(console: "Console", rows: ScoredRows, decided: BoolArray, label: int, names: list[str]) -> None:
    heading(console, "Where it is missed")
    about = missed(rows, decided, label)
    if not about.missed:
        console.print(text("Nowhere."))
        return
    console.print(
        text(f"In {about.missed:,} of {about.support:,} images; no wrong label in {about.nothing:,} of them.")
    )
    cells = [
        (names[pair.instead], f"{pair.count:,}", f"{100 * pair.share:.0f} %", f"{100 * usual:.0f} %")
        for pair, usual in zip(about.instead, about.usual, strict=True)
    ]
    titles = [("wrongly decided there", "left"), *((title, "right") for title in ("images", "of those without it"))]
    if cells:
        console.print(table([*titles, ("of all without it", "right")], cells))

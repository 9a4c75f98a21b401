"""`posterity show label NAME`: how well one label is told, where it goes wrong, and what it is taken for."""

from typing import TYPE_CHECKING

from posterity import model_card, model_decisions
from posterity.cache import rows as cached_rows
from posterity.config.schema import Params
from posterity.evaluation.metrics import label_frequencies
from posterity.evaluation.scored_rows import FloatArray
from posterity.showing import run, scored
from posterity.showing.console import heading, number, table, text
from posterity.showing.label_facts import LabelFacts, facts
from posterity.splitting import split_file
from posterity.splitting.groups import groups_of
from posterity.targets import is_known, is_present

if TYPE_CHECKING:
    from rich.console import Console


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
    if missing := run.not_there("split", "sides", "split"):
        console.print(text(missing))
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
    if found is None:
        console.print(text(run.not_there("scores", "scores", "train")))
        return
    frequencies = label_frequencies(cached.targets[sides.train])
    ids = cached.index["id"].iloc[found.numbers].tolist()
    about = facts(
        found.rows,
        label,
        frequencies,
        groups_of(cached.index.iloc[found.numbers]),
        found.decided,
        threshold=params.evaluate.threshold,
        num_samples=params.evaluate.bootstrap_samples,
        seed=params.seed,
    )
    _show_figures(console, about, params.evaluate.threshold)
    if not run.path("model").exists():
        console.print(text(run.not_there("model", "decisions", "evaluate")))
    else:
        _show_decisions(console, about, label, frequencies)
    _show_reliability(console, about)
    _show_images(console, about, found, label, ids, cached.label_names)
    _show_confusions(console, about, name, cached.label_names)


def _show_figures(console: "Console", about: LabelFacts, threshold: float) -> None:
    heading(console, f"Scores of the {about.known:,} validation images in which it is known")
    figures = about.figures
    if "average_precision" not in figures:
        console.print(text("All of them have the label, or none: it cannot be scored."))
        return
    rows = []
    for name, interval, prior in (
        ("average_precision", "map_macro", figures["average_precision_prior"]),
        ("skill", "skill", 0.0),
        ("roc_auc", "", 0.5),
    ):
        low, high = figures.get(f"{interval}_low"), figures.get(f"{interval}_high")
        between = "" if low is None or high is None else f"{number(low)} to {number(high)}"
        rows.append((name.replace("_", " "), number(figures.get(name)), between, number(prior)))
    for name in ("precision", "recall", "f1"):
        rows.append((f"{name} at a score of {threshold:g}", number(figures[name]), "", ""))
    titles = [("figure", "left"), ("model", "right"), ("95 % interval", "left"), ("baseline", "right")]
    console.print(table(titles, rows))


def _show_decisions(console: "Console", about: LabelFacts, label: int, frequencies: FloatArray) -> None:
    place = run.path("model")
    decisions = model_decisions.of_card(place, model_card.read(place))
    threshold = decisions.thresholds[label]
    heading(console, "Decisions")
    if decisions.exactly_one:
        console.print(text("Every image gets its likeliest label and no other one (decide.exactly_one: true)."))
    elif threshold > 1:
        console.print(text("The label is never decided on: no threshold reaches what section decide asks for."))
    else:
        console.print(
            text(f"Threshold {threshold:.3f}, on probabilities with calibration {decisions.calibration.method}.")
        )
    if found := about.decided:
        console.print(
            text(
                f"Decided on thresholds that the image had no part in: {found['right']:,} right, {found['wrong']:,} "
                f"wrong, {found['missed']:,} missed; precision {found['precision']:.3f}, recall {found['recall']:.3f}, "
                f"F1 {found['f1']:.3f}."
            )
        )


def _show_reliability(console: "Console", about: LabelFacts) -> None:
    heading(console, "Scores beside observed frequencies")
    rows = [(number(score), number(share), f"{count:,}") for score, share, count in about.reliability]
    console.print(table([("mean score", "right"), ("have the label", "right"), ("images", "right")], rows))


def _show_images(
    console: "Console", about: LabelFacts, found: scored.Scored, label: int, ids: list[str], names: list[str]
) -> None:
    for title, rows in (
        ("With the label, highest scores", about.best),
        ("With the label, lowest scores", about.missed),
        ("Without the label, highest scores", about.wrong),
    ):
        heading(console, title)
        cells = []
        for row in rows:
            has = ", ".join(names[place] for place in found.rows.truth[row].nonzero()[0])
            cells.append((ids[row], number(found.rows.scores[row, label]), has or "(no label)"))
        if cells:
            console.print(table([("id", "left"), ("score", "right"), ("labels", "left")], cells))
        else:
            console.print(text("none"))
    console.print(text("`posterity show image ID` shows one of them.", "dim"))


def _show_confusions(console: "Console", about: LabelFacts, name: str, names: list[str]) -> None:
    if not about.decided:
        return
    heading(console, "Confused with")
    for sentence, counted in (
        (f"Wrongly decided to be {name}; missed there", about.truly),
        (f"{name} is missed; wrongly decided there", about.instead),
    ):
        listed = ", ".join(f"{names[other]} {rows:,}" for other, rows in counted) or "nothing"
        console.print(text(f"{sentence}: {listed}"))

"""The report as one HTML file that needs nothing else."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from posterity.cache.tensors import TensorCache
from posterity.dataset.issues import KINDS
from posterity.evaluation.decisions import Decisions
from posterity.reporting import charts, confusions, doubts, gallery, label_charts, run_charts, summary
from posterity.reporting.figures import FEW_ROWS
from posterity.reporting.label_figures import LabelFigures
from posterity.reporting.map_picture import map_content
from posterity.reporting.pictures import Thumbnails, data_uri
from posterity.reporting.reproduction import Reproduction
from posterity.reporting.results import Results
from posterity.reporting.seen import Seen
from posterity.reporting.selection import Picks
from posterity.reporting.since_commit import SinceCommit
from posterity.targets import is_known

CONFUSIONS_SHOWN = 15
MOST_DRAWN = 80  # labels of the drawing of average precisions; the table below it has all
DONE = {"keep": "only notes it", "drop": "leaves it out", "fail": "stops"}  # by data.on_problem


def render(
    results: Results,
    labels: Sequence[LabelFigures],
    picked: Mapping[int, Picks],
    cache: TensorCache,
    *,
    decisions: Decisions,
    objective: str,
    policies: Mapping[str, str],
    learning_rates: Sequence[float],
    model: Seen,
    since: SinceCommit,
    reproduction: Reproduction,
    seed: int,
) -> str:
    """Write the page.

    Parameters
    ----------
    results : Results
        The run.
    labels : sequence of LabelFigures
        All labels, in their order.
    picked : mapping
        Rows of every label that are worth a look, by its column.
    cache : TensorCache
        The images.
    decisions : Decisions
        Calibration and thresholds of the finished model.
    objective : str
        What the thresholds were chosen for: ``decide.thresholds`` of params.yaml.
    policies : mapping of str to str
        What is done about each kind of problem: ``data.on_problem`` of params.yaml.
    learning_rates : sequence of float
        One for each line of the history.
    model, since, reproduction, seed
        What the network computes, what has changed since the last commit, and how the run is made again.

    Returns
    -------
    str
        HTML with everything inside; the same arguments give the same text.
    """
    names, thumbnails = results.label_names, Thumbnails(cache)
    image_size = (cache.spec.height, cache.spec.width)
    confused = confusions.confusions(results.scored, results.decided, most=CONFUSIONS_SHOWN)
    shown = gallery.shown_labels(labels)
    sides = {"train": results.sides.train, "validation": results.sides.validation, "test": results.sides.test}
    explanations = [
        {**found, "image": data_uri(found["image"]), "overlay": data_uri(found["overlay"])}
        for found in model.explanations
    ]
    unknown = (~is_known(results.cached.targets)).sum(axis=0)
    context = {
        "since": since,
        "headline": summary.headline(results.metrics.evaluate, exactly_one=decisions.exactly_one),
        "rows_scored": results.metrics.evaluate["rows_scored"],
        "test": summary.headline(results.metrics.test, exactly_one=decisions.exactly_one) if sides["test"].size else [],
        "test_rows": int(sides["test"].size),
        "in_short": summary.in_short(results.metrics.evaluate, labels, confused, names),
        "sides": {side: len(rows) for side, rows in sides.items()},
        "image_size": image_size,
        "num_rows": len(results.cached),
        "num_labels": len(names),
        "problems": [
            {**issue, "fix": KINDS[issue["kind"]].fix, "policy": DONE[policies[issue["kind"]]]}
            for issue in results.metrics.data["issues"]
            if issue["found"]
        ],
        "torn": doubts.torn_copies(results),
        "unknown": [(name, int(count)) for name, count in zip(names, unknown, strict=True) if count],
        "contact_sheet": gallery.contact_sheet(results, thumbnails),
        "most_names": run_charts.MOST_NAMES,
        "charts": {
            "training": charts.svg("training", run_charts.training_curve(results.history, learning_rates)),
            "counts": charts.svg("counts", run_charts.label_counts(results.cached.targets, sides, names)),
            "together": charts.svg("together", run_charts.co_occurrence(results.cached.targets, names)),
            "sizes": charts.svg("sizes", run_charts.image_sizes(results.sizes, *image_size)),
            "reliability": charts.svg("reliability", run_charts.reliability(_reliability(results, decisions))),
            "labels": charts.svg("labels", label_charts.average_precisions(_ranked(labels)[:MOST_DRAWN])),
        },
        "train": results.metrics.train,
        "validation": results.metrics.evaluate,
        "networks": int(results.history["network"].nunique()),
        "phases": int(results.history["phase"].nunique()),
        "calibration": decisions.calibration.method,
        "objective": objective,
        "exactly_one": decisions.exactly_one,
        "expected": float(results.scored.cells()[1].sum() / len(results.scored)),
        "observed": float(results.scored.cells()[0].sum() / len(results.scored)),
        "folds": results.metrics.folds if results.metrics.folds.get("rows_scored") else None,
        "labels": _ranked(labels),
        "few_rows": FEW_ROWS,
        "details": [
            {
                "figures": label,
                "chart": "" if label.average_precision is None else _curves(results, label),
                "kinds": _kinds(results, thumbnails, picked[label.column], label.column),
                "missed": confusions.missed(results.scored, results.decided, label.column),
            }
            for label in _ranked(shown)
        ],
        "names": names,
        "confused": confused,
        "usual": confusions.usual(results.scored, results.decided),
        "prior_entropy": float(doubts.entropy(results.frequencies[None])[0]),
        "num_cells": len(results.sides.train) * len(names),
        "suspects": [doubts.suspects(results, thumbnails, labels, given=given) for given in (1, 0)],
        "num_suspects": len(results.suspects),
        "copies": doubts.copies(results, thumbnails),
        "num_copies": sum(issue["found"] for issue in results.metrics.data["issues"] if issue["kind"] in doubts.COPIES),
        "unlabelled": model.unlabelled,
        "to_label": doubts.to_label_next(model.unlabelled, names),
        "method": model.method,
        "explanations": explanations,
        "map": map_content(results, cache, model.image_map),
        "explained": model.image_map.explained,
        "reproduction": reproduction,
        "seed": seed,
    }
    return _environment().get_template("report.html.j2").render(context) + "\n"


def _reliability(results: Results, decisions: Decisions) -> pd.DataFrame:
    """Without calibration, both of its curves are one."""
    points = results.reliability
    return points[points["scores"] == "raw"] if decisions.calibration.method == "off" else points


def _ranked(labels: Sequence[LabelFigures]) -> list[LabelFigures]:
    best_first = sorted(labels, key=lambda label: -(label.average_precision or 0.0))
    return sorted(best_first, key=lambda label: label.average_precision is None)


def _curves(results: Results, label: LabelFigures) -> Markup:
    return charts.svg(f"label-{label.column}", label_charts.curves(results.scored, label))


def _kinds(results: Results, thumbnails: Thumbnails, picks: Picks, column: int) -> list[dict[str, Any]]:
    kinds = (
        ("Best hits", "has it, decided", picks.hits),
        ("Worst false positives", "does not have it, decided", picks.false_positives),
        ("Worst false negatives", "has it, not decided", picks.false_negatives),
    )
    return [
        {"title": title, "meaning": meaning, "pictures": gallery.pictures(results, thumbnails, places, column)}
        for title, meaning, places in kinds
    ]


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("posterity.reporting", "template"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters |= {"decimals": _decimals, "as_json": _as_json}
    return made


def _decimals(value: float | None, digits: int = 2) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def _as_json(value: Any) -> str:
    """A value of params.yaml in one line, as it may be written there."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)

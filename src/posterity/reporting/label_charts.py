"""Charts of labels: all of them side by side, and the curves of one."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from posterity.evaluation import calibration, label_figures
from posterity.evaluation.scored_rows import ScoredRows
from posterity.reporting.charts import FIRST, INK, MUTED, SECOND, Spec, axis, category
from posterity.reporting.label_figures import LabelFigures

POINTS = 40  # of a precision-recall curve: enough for a drawing of 200 pixels
BINS = 8  # of a label's own reliability: it has fewer cells than all labels together


def average_precisions(labels: Sequence[LabelFigures]) -> Spec:
    """Average precision of every label with its interval, beside that of constant scores."""
    values = [
        {
            "label": label.name,
            "rows": f"{label.support} rows",
            "value": label.average_precision,
            "low": label.low,
            "high": label.high,
            "prior": label.prior,
        }
        for label in labels
    ]
    y = category("label", axis={"grid": True, "ticks": False, "domain": False, "labelColor": INK, "gridDash": [1, 3]})
    x = {"scale": {"domain": [0, 1]}}
    return {
        "width": 480,
        "height": {"step": 20},
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "rule", "color": FIRST, "strokeWidth": 2, "opacity": 0.45},
                "encoding": {"y": y, "x": axis("low", "average precision", **x), "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 55, "color": FIRST, "opacity": 1},
                "encoding": {"y": y, "x": axis("value", "average precision", **x)},
            },
            {
                "mark": {"type": "tick", "color": SECOND, "thickness": 2.5, "size": 13},
                "encoding": {"y": y, "x": axis("prior", "average precision", **x)},
            },
        ],
    }


def curves(rows: ScoredRows, label: LabelFigures) -> Spec:
    """Precision-recall curve and reliability of one label."""
    one = rows.of_label(label.column)
    points = label_figures.precision_recall_points_checked(one, ["label"], POINTS).round(4)
    # Where nothing is decided, recall is 0, and precision is 1 by convention only.
    points = points[points["recall"] > 0]
    reliability = calibration.reliability_points_checked(one, BINS).round(4)
    return {"hconcat": [_precision_recall(points, label.prior), _reliability(reliability)], "spacing": 28}


def _precision_recall(points: pd.DataFrame, prior: float) -> Spec:
    unit = {"scale": {"domain": [0, 1]}, "axis": {"values": [0, 0.5, 1]}}
    return {
        "width": 170,
        "height": 150,
        "layer": [
            {
                "data": {"values": points[["recall", "precision"]].to_dict("records")},
                "mark": {"type": "line", "interpolate": "step-before", "color": FIRST, "strokeWidth": 2},
                "encoding": {"x": axis("recall", "recall", **unit), "y": axis("precision", "precision", **unit)},
            },
            {
                "data": {"values": [{"prior": round(prior, 4)}]},
                "mark": {"type": "rule", "color": SECOND, "strokeDash": [4, 3]},
                "encoding": {"y": axis("prior", "precision", **unit)},
            },
        ],
    }


def _reliability(points: pd.DataFrame) -> Spec:
    top = float(max(0.05, np.ceil(20 * points[["mean_score", "observed_frequency"]].to_numpy().max()) / 20))
    x = {"scale": {"domain": [0, top]}, "axis": {"values": [0, round(top / 2, 3), top]}}
    names = {"x": axis("mean_score", "mean score", **x), "y": axis("observed_frequency", "observed share", **x)}
    ends = [{"mean_score": 0, "observed_frequency": 0}, {"mean_score": top, "observed_frequency": top}]
    values = points[["mean_score", "observed_frequency", "count"]].to_dict("records")
    return {
        "width": 170,
        "height": 150,
        "layer": [
            {
                "data": {"values": ends},
                "mark": {"type": "line", "color": MUTED, "strokeDash": [4, 3]},
                "encoding": names,
            },
            # Two dots are no curve.
            {
                "data": {"values": values if len(values) > 2 else []},
                "mark": {"type": "line", "color": FIRST},
                "encoding": names,
            },
            {
                "data": {"values": values},
                "mark": {"type": "circle", "color": FIRST, "opacity": 1, "stroke": MUTED},
                "encoding": names | {"size": axis("count", None, scale={"range": [12, 120]}, legend=None)},
            },
        ],
    }

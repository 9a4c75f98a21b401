"""Charts of a run: its training, its data, its folds."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity.reporting.charts import FIRST, INK, LINE, MUTED, SECOND, THIRD, Spec, axis, category, records
from posterity.targets import is_present

MOST_NAMES = 40  # labels that one drawing can hold
EXTENT = 52  # room for the numbers beside an axis, in pixels: the same for charts above each other
SIDES = ("train", "validation", "test")


def training_curve(history: pd.DataFrame, learning_rates: Sequence[float]) -> Spec:
    """Losses per epoch beside that of the label frequencies; the learning rate below.

    Parameters
    ----------
    history : DataFrame
        ``network``, ``phase``, ``epoch``, ``bce``, ``val_bce``, ``val_bce_prior``; several networks are drawn on top of
        each other.
    learning_rates : sequence of float
        At the end of each line of ``history``.
    """
    table = history.assign(learning_rate=list(learning_rates))
    lines = [
        {"network": int(line["network"]), "epoch": int(line["epoch"]), "curve": curve, "value": float(value)}
        for line in table.to_dict("records")
        for curve, value in (("training", line["bce"]), ("validation", line["val_bce"]))
    ]
    prior = float(history["val_bce_prior"].iloc[0])
    values = np.array([line["value"] for line in lines])
    # The first epochs often lie far above the prior: what matters happens below it.
    bottom = min(values.min(), prior)
    top = min(max(values.max(), prior), prior + 0.6 * (prior - bottom) + 0.02 * prior)
    pad = 0.04 * (top - bottom)
    heights = {"domain": [bottom - pad, top + pad], "nice": False}
    several = history["network"].nunique() > 1
    epoch = {"field": "epoch", "type": "quantitative", "axis": {"format": "d", "tickMinStep": 1, "grid": False}}
    ends = table.groupby("phase", sort=False)["epoch"].max().astype(int).tolist()[:-1]
    curves: Spec = {
        "width": 620,
        "height": 240,
        "layer": [
            {
                "data": {"values": [{"prior": prior, "text": f"label frequencies {prior:.4f}"}]},
                "layer": [
                    {
                        "mark": {"type": "rule", "color": MUTED, "strokeDash": [5, 4]},
                        "encoding": {"y": axis("prior", "binary cross-entropy", scale=heights)},
                    },
                    {
                        "mark": {"type": "text", "align": "right", "baseline": "bottom", "dy": -3, "color": MUTED},
                        "encoding": {
                            "y": axis("prior", "binary cross-entropy", scale=heights),
                            "x": {"value": 618},
                            "text": {"field": "text"},
                        },
                    },
                ],
            },
            {
                "data": {"values": lines},
                "mark": {
                    "type": "line",
                    "clip": True,
                    "strokeWidth": 1.2 if several else 2,
                    "opacity": 0.7 if several else 1,
                    "point": {"size": 22, "filled": True} if not several else False,
                },
                "encoding": {
                    "x": {**epoch, "title": None},
                    "y": axis("value", "binary cross-entropy", scale=heights, axis={"minExtent": EXTENT}),
                    "color": category(
                        "curve",
                        scale={"domain": ["training", "validation"], "range": [FIRST, SECOND]},
                    ),
                    "detail": {"field": "network"},
                },
            },
        ],
    }
    if ends:
        curves["layer"].append(
            {
                "data": {"values": [{"end": end + 0.5} for end in ends]},
                "mark": {"type": "rule", "color": LINE, "strokeWidth": 2},
                "encoding": {"x": axis("end", None)},
            }
        )
    rates = table.drop_duplicates(["network", "epoch"])
    below: Spec = {
        "width": 620,
        "height": 60,
        "data": {
            "values": records(
                epoch=rates["epoch"].astype(int).tolist(),
                rate=rates["learning_rate"].astype(float).tolist(),
                network=rates["network"].astype(int).tolist(),
            )
        },
        "mark": {"type": "line", "color": THIRD, "strokeWidth": 1.5, "point": {"size": 14, "color": THIRD}},
        "encoding": {
            "x": {**epoch, "title": "epoch"},
            "y": axis("rate", "learning rate", axis={"format": "~g", "tickCount": 2, "minExtent": EXTENT}),
            "detail": {"field": "network"},
        },
    }
    return {"vconcat": [curves, below], "spacing": 8, "resolve": {"scale": {"x": "shared"}}}


def label_counts(targets: npt.NDArray[np.uint8], sides: dict[str, npt.NDArray[np.int64]], names: Sequence[str]) -> Spec:
    """Rows that have each label, per side, most frequent label first.

    Parameters
    ----------
    targets : ndarray of uint8, shape (num_rows, num_labels)
        Multi-hot labels of all cached rows.
    sides : dict
        Row numbers of every side.
    names : sequence of str
        Labels; the `MOST_NAMES` most frequent are drawn.
    """
    present = is_present(targets)
    order = np.argsort(-present.sum(axis=0), kind="stable")[:MOST_NAMES]
    values = [
        {"label": names[column], "side": side, "rows": int(present[rows, column].sum()), "order": number}
        for number, side in enumerate(SIDES)
        for rows in [sides[side]]
        if len(rows)
        for column in order
    ]
    shown = [side for side in SIDES if len(sides[side])]
    return {
        "width": 420,
        "height": {"step": 17},
        "data": {"values": values},
        "mark": {"type": "bar", "height": 11},
        "encoding": {
            "y": category("label", axis={"grid": False, "ticks": False, "domain": False, "labelColor": INK}),
            "x": axis("rows", "rows that have the label"),
            "color": category("side", scale={"domain": shown, "range": [FIRST, SECOND, THIRD][: len(shown)]}),
            "order": {"field": "order", "type": "quantitative"},
        },
    }


def co_occurrence(targets: npt.NDArray[np.uint8], names: Sequence[str]) -> Spec:
    """Of the rows that have the label of a line, the share that also has the label of a column, in percent."""
    present = is_present(targets).astype(np.int64)
    counts = present.sum(axis=0)
    order = np.argsort(-counts, kind="stable")[:MOST_NAMES]
    shared = present.T @ present
    values = [
        {
            "line": names[row],
            "column": names[column],
            "share": float(shared[row, column] / counts[row]),
            "text": f"{100 * shared[row, column] / counts[row]:.0f}",
        }
        for row in order
        for column in order
        if row != column and counts[row]
    ]
    sorted_names = [names[column] for column in order]
    names_only: Spec = {"domain": False, "ticks": False, "labelColor": INK}
    base: Spec = {
        "x": category("column", axis=names_only | {"orient": "top", "labelAngle": -60}) | {"sort": sorted_names},
        "y": category("line", axis=names_only) | {"sort": sorted_names},
    }
    return {
        "width": {"step": 24},
        "height": {"step": 20},
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "rect", "color": FIRST},
                "encoding": base
                | {"fillOpacity": axis("share", None, scale={"domain": [0, 1], "range": [0.03, 0.85]}, legend=None)},
            },
            {"mark": {"type": "text", "fontSize": 9}, "encoding": base | {"text": {"field": "text"}}},
        ],
    }


def image_sizes(sizes: npt.NDArray[np.int64], height: int, width: int) -> Spec:
    """Width and height of the image files, and the size they are brought to.

    Parameters
    ----------
    sizes : ndarray of int64, shape (num_rows, 2)
        Width and height of every file.
    height, width : int
        Of the network's input.
    """
    different, counts = np.unique(sizes, axis=0, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:2000]
    values = records(width=different[most, 0].tolist(), height=different[most, 1].tolist(), files=counts[most].tolist())
    encoding = {"x": axis("width", "width, pixels"), "y": axis("height", "height, pixels")}
    return {
        "width": 300,
        "height": 260,
        "layer": [
            {
                "data": {"values": values},
                "mark": {"type": "circle", "color": FIRST, "opacity": 0.45},
                "encoding": encoding
                | {"size": axis("files", "files", scale={"range": [12, 300]}, legend={"values": _ends(counts)})},
            },
            {
                "data": {"values": [{"width": width, "height": height}]},
                "mark": {"type": "point", "shape": "cross", "size": 120, "color": SECOND, "filled": True, "opacity": 1},
                "encoding": encoding,
            },
        ],
    }


def folds(parts: Sequence[dict[str, float | str]]) -> Spec:
    """Skill of every part that was scored by networks that did not see it."""
    return {
        "width": 420,
        "height": {"step": 22},
        "data": {"values": list(parts)},
        "mark": {"type": "point", "filled": True, "size": 70, "color": FIRST},
        "encoding": {
            "y": category("part", axis={"labelColor": INK, "ticks": False, "domain": False}),
            "x": axis("skill", "skill", scale={"zero": False}),
        },
    }


def _ends(counts: npt.NDArray[np.int64]) -> list[int]:
    return sorted({int(counts.min()), int(counts.max())})


def reliability(points: pd.DataFrame) -> Spec:
    """Observed share of the cells that were given about the same score, before and after calibration.

    Parameters
    ----------
    points : DataFrame
        ``mean_score``, ``observed_frequency``, ``count`` and ``scores`` (raw or calibrated), as
        metrics/plots/reliability.csv has them.
    """
    names = {
        "x": axis("mean_score", "mean score", scale={"domain": [0, 1]}),
        "y": axis("observed_frequency", "share that has the label", scale={"domain": [0, 1]}),
    }
    colour = category("scores", scale={"domain": ["raw", "calibrated"], "range": [SECOND, FIRST]})
    return {
        "width": 300,
        "height": 260,
        "layer": [
            {
                "data": {"values": [{"mean_score": end, "observed_frequency": end} for end in (0, 1)]},
                "mark": {"type": "line", "color": MUTED, "strokeDash": [4, 3]},
                "encoding": names,
            },
            {
                "data": {"values": points.to_dict("records")},
                "mark": {"type": "line", "strokeWidth": 2},
                "encoding": names | {"color": colour},
            },
            {
                "data": {"values": points.to_dict("records")},
                "mark": {"type": "circle", "opacity": 1},
                "encoding": names
                | {"color": colour, "size": axis("count", None, scale={"range": [15, 160]}, legend=None)},
            },
        ],
    }

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from label_examples import figures
from posterity.evaluation.scored_rows import checked
from posterity.reporting import charts, label_charts, run_charts

HOSTILE = '</svg><script>alert(1)</script> id="x" & <b>'


def texts(drawn):
    return [element.text for element in ElementTree.fromstring(drawn).iter() if element.tag.endswith("}text")]


def bars(labels):
    spec = run_charts.label_counts(
        np.array([[1, 0], [1, 1], [0, 2]], np.uint8),
        {"train": np.array([0, 1]), "validation": np.array([2]), "test": np.array([], dtype=np.int64)},
        labels,
    )
    return spec, charts.svg("bars", spec)


def test_names_stay_text_in_a_drawing():
    spec, drawn = bars([HOSTILE, "B"])
    assert "<script" not in drawn
    assert any(text and text.startswith("</svg><script>alert(1)") for text in texts(drawn))
    assert 'id="x"' in "".join(filter(None, texts(drawn)))  # only ids of elements get another name
    assert [(line["label"], line["side"], line["rows"]) for line in spec["data"]["values"]] == [
        (HOSTILE, "train", 2), ("B", "train", 1), (HOSTILE, "validation", 0), ("B", "validation", 0),
    ]  # fmt: skip


def test_a_drawing_is_the_same_every_time_and_its_ids_are_its_own():
    history = pd.DataFrame(
        {
            "network": [1, 1, 1],
            "phase": ["head", "finetune", "finetune"],
            "epoch": [1, 2, 3],
            "bce": [0.5, 0.3, 0.2],
            "val_bce": [0.4, 0.3, 0.25],
            "val_bce_prior": [0.35] * 3,
        }
    )
    spec = run_charts.training_curve(history, [0.1, 0.01, 0.001])
    first, second = charts.svg("first", spec), charts.svg("first", spec)
    assert first == second
    ids = re.findall(r'\bid="([^"]+)"', first)
    assert ids
    assert all(name.startswith("first-") for name in ids)
    assert set(re.findall(r"url\(#([^)]+)\)", first)) == set(ids)
    assert "label frequencies 0.3500" in texts(first)
    # The line between the phases, after the only epoch of the first one.
    assert spec["vconcat"][0]["layer"][-1]["data"]["values"] == [{"end": 1.5}]


def test_colours_are_those_of_the_page():
    _, drawn = bars(["A", "B"])
    assert "var(--mark-1)" in drawn
    assert not re.search(r"#[0-9a-fA-F]{6}\b", drawn)


def test_shares_of_labels_that_occur_together():
    targets = np.array([[1, 1], [1, 0], [1, 0], [1, 0]], np.uint8)
    values = run_charts.co_occurrence(targets, ["A", "B"])["data"]["values"]
    assert {(cell["line"], cell["column"]): cell["share"] for cell in values} == {("A", "B"): 0.25, ("B", "A"): 1.0}


@pytest.mark.parametrize("number", [1, 3])
def test_every_chart_can_be_drawn_of_few_rows(number):
    y_true = np.eye(max(2, number), number, dtype=np.uint8)
    labels = figures(y_true, 0.2 + 0.6 * y_true)
    judged = [label for label in labels if label.average_precision is not None]
    rows = checked(y_true, 0.2 + 0.6 * y_true)
    for spec in (
        label_charts.average_precisions(labels),
        label_charts.curves(rows, judged[0]),
        run_charts.image_sizes(np.array([[30, 40]] * number), 400, 300),
        run_charts.co_occurrence(y_true, [label.name for label in labels]),
    ):
        assert ElementTree.fromstring(charts.svg("any", spec)).tag.endswith("}svg")

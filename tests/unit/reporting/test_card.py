"""The model card: what Hugging Face reads of it, and that no text from data becomes Markdown, HTML or YAML."""

import dataclasses
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from posterity.reporting.card import model_card
from posterity.reporting.card_facts import CardFacts
from posterity.reporting.hub_format import ANY_IMAGES, LICENSES, TASK
from posterity.reporting.results import RunMetrics
from posterity.text import printable

HOSTILE = [
    "a|b",
    "`c` *d* _e_ [f](javascript:g)",
    "<script>alert(1)</script> &amp;",
    "---\nlicense: x",
    "\x1b[31m#!$~\\",
]
LINE: dict[str, Any] = {"average_precision": 0.5, "average_precision_prior": 0.25, "roc_auc": 0.75, "f1": 0.4}
CAT = {"label": "cat", "support": 4, "roc_auc": float("nan"), "decide_threshold": 0.5}
FACTS = CardFacts(
    label_names=["cat", "dog"],
    network="compact_cnn",
    backbones=[],
    image={"height": 400, "width": 300, "fit": "stretch", "resampling": "area"},
    decisions={"calibration": {"method": "platt"}, "at_least_one": True},
    metrics=RunMetrics(
        data={
            "rows_cached": 1000,
            "rows_dropped": 2,
            "issues": [{"kind": "no_label", "found": 3}, {"kind": "rare_label", "found": 0}],
        },
        split={"rows": {"train": 900, "validation": 100}},
        train={"parameters": 12345, "bce": 0.1, "val_bce": 0.2, "val_bce_prior": 0.4},
        evaluate={
            "rows_scored": 100, "skill": 0.5, "skill_low": 0.4, "skill_high": 0.6, "bce": 0.2, "bce_prior": 0.4,
            "map_macro": 0.8, "map_macro_low": 0.7, "map_macro_high": 0.9, "map_macro_prior": 0.25,
        },
        folds={"rows_scored": 0},
        test={"rows_scored": 0},
    ),
    per_label=[{"label": "dog", "support": 12, "decide_threshold": 2.0} | LINE, CAT],
    changed={"train.epochs": (10, 20), "model.backbone": (["EfficientNetB0"], ("a", "b"))},
    digests={"data/rows": "md5 0a1b"},
    versions={"keras": "3.15.1"},
)  # fmt: skip


def parts(text):
    """Front matter as YAML content, and the rest."""
    before, head, body = text.split("---\n", 2)
    assert before == ""
    return yaml.safe_load(head), body


def tables(body):
    """Texts of the cells, row by row, of every table, as a reader of GitHub's or the Hub's Markdown sees them."""
    found = []
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    for place, token in enumerate(tokens):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("td_open", "th_open"):
            found[-1][-1].append("".join(child.content for child in tokens[place + 1].children or []))
    return found


def test_the_front_matter_has_the_documented_fields():
    head, _ = parts(model_card(dataclasses.replace(FACTS, license="Apache-2.0", dataset_name="me/posters")))
    assert head["license"] == "apache-2.0"
    assert head["license"] in LICENSES
    assert (head["library_name"], head["pipeline_tag"]) == ("keras", TASK)
    assert head["datasets"] == ["me/posters"]
    assert head["metrics"] == ["average_precision"]
    [model] = head["model-index"]
    [result] = model["results"]
    assert model["name"]
    assert result["task"]["type"] == TASK
    assert result["dataset"] == {"type": "me/posters", "name": "me/posters", "split": "validation"}
    assert result["metrics"] == [{"type": "average_precision", "name": "macro mAP", "value": 0.8}]


def test_what_is_not_stated_is_left_out_and_said_to_be():
    head, body = parts(model_card(FACTS))
    assert not {"license", "datasets"} & set(head)
    assert head["model-index"][0]["results"][0]["dataset"]["type"] == ANY_IMAGES
    assert "as stated in `report.license` of params.yaml: not stated." in body


@pytest.mark.parametrize(
    ("license", "expected"),
    [("MIT", ("mit", None)), ("My Own (v2)", ("other", "my-own-v2")), ("Ω: x\n", ("other", "x"))],
)
def test_a_licence_that_the_hub_does_not_know_has_a_name(license, expected):
    head, _ = parts(model_card(dataclasses.replace(FACTS, license=license)))
    assert (head["license"], head.get("license_name")) == expected


def test_a_data_set_that_is_on_no_hub_is_named_but_not_listed():
    head, body = parts(model_card(dataclasses.replace(FACTS, dataset_name="my: photos # 'x'")))
    assert "datasets" not in head
    assert head["model-index"][0]["results"][0]["dataset"] == {
        "type": ANY_IMAGES,
        "name": "my: photos # 'x'",
        "split": "validation",
    }
    assert "Data set: my: photos \\# 'x'." in body


def test_the_figures_have_intervals_and_the_baseline():
    _, body = parts(model_card(FACTS))
    changed, figures, labels, digests = tables(body)
    assert changed[1:] == [["train.epochs", "20", "10"], ["model.backbone", '["a", "b"]', '["EfficientNetB0"]']]
    assert figures[1] == [
        "skill: share of the baseline's loss that is saved; 1 = perfect",
        "0.500",
        "0.400 to 0.600",
        "0.000",
    ]
    assert figures[3] == ["map_macro: average precision, mean over the labels", "0.800", "0.700 to 0.900", "0.250"]
    assert labels[1:] == [
        ["dog", "12", "0.500", "0.250", "0.750", "0.400", "never"],
        ["cat", "4", "-", "-", "-", "-", "0.500"],
    ]
    assert digests[1] == ["data/rows", "md5 0a1b"]
    assert "fewer than 10 positive validation images, so that their figures say little: cat." in body
    assert "no_label` 3." in body
    assert "rare_label" not in body


def test_the_test_side_is_a_result_of_its_own():
    test = {"rows_scored": 50, "map_macro": 0.7, "f1_macro_tuned": 0.6}
    head, body = parts(model_card(dataclasses.replace(FACTS, metrics=dataclasses.replace(FACTS.metrics, test=test))))
    results = head["model-index"][0]["results"]
    assert [result["dataset"]["split"] for result in results] == ["validation", "test"]
    assert [metric["value"] for metric in results[1]["metrics"]] == [0.7, 0.6]
    assert head["metrics"] == ["average_precision", "f1"]
    assert "### Test, 50 images" in body
    assert "No image was kept for a test" not in body


def test_the_licence_of_a_backbone_is_that_which_is_stated():
    facts = dataclasses.replace(FACTS, network="backbone", backbones=["EfficientNetB0"], backbone_license="Apache-2.0")
    assert "`report.backbone_license`: Apache-2.0." in model_card(facts)
    assert "`report.backbone_license`: not stated." in model_card(dataclasses.replace(facts, backbone_license=None))
    assert "no pretrained weights are in it" in model_card(FACTS)


def test_names_from_data_stay_text():
    lines = [{"label": name, "support": 4, "decide_threshold": 0.5} | LINE for name in HOSTILE]
    decisions = {"calibration": {"method": "off"}, "at_least_one": False}
    facts = dataclasses.replace(
        FACTS, label_names=HOSTILE, per_label=lines, decisions=decisions, dataset_name=HOSTILE[3], license=HOSTILE[3],
        changed={"data.id_column": ("Id", HOSTILE[1]), "data.list_delimiter": ("|", "`|")},
    )  # fmt: skip
    text = model_card(facts)
    head, body = parts(text)
    changed, _, labels, _ = tables(body)
    assert [row[0] for row in labels[1:]] == [printable(name) for name in HOSTILE]
    assert changed[1:] == [["data.id_column", f'"{HOSTILE[1]}"', '"Id"'], ["data.list_delimiter", '"`|"', '"|"']]
    assert set(head) == {
        "license", "license_name", "library_name", "pipeline_tag", "tags", "metrics", "model-index",
    }  # fmt: skip
    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(body)
    assert "<script" not in html
    assert "<a " not in html
    assert "<em>" not in html
    assert "\x1b" not in text


def test_equal_facts_give_the_same_text():
    assert model_card(FACTS) == model_card(dataclasses.replace(FACTS))
    assert model_card(FACTS).endswith("\n")

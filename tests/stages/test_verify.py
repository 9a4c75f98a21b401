"""Figures, tables and decisions that `posterity verify` computes again, beside what the scripts wrote."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from posterity import model_card
from posterity.verifying import recomputed
from posterity.verifying.lock_file import LockFile
from small_project import SmallProject, run_script
from stages.test_evaluate import project as hand_made  # noqa: F401 - a fixture

EVALUATE = """\
schema: '2.0'
stages:
  evaluate:
    cmd: python src/evaluate.py
    params:
      params.yaml:
        seed: 42
        train.folds: 1
        train.repeats: 1
        decide:
          {calibration: off, thresholds: f1, target_precision: 0.7, target_recall: 0.9, min_positives: 2,
           folds: 3, at_least_one: false, exactly_one: false}
        evaluate: {threshold: 0.5, bootstrap_samples: 20}
"""
DATA = "schema: '2.0'\nstages: {preprocess: {cmd: a}, split: {cmd: a}}\n"
OUTS = {
    "metrics/evaluate.json", "metrics/folds.json", "data/scores.csv", "data/suspect_labels.csv", "models/model.keras",
    "metrics/data.json", "metrics/split.json",
}  # fmt: skip


def states(lock, bad=()):
    found = recomputed.findings(LockFile(lock, "dvc.lock"), OUTS, set(bad))
    return {row.what.removesuffix(", recomputed"): (row.state, row.detail) for row in found}


def wrong(lock):
    return {what: detail for what, (state, detail) in states(lock).items() if state != "right"}


@pytest.fixture
def evaluated(hand_made):  # noqa: F811
    assert run_script("evaluate").code == 0
    return hand_made


def test_what_evaluate_wrote_is_computed_again(evaluated):
    assert not wrong(EVALUATE)
    assert len(states(EVALUATE)) == 10


def test_a_figure_that_was_changed_by_hand_is_found(evaluated):
    content = json.loads(Path("metrics/evaluate.json").read_text())
    before, content["f1_macro"] = content["f1_macro"], 0.987654
    Path("metrics/evaluate.json").write_text(json.dumps(content))
    assert wrong(EVALUATE) == {"metrics/evaluate.json": f"f1_macro is 0.987654, computed {before}"}


def test_other_scores_give_other_figures_tables_and_decisions(evaluated):
    np.save("data/scores.npy", 1 - np.load("data/scores.npy"))
    assert set(wrong(EVALUATE)) == {
        "metrics/evaluate.json", "data/scores.csv", "metrics/plots/folds.csv", "metrics/plots/per_label.csv",
        "metrics/plots/pr_curves.csv", "metrics/plots/reliability.csv", "models/model.keras: card",
    }  # fmt: skip


def test_other_thresholds_in_the_model_are_found(evaluated):
    card = model_card.read("models/model.keras")
    changed = dataclasses.replace(card, decisions=card.decisions | {"thresholds": [0.1, 0.1, 0.1]})
    model_card.copy_with("models/model.keras", "models/model.keras", changed)
    found = "calibration and thresholds are not those that the rows choose"
    assert wrong(EVALUATE) == {"models/model.keras: card": found}


def test_another_network_with_these_thresholds_is_found(evaluated):
    from posterity import files

    members = {"config.json": b"{}", "model.weights.h5": b"others"} | model_card.read("models/model.keras").as_member()
    files.write_archive("models/model.keras", members)
    assert wrong(EVALUATE) == {"models/model.keras: network": "the network is not that of models/trained.keras"}


def test_nothing_is_computed_of_what_is_damaged(evaluated):
    Path("data/scores.npy").write_bytes(b"no array")
    found = states(EVALUATE, bad=["data/scores.npy"])
    reason = "not computed again, since data/scores.npy is not what was recorded"
    assert found == dict.fromkeys(
        (
            "metrics/evaluate.json",
            "metrics/folds.json",
            "data/scores.csv",
            "data/suspect_labels.csv",
            "models/model.keras",
        ),
        ("unchecked", reason),
    )


def test_counts_of_data_and_split_are_computed_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SmallProject(tmp_path)
    for name in ("validate", "preprocess", "split"):
        assert run_script(name).code == 0
    assert not wrong(DATA)
    for name, key, value in (("data", "rows_cached", 7), ("split", "groups", 1)):
        content = json.loads(Path(f"metrics/{name}.json").read_text())
        Path(f"metrics/{name}.json").write_text(json.dumps(content | {key: value}))
    # 24 images, of which the last two are copies of each other.
    assert wrong(DATA) == {
        "metrics/data.json": "rows_cached is 7, computed 24",
        "metrics/split.json": "groups is 1, computed 23",
    }

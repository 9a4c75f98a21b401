"""The evaluate script on rows, a split and scores made by hand: 8 rows to train on, 24 to validate, no network."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from posterity import files, model_card
from posterity.cache import rows
from posterity.evaluation import decisions
from posterity.evaluation.decisions import DecisionOptions, Decisions
from posterity.evaluation.thresholds import NEVER
from posterity.model_card import ModelCard
from posterity.pixels.spec import ImageSpec
from posterity.splitting import split_file
from small_project import SmallProject, run_script

LABELS = ("low", "high", "never")
SPEC = ImageSpec(8, 8)
NUM_TRAIN, NUM_VALIDATION = 8, 24
# Of every four rows two have `low`, other two have `high`, none has `never`.
Y_TRUE = np.tile([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], (NUM_VALIDATION // 4, 1)).astype(np.uint8)
# Each label is told apart without a mistake, the first one between 0.1 and 0.3, the second one between 0.6 and 0.8.
Y_SCORE = (Y_TRUE * [0.2, 0.2, 0] + [0.1, 0.6, 0.01]).astype(np.float32)
# Good enough that 24 rows show that it is more than the frequencies.
CERTAIN = (0.1 + 0.8 * Y_TRUE).astype(np.float32)
FREQUENCIES = (0.5, 0.5, 0.05)
REPORTED = {
    "models/model.keras", "models/served.keras", "data/scores.csv", "data/suspect_labels.csv",
    "metrics/evaluate.json", "metrics/folds.json", "metrics/plots/folds.csv", "metrics/plots/per_label.csv",
    "metrics/plots/pr_curves.csv", "metrics/plots/reliability.csv",
}  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = SmallProject(tmp_path, num_images=2)
    project.params({"decide.folds": 3, "decide.min_positives": 2})
    num_rows = NUM_TRAIN + NUM_VALIDATION
    names = [str(k) for k in range(num_rows)]
    index = pd.DataFrame({"line": np.arange(2, num_rows + 2), "id": names, "sha256": names})
    rows.write("data/rows", index, np.concatenate([np.zeros((NUM_TRAIN, 3), np.uint8), Y_TRUE]), LABELS)
    split_file.write("data/split.csv", index, np.repeat(["train", "validation"], [NUM_TRAIN, NUM_VALIDATION]))
    weights = {
        "config.json": b"{}",
        "model.weights.h5": b"weights",
        model_card.CARD: ModelCard(LABELS, FREQUENCIES, SPEC).to_json().encode(),
    }
    files.write_archive("models/trained.keras", weights)
    np.save("data/scores.npy", Y_SCORE)
    np.save("data/out_of_fold.npy", np.zeros((0, NUM_TRAIN, 3), np.float32))
    return project


def evaluate(project, **decide):
    """Run the script with these values of section `decide`; what it wrote and said."""
    project.params({f"decide.{key}": value for key, value in decide.items()})
    given = set(project.outputs())
    run = run_script("evaluate")
    assert run.code == 0, run.stderr
    assert set(project.outputs()) - given == REPORTED
    numbers = dict.fromkeys(("mean_score", "observed_frequency", "decide_threshold"), "float64")
    read = {name: files.read_csv(f"metrics/plots/{name}.csv", **numbers) for name in ("per_label", "reliability")}
    return SimpleNamespace(
        **read,
        stderr=run.stderr,
        stdout=run.stdout,
        metrics=files.read_json("metrics/evaluate.json"),
        table=files.read_csv("data/scores.csv"),
        card=model_card.read("models/model.keras"),
    )


def test_thresholds_find_what_a_half_does_not(project):
    found = evaluate(project)
    expected = {
        # From 0.5 on no row has `low` and every row has `high`, which is right for half of them: F1 0 and 2/3. Of the
        # 24 positive cells 12 are found, by 24 predictions. Right in both are the rows that have `high` only.
        "f1_macro": 1 / 3,
        "f1_micro": 2 * 12 / (24 + 24),
        "subset_accuracy": 1 / 4,
        # Every fold shows where the scores part.
        "f1_macro_tuned": 1,
        "f1_micro_tuned": 1,
        "subset_accuracy_tuned": 1,
        # The best that can be done with constant scores is to predict a label always, or never if it has no positive.
        "f1_macro_tuned_prior": 2 / 3,
        "f1_micro_tuned_prior": 2 * 24 / (24 + 48),
        "subset_accuracy_tuned_prior": 1 / 4,
    }
    assert {key: found.metrics[key] for key in expected} == pytest.approx(expected, abs=1e-6)
    assert found.metrics["rows_scored"] == NUM_VALIDATION
    assert "macro F1             1.0000   frequencies 0.6667" in found.stdout


def test_the_table_per_label_has_the_threshold_of_each(project):
    found = evaluate(project)
    thresholds = dict(zip(found.per_label["label"], found.per_label["decide_threshold"], strict=True))
    # Midway between the scores, and for the label that has no positive the one of all cells: at 0.3 and above lie
    # `low` (12 of 12 cells) and `high` (12 of 24).
    assert thresholds == pytest.approx({"low": 0.2, "high": 0.7, "never": 0.2}, abs=1e-6)


def test_every_row_is_listed_with_its_true_and_its_decided_labels(project):
    table = evaluate(project).table
    assert list(table.columns) == ["line", "id", "true", "decided", *(f"score:{name}" for name in LABELS)]
    assert table["line"].tolist() == [str(k + 2) for k in range(NUM_TRAIN, NUM_TRAIN + NUM_VALIDATION)]
    assert table["id"].tolist() == [str(k) for k in range(NUM_TRAIN, NUM_TRAIN + NUM_VALIDATION)]
    assert [json.loads(cell) for cell in table["true"][:4]] == [["low"], ["low", "high"], ["high"], []]
    assert table["decided"].tolist() == table["true"].tolist()
    assert table.iloc[0, 4:].tolist() == ["0.300000", "0.600000", "0.010000"]


def test_no_row_is_judged_by_a_threshold_that_has_seen_it(project):
    # The only two rows with `low` are copies of each other, so they lie in one fold: the others know no `low`.
    targets = np.zeros((NUM_TRAIN + NUM_VALIDATION, 3), np.uint8)
    targets[NUM_TRAIN : NUM_TRAIN + 2, 0] = 1
    index = files.read_csv("data/rows/index.csv")
    digests = index["sha256"].tolist()
    digests[NUM_TRAIN + 1] = digests[NUM_TRAIN]
    rows.write("data/rows", index.assign(sha256=digests), targets, LABELS)
    np.save("data/scores.npy", (0.1 + 0.8 * targets[NUM_TRAIN:]).astype(np.float32))
    found = evaluate(project)
    assert found.metrics["f1_macro_tuned"] == 0
    assert found.table["decided"].tolist() == ["[]"] * NUM_VALIDATION
    assert found.card.decisions is not None
    assert found.card.decisions["thresholds"][0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "decide",
    [
        {},
        {"calibration": "platt", "min_positives": 13},
        {"calibration": "isotonic", "at_least_one": True},
        {"thresholds": "precision", "target_precision": 1.0},
        {"thresholds": "recall", "target_recall": 0.75},
    ],
    ids=str,
)
def test_the_model_decides_as_all_validation_rows_would_have_it(project, decide):
    before = (project.root / "models/trained.keras").read_bytes()
    found = evaluate(project, **decide)
    assert (project.root / "models/trained.keras").read_bytes() == before
    options = {"min_positives": 2} | decide
    options["objective"] = options.pop("thresholds", "f1")
    expected = decisions.fit(Y_TRUE, Y_SCORE.astype(np.float64), DecisionOptions(**options))
    assert dataclasses.replace(found.card, decisions=None) == ModelCard(LABELS, FREQUENCIES, SPEC)
    assert found.card.decisions is not None
    assert Decisions.from_content(found.card.decisions) == expected


def test_single_label_data_get_exactly_one_label(project):
    # Every row has `low` or `high`; `high` has the higher score on all of them but one third of those with `low`.
    targets = np.zeros((NUM_TRAIN + NUM_VALIDATION, 3), np.uint8)
    targets[:, 0] = np.arange(len(targets)) % 2
    targets[:, 1] = 1 - targets[:, 0]
    rows.write("data/rows", files.read_csv("data/rows/index.csv"), targets, LABELS)
    is_low = targets[NUM_TRAIN:, 0] == 1
    scores = np.tile([0.4, 0.6, 0.1], (NUM_VALIDATION, 1))
    scores[np.flatnonzero(is_low)[:4], 0] = 0.7
    np.save("data/scores.npy", scores.astype(np.float32))
    found = evaluate(project, exactly_one=True)
    assert found.metrics["subset_accuracy_tuned"] == pytest.approx((12 + 4) / 24, abs=1e-6)
    assert found.metrics["f1_micro_tuned"] == found.metrics["subset_accuracy_tuned"]
    assert found.metrics["subset_accuracy_tuned_prior"] == 0.5  # always `low`, the first of two of the same frequency
    assert "accuracy             0.6667   frequencies 0.5000" in found.stdout
    assert found.card.decisions["exactly_one"] is True
    assert {len(json.loads(cell)) for cell in found.table["decided"]} == {1}


def test_exactly_one_label_for_data_with_two_is_refused(project):
    project.params({"decide.exactly_one": True})
    run = run_script("evaluate")
    assert run.code == 2
    assert run.stderr.startswith("error: params.yaml: decide.exactly_one: true needs data in which every image has one")
    assert "Got 6 of 24 validation images with two labels or more, such as '9' (line 11) with 2." in run.stderr
    assert not Path("models/model.keras").exists()


def test_the_promised_recall_and_what_it_costs_are_shown(project):
    found = evaluate(project, thresholds="recall", target_recall=0.5)
    recall, number = found.metrics["recall_per_image_tuned"], found.metrics["labels_per_image_tuned"]
    assert f"recall per image     {recall:.4f}   with {number:.2f} labels per image" in found.stdout
    decided = [json.loads(cell) for cell in found.table["decided"]]
    true = [json.loads(cell) for cell in found.table["true"]]
    assert number == pytest.approx(np.mean([len(labels) for labels in decided]), abs=1e-6)
    shares = [len({*labels} & {*of_row}) / len(of_row) for labels, of_row in zip(decided, true, strict=True) if of_row]
    assert recall == pytest.approx(np.mean(shares), abs=1e-6)
    assert 0.5 <= recall < 1


def test_a_recall_that_cannot_be_promised_is_warned_of(project):
    np.save("data/scores.npy", CERTAIN)
    found = evaluate(project, thresholds="recall", target_recall=0.95)
    assert found.stderr == (
        "WARNING: decide.target_recall is 0.95, which takes at least 19 validation images with a label to promise. Got "
        "18: every label is decided on every image. Lower it, or validate on more images "
        "(split.validation_fraction).\n"
    )
    assert found.card.decisions["thresholds"] == [0.0, 0.0, 0.0]
    assert found.metrics["recall_per_image_tuned"] == 1
    assert found.metrics["labels_per_image_tuned"] == 3


def test_a_copy_of_the_model_is_left_beside_it_for_those_who_serve_it(project):
    evaluate(project)
    model, served = Path("models/model.keras"), Path("models/served.keras")
    assert served.read_bytes() == model.read_bytes()
    assert served.stat().st_ino != model.stat().st_ino  # what DVC does to one does nothing to the other
    assert served.stat().st_nlink == 1
    served.write_bytes(b"old")
    evaluate_again(project)
    assert served.read_bytes() == model.read_bytes()
    served.write_bytes(b"old")
    for options, place in [((), "tried/served.keras"), (("--served", "tried/mine.keras"), "tried/mine.keras")]:
        assert run_script("evaluate", "--model", "tried/model.keras", *options).code == 0
        assert Path(place).read_bytes() == model.read_bytes()
    assert served.read_bytes() == b"old"  # a trial by hand is not served


def test_a_model_of_other_labels_is_refused_with_both(project):
    other = ModelCard(("low", "top", "never"), FREQUENCIES, SPEC)
    model_card.copy_with("models/trained.keras", "models/trained.keras", other)
    run = run_script("evaluate")
    assert run.code == 2
    assert run.stderr == (
        "error: models/trained.keras: expected a model of the labels in data/rows: label 2 to be 'high'. Got 'top'. "
        "Run `dvc repro`, which trains one.\n"
    )


def test_calibration_is_shown_beside_the_raw_scores(project):
    found = evaluate(project, calibration="platt")
    points = dict(iter(found.reliability.groupby("scores")))
    assert set(points) == {"raw", "calibrated"}
    # The raw scores: 24 cells of 0.01, 12 of 0.1, 12 of 0.3, 12 of 0.6 and 12 of 0.8.
    assert points["raw"]["mean_score"].tolist() == pytest.approx([0.01, 0.1, 0.3, 0.6, 0.8])
    assert points["raw"]["observed_frequency"].tolist() == [0, 0, 1, 0, 1]
    distances = [24 * 0.01, 12 * 0.1, 12 * 0.7, 12 * 0.6, 12 * 0.2]
    assert found.metrics["ece"] == pytest.approx(sum(distances) / 72, abs=1e-6)
    assert found.metrics["ece_calibrated"] < 0.1 < found.metrics["ece"]
    assert found.metrics["bce_calibrated"] < 0.5 * found.metrics["bce"]
    # The scores that are published stay the raw ones.
    assert found.table["score:low"].unique().tolist() == ["0.300000", "0.100000"]


def test_without_calibration_both_are_the_same(project):
    found = evaluate(project)
    raw, calibrated = (
        found.reliability[found.reliability["scores"] == name].drop(columns="scores").to_numpy().tolist()
        for name in ("raw", "calibrated")
    )
    assert raw == calibrated
    assert found.metrics["bce_calibrated"] == found.metrics["bce"]


def test_a_model_that_knows_no_more_than_the_frequencies_is_warned_of(project):
    np.save("data/scores.npy", CERTAIN)
    assert evaluate(project).stderr == ""
    # A half for every cell has the loss ln 2; the frequencies have (2 ln 2 - ln 0.95) / 3.
    np.save("data/scores.npy", np.full(Y_SCORE.shape, 0.5, np.float32))
    run = run_script("evaluate")
    assert run.code == 0
    assert run.stderr.startswith(
        "WARNING: skill is -0.4465, and its 95 % interval includes or lies below 0: this model"
    )


def test_fewer_images_than_folds_make_fewer_folds_and_it_is_said(project):
    np.save("data/scores.npy", CERTAIN)
    as_many = evaluate(project, folds=NUM_VALIDATION)
    assert as_many.stderr == ""
    more = evaluate_again(project, folds=NUM_VALIDATION + 1)
    assert more.stderr == (
        "WARNING: decide.folds is 25, and there are only 24 different validation images (copies, and images of "
        "one split.group_column, count as one): they make 24 folds. Figures of so few say little.\n"
    )
    assert files.read_json("metrics/evaluate.json") == as_many.metrics


def test_rows_of_a_group_are_one_image_for_the_folds(project):
    # Two patients; on one all rows have `low` and on the other all have `high`. What either teaches is to decide on its
    # own label always, so that every row of the other gets both: 24 cells of 24 found, by 48.
    index = files.read_csv("data/rows/index.csv")
    patients = ["P0"] * NUM_TRAIN + ["P1"] * 12 + ["P2"] * 12
    targets = np.zeros((NUM_TRAIN + NUM_VALIDATION, 3), np.uint8)
    targets[NUM_TRAIN : NUM_TRAIN + 12, 0] = targets[NUM_TRAIN + 12 :, 1] = 1
    np.save("data/scores.npy", (0.1 + 0.8 * targets[NUM_TRAIN:]).astype(np.float32))
    rows.write("data/rows", index, targets, LABELS)
    assert evaluate(project, folds=2, min_positives=1).metrics["f1_micro_tuned"] > 0.9
    rows.write("data/rows", index.assign(group=patients), targets, LABELS)
    run = evaluate_again(project, folds=5)
    assert "count as one): they make 2 folds" in run.stderr
    assert files.read_json("metrics/evaluate.json")["f1_micro_tuned"] == pytest.approx(2 * 24 / (24 + 48), abs=1e-6)


def evaluate_again(project, **decide):
    project.params({f"decide.{key}": value for key, value in decide.items()})
    run = run_script("evaluate")
    assert run.code == 0, run.stderr
    return run


def test_a_label_that_no_threshold_brings_to_the_target_is_never_decided(project):
    # Of `low` the scores are upside down: the precision is 0 down to 0.3, and 1/2 below.
    np.save("data/scores.npy", np.where(np.arange(3) == 0, np.float32(0.4) - Y_SCORE, Y_SCORE))
    found = evaluate(project, thresholds="precision", target_precision=0.9)
    thresholds = dict(zip(found.per_label["label"], found.per_label["decide_threshold"], strict=True))
    assert (thresholds["low"], thresholds["high"]) == pytest.approx((NEVER, 0.7), abs=1e-6)
    assert not any("low" in cell for cell in found.table["decided"])


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (None, "data/scores.npy does not exist. An earlier stage makes it: run `dvc repro`."),
        (Y_SCORE[1:], "data/scores.npy: expected scores of"),
    ],
)
def test_scores_that_are_missing_or_of_other_rows(project, scores, message):
    Path("data/scores.npy").unlink()
    if scores is not None:
        np.save("data/scores.npy", scores)
    run = run_script("evaluate")
    assert run.code == 2
    assert message in run.stderr
    assert not Path("models/model.keras").exists()

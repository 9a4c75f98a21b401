"""The test side, from a column of the table to metrics/test.json: it has no part in the model."""

import csv
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from posterity import files, model_card
from posterity.cache import rows as cached_rows
from posterity.evaluation import metrics
from posterity.evaluation.decisions import Decisions
from posterity.splitting import split_file
from small_project import LABELS, SmallProject, environment, run_script

NUM_IMAGES = 30
TRAINING = """
import train, evaluate, final_test, predict
train.main([])
evaluate.main([])
final_test.main([])
predict.main(["all"])
"""
# All that is made before the test side is looked at, but for the tables of labels themselves.
FROM_OTHER_SIDES = [
    "data/out_of_fold.npy", "data/scores.csv", "data/scores.npy", "data/split.csv", "metrics/evaluate.json",
    "metrics/plots/history.csv", "metrics/plots/per_label.csv", "metrics/plots/pr_curves.csv",
    "metrics/plots/reliability.csv", "metrics/train.json", "metrics/environment.json", "models/model.keras",
    "models/summary.txt", "models/trained.keras", "data/predictions/all.csv",
]  # fmt: skip


def with_columns(project, patients, folds=None):
    """Add the columns patient and fold to labels.csv."""
    header, *lines = (project.root / "labels.csv").read_text(encoding="utf-8").splitlines()
    folds = folds or [""] * len(lines)
    cells = zip(lines, patients, folds, strict=True)
    project.rows([f"{header},patient,fold", *(f"{line},{patient},{fold}" for line, patient, fold in cells)])


def prepared(root):
    """A project of thirty images of ten patients, ready to train on."""
    project = SmallProject(root, NUM_IMAGES)
    with_columns(project, [f"P{k // 3}" for k in range(NUM_IMAGES)])
    project.params(
        {
            "data.label_columns": LABELS,
            "split.group_column": "patient",
            "split.test_fraction": 0.2,
            "split.validation_fraction": 0.3,
            "decide.calibration": "platt",
            "predict.images": {"all": "images"},
            "train.keep_epoch": "best",
            "train.early_stopping": 1,
        }
    )
    return project


def make_rows(root, patch):
    patch.chdir(root)
    for stage in ("validate", "preprocess", "split", "features"):
        run = run_script(stage)
        assert run.code == 0, run.stderr
    return cached_rows.read("data/rows")


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    """Two runs that differ in the labels of the test rows, and in nothing else."""
    roots = [tmp_path_factory.mktemp(name) for name in ("true", "altered")]
    with pytest.MonkeyPatch.context() as patch:
        projects = [prepared(root) for root in roots]
        rows = make_rows(roots[0], patch)
        _, _, test = split_file.read(roots[0] / "data/split.csv", rows.index)
        lines = (roots[1] / "labels.csv").read_text(encoding="utf-8").splitlines()
        for row in test.tolist():
            id_, _, *cells = lines[row + 1].split(",")
            flipped = [str(1 - int(cell)) for cell in cells[:3]]
            listed = "|".join(name for name, cell in zip(LABELS, flipped, strict=True) if cell == "1")
            lines[row + 1] = ",".join([id_, listed, *flipped, *cells[3:]])
        projects[1].rows(lines)
        altered = make_rows(roots[1], patch)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TRAINING],
            cwd=root,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for root in roots
    ]
    printed = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], printed
    return SimpleNamespace(roots=roots, rows=rows, altered=altered, test=test, stdout=printed[0][0])


def test_the_labels_of_test_rows_change_no_byte_of_the_model(pipelines):
    differs = (pipelines.rows.targets != pipelines.altered.targets).all(axis=1)
    assert np.flatnonzero(differs).tolist() == pipelines.test.tolist()
    assert len(pipelines.test) == 6
    first, second = pipelines.roots
    for name in FROM_OTHER_SIDES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    figures = [files.read_json(root / "metrics/test.json") for root in pipelines.roots]
    # Each cell that was right is wrong now, and the other way round.
    assert figures[0]["hamming_loss"] == pytest.approx(1 - figures[1]["hamming_loss"])
    assert figures[0]["bce"] != figures[1]["bce"]


def test_the_figures_are_those_of_the_test_rows(pipelines):
    root, test = pipelines.roots[0], pipelines.test
    figures = files.read_json(root / "metrics/test.json")
    assert set(figures) == set(files.read_json(root / "metrics/evaluate.json"))
    with (root / "data/predictions/all.csv").open(newline="") as file:
        predicted = {Path(row["path"]).stem: row for row in csv.DictReader(file)}
    read = [predicted[id_] for id_ in pipelines.rows.index["id"].iloc[test]]
    # The table has calibrated probabilities and the labels that the model decides on.
    calibrated = np.array([[float(row[label]) for label in LABELS] for row in read])
    decided = np.array([[label in json.loads(row["labels"]) for label in LABELS] for row in read])
    truth = pipelines.rows.targets[test]
    card = model_card.read(root / "models/model.keras")
    assert figures["rows_scored"] == 6
    assert figures["bce_calibrated"] == pytest.approx(metrics.binary_cross_entropy(truth, calibrated), abs=1e-4)
    assert figures["subset_accuracy_tuned"] == pytest.approx((decided == truth).all(axis=1).mean(), abs=1e-6)
    prior = metrics.prior_scores(card.label_frequencies, 6)
    assert figures["bce_prior"] == pytest.approx(metrics.binary_cross_entropy(truth, prior), abs=1e-5)
    assert figures["skill"] == pytest.approx(1 - figures["bce"] / figures["bce_prior"], abs=1e-5)
    assert figures["skill_low"] <= figures["skill"] <= figures["skill_high"]
    assert Decisions.from_content(card.decisions).calibration.method == "platt"
    assert "6 test rows scored. Look at metrics/test.json once, when all choices are made.\n" in pipelines.stdout


def test_a_patient_is_on_one_side(pipelines):
    split = files.read_csv(pipelines.roots[0] / "data/split.csv")
    assert split["side"].value_counts().to_dict() == {"train": 15, "validation": 9, "test": 6}
    patients = [f"P{k // 3}" for k in range(NUM_IMAGES)]
    assert (split.assign(patient=patients).groupby("patient")["side"].nunique() == 1).all()
    assert list(pipelines.rows.index.columns) == ["line", "id", "sha256", "group"]
    assert pipelines.rows.index["group"].tolist() == patients


def test_without_a_model_or_with_another_one_the_stage_says_what_to_do(pipelines, tmp_path, monkeypatch):
    monkeypatch.chdir(pipelines.roots[0])
    run = run_script("final_test", "--model", "none.keras")
    assert run.code == 2
    assert run.stderr.startswith("error: none.keras: there is no model here. Train one with `dvc repro`")
    run = run_script("final_test", "--model", "models/trained.keras")
    assert run.code == 2
    assert run.stderr == (
        "error: models/trained.keras: expected a model with thresholds, which stage evaluate adds. Run `dvc repro "
        "evaluate`.\n"
    )
    other = model_card.ModelCard(("x",), (0.5,), model_card.read("models/model.keras").image)
    model_card.copy_with("models/model.keras", tmp_path / "other.keras", other)
    run = run_script("final_test", "--model", str(tmp_path / "other.keras"))
    assert run.code == 2
    assert run.stderr.endswith(
        "other.keras: expected a model of the labels in data/rows: 3 labels. Got 1. Run `dvc repro`, which trains "
        "one.\n"
    )
    card = model_card.read("models/model.keras")
    for changed, message in [
        ({"label_names": tuple(reversed(LABELS))}, f"label 1 to be {sorted(LABELS)[0]!r}. Got {sorted(LABELS)[-1]!r}."),
        ({"image": dataclasses.replace(card.image, height=72)}, "height 64, as data/tensors has them. Got 72."),
        ({"image": dataclasses.replace(card.image, fit="pad")}, "fit stretch, as data/tensors has them. Got pad."),
    ]:
        model_card.copy_with("models/model.keras", tmp_path / "other.keras", dataclasses.replace(card, **changed))
        run = run_script("final_test", "--model", str(tmp_path / "other.keras"))
        assert (run.code, run.stderr.count("\n")) == (2, 1)
        assert message in run.stderr


@pytest.mark.parametrize(
    ("stage", "output"), [(["final_test"], "metrics/test.json"), (["predict", "all"], "data/predictions/all.csv")]
)
def test_a_second_run_writes_the_same_file(pipelines, monkeypatch, stage, output):
    monkeypatch.chdir(pipelines.roots[0])
    monkeypatch.setattr("posterity.nn.device.configure", lambda *_, seed: None)  # it is for a process of its own
    before = Path(output).read_bytes()
    Path(output).unlink()
    assert run_script(*stage).code == 0
    assert Path(output).read_bytes() == before


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return SmallProject(tmp_path)


def split_of(project, **settings):
    project.params({f"split.{key}": value for key, value in settings.items()})
    for stage in ("validate", "preprocess"):
        run = run_script(stage)
        assert run.code == 0, run.stderr
    return run_script("split")


FOLDS = ["Train"] * 12 + ["val"] * 6 + ["TEST "] * 4 + ["train"] * 2


def test_a_side_column_is_obeyed(project):
    # Neither column is a label, though data.label_columns does not list those that are.
    with_columns(project, [""] * 24, FOLDS)
    run = split_of(project, side_column="fold", group_column="patient")
    assert run.code == 0, run.stderr
    assert files.read_json("data/labels.json") == sorted(LABELS)
    assert list(files.read_csv("data/manifest.csv").columns)[-2:] == ["group", "side"]
    expected = ["train"] * 12 + ["validation"] * 6 + ["test"] * 4 + ["train"] * 2
    assert files.read_csv("data/split.csv")["side"].tolist() == expected
    assert files.read_json("metrics/split.json")["rows"] == {"test": 4, "train": 14, "validation": 6}
    assert run.stdout == (
        "Rows of one group stay on one side: 0 groups; 24 of 24 rows have none and stand alone.\n"
        "14 rows for training, 6 for validation, 4 for the test.\n"
    )


def test_copies_that_the_column_tears_apart_stop_the_run_or_are_left_out(project):
    with_columns(project, [""] * 24, [*FOLDS[:-1], "test"])  # i22 and i23 are the same image
    run = split_of(project, side_column="fold", group_column="patient")
    assert run.code == 2
    assert "line 24, 'i22': train; line 25, 'i23': test (the same image bytes)" in run.stderr
    assert not Path("data/split.csv").exists()
    run = split_of(project, side_conflict="leave_out")
    assert run.code == 0, run.stderr
    assert files.read_csv("data/split.csv")["side"].tolist()[-2:] == ["leave_out", "test"]
    assert "WARNING: 1 group of rows that belong together: those on the less protected side are left out" in run.stdout
    assert run.stdout.endswith("12 rows for training, 6 for validation, 5 for the test, 1 left out.\n")


def test_a_text_that_nobody_has_explained_stops_the_run_with_the_line_to_add(project):
    with_columns(project, [""] * 24, [*FOLDS[:-1], "holdout"])
    run = split_of(project, side_column="fold", group_column="patient")
    assert run.code == 2
    assert (
        "It has no line for 'holdout' in 1 row. Add one for each below split.sides, such as `\"holdout\": "
        in run.stderr
    )
    sides = {"train": "train", "val": "validation", "test": "test", "holdout": "leave_out"}
    assert split_of(project, sides=sides).code == 0


def test_rows_of_other_columns_are_not_split(project):
    assert split_of(project).code == 0
    project.params({"split.group_column": "patient"})
    run = run_script("split")
    assert run.code == 2
    assert "data/rows: expected a column 'group' if split.group_column names one, and only then." in run.stderr


def test_a_column_that_is_not_there_is_named_by_its_key(project):
    project.params({"split.group_column": "Patient", "split.side_column": "Set"})
    run = run_script("validate")
    assert run.code == 2
    assert "no column 'Patient' (split.group_column)" in run.stderr
    assert "no column 'Set' (split.side_column)" in run.stderr
    assert "or set split.group_column: null, or set split.side_column: null." in run.stderr

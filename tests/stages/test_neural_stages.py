"""All stages in one folder, as `dvc repro` would call them, on 24 tiny images."""

import contextlib
import csv
import dataclasses
import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from posterity import files, model_card
from posterity.cache import sealed
from posterity.config.load import load_params
from posterity.nn import keras_file
from posterity.nn.inference import remote
from posterity.nn.inference.classifier import Classifier
from small_project import LABELS, SmallProject, environment, run_script

# All that a recipe can have, so that all of it is repeated to the bit.
RECIPE = {
    "train.loss": "asymmetric",
    "train.label_smoothing": 0.05,
    "train.optimizer": "adamw",
    "train.weight_decay": 0.01,
    "train.schedule": "cosine",
    "train.clip_norm": 1.0,
    "train.ema": 0.9,
    "train.early_stopping": 3,
    "train.keep_epoch": "best",
    "train.mixup": 0.4,
    "train.augment": {"flip": True, "shift": 0.1, "zoom": 0.1, "brightness": 0.1, "contrast": 0.1, "erase": 0.5},
}
TRACKERS = [name for name in ("mlflow", "dvclive") if importlib.util.find_spec(name)]
# Determinism, threads and devices are set once per process, so these stages have processes of their own. The second
# one trains into another folder, and logs to all trackers that are installed: the same bytes have to come out of a
# process with other hash seeds and other timing.
ALL = """
import sys, train, evaluate, predict
from posterity.errors import UserError
train.main([])
evaluate.main([])
predict.main(["new"])
print("NO MODEL")
for stage, arguments in (evaluate, ["--trained", "none.keras"]), (predict, ["new", "--model", "none.keras"]):
    try: stage.main(arguments)
    except UserError as error: print(error)
"""
AGAIN = """
import random, threading, time, train

def draw():
    while True:
        random.random()
        time.sleep(0.0001)

# As threads of trackers do now and then.
threading.Thread(target=draw, daemon=True).start()
train.main(["--params", "again.yaml", "--trained", "again/trained.keras", "--summary", "again/summary.txt",
            "--history", "again/history.csv", "--metrics", "again/train.json", "--scores", "again/scores.npy",
            "--out-of-fold", "again/out_of_fold.npy"])
"""


ELSEWHERE = ("again", "dvclive/", "mlruns/")  # of the second process


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    root = tmp_path_factory.mktemp("pipeline")
    project = SmallProject(root)
    project.truncate("i03")
    project.params(
        {
            "data.on_problem.unreadable_image": "drop",
            "data.max_dropped_fraction": 0.1,
            "decide.calibration": "off",
            "predict.images": {"new": "images"},
            "predict.threshold": None,
            **RECIPE,
        }
    )
    project.params({"train.log_to": TRACKERS})
    (root / "again.yaml").write_bytes((root / "params.yaml").read_bytes())
    project.params({"train.log_to": []})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for stage in ("validate", "preprocess", "split", "features"):
            assert run_script(stage).code == 0
    (root / "images/empty.jpg").touch()  # no row names it
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=root,
            env=environment(PYTHONHASHSEED=str(seed), MLFLOW_TRACKING_URI=""),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, code in enumerate((ALL, AGAIN))
    ]
    printed = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], printed
    (stdout, stderr), _ = printed
    return SimpleNamespace(root=root, project=project, stdout=stdout, stderr=stderr)


def read_json(pipeline, path):
    return files.read_json(pipeline.root / path)


def test_every_output_is_there_and_nothing_else(pipeline):
    assert [path for path in pipeline.project.outputs() if not path.startswith(ELSEWHERE)] == [
        "data/features",
        "data/issues.csv",
        "data/labels.json",
        "data/manifest.csv",
        "data/manifest_issues.csv",
        "data/out_of_fold.npy",
        "data/predictions/new.csv",
        "data/rows",
        "data/scores.csv",
        "data/scores.npy",
        "data/split.csv",
        "data/suspect_labels.csv",
        "data/tensors",
        "metrics/data.json",
        "metrics/environment.json",
        "metrics/evaluate.json",
        "metrics/folds.json",
        "metrics/plots/folds.csv",
        "metrics/plots/history.csv",
        "metrics/plots/per_label.csv",
        "metrics/plots/pr_curves.csv",
        "metrics/plots/reliability.csv",
        "metrics/split.json",
        "metrics/train.json",
        "models/model.keras",
        "models/served.keras",
        "models/summary.txt",
        "models/trained.keras",
    ]


def test_training_twice_gives_the_same_bytes(pipeline):
    for first, second in [
        ("models/trained.keras", "trained.keras"),
        ("data/scores.npy", "scores.npy"),
        ("models/summary.txt", "summary.txt"),
        ("metrics/plots/history.csv", "history.csv"),
        ("metrics/train.json", "train.json"),
    ]:
        assert (pipeline.root / first).read_bytes() == (pipeline.root / "again" / second).read_bytes(), first


@pytest.mark.skipif("mlflow" not in TRACKERS, reason="needs the extra [track]")
def test_mlflow_has_the_losses_of_every_epoch_and_the_figures(pipeline, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=str(pipeline.root / "mlruns"))
    [run] = client.search_runs([client.get_experiment_by_name("posterity").experiment_id])
    assert (run.info.run_name, run.info.status) == ("compact_cnn, seed 42", "FINISHED")
    assert run.data.params["train.label_smoothing"] == "0.05"
    history = files.read_csv(pipeline.root / "metrics/plots/history.csv")
    for name in ("loss", "bce", "val_bce"):
        logged = client.get_metric_history(run.info.run_id, name)
        assert [metric.step for metric in logged] == history["epoch"].astype(int).tolist()
        assert [f"{metric.value:.6f}" for metric in logged] == history[name].tolist()
    final = {name.removeprefix("final/"): value for name, value in run.data.metrics.items() if "final/" in name}
    assert final == pytest.approx(read_json(pipeline, "metrics/train.json"), abs=1e-6)


@pytest.mark.skipif("dvclive" not in TRACKERS, reason="needs the extra [track]")
def test_dvclive_has_them_too_and_writes_no_dvc_yaml(pipeline):
    table = (pipeline.root / "dvclive/plots/metrics/val_bce.tsv").read_text().splitlines()
    logged = [f"{float(line.split()[1]):.6f}" for line in table[1:]]
    assert logged == files.read_csv(pipeline.root / "metrics/plots/history.csv")["val_bce"].tolist()
    assert (
        read_json(pipeline, "dvclive/metrics.json")["final"].keys() == read_json(pipeline, "metrics/train.json").keys()
    )
    assert not list(pipeline.root.rglob("dvc.yaml"))


def test_the_model_knows_its_labels_and_its_images(pipeline):
    model, card = (
        keras_file.load(pipeline.root / "models/model.keras"),
        model_card.read(pipeline.root / "models/model.keras"),
    )
    assert card.label_names == LABELS
    assert (card.image.height, card.image.width) == (64, 48)
    assert model.input_shape == (None, 64, 48, 3)
    counts = read_json(pipeline, "metrics/split.json")["labels"]
    assert [count["label"] for count in counts] == list(LABELS)
    # 17 of 23 rows train; half a row is added on either side.
    assert card.label_frequencies == pytest.approx([(count["train"] + 0.5) / 18 for count in counts])


def test_evaluate_adds_decisions_and_nothing_else(pipeline):
    with (
        zipfile.ZipFile(pipeline.root / "models/trained.keras") as before,
        zipfile.ZipFile(pipeline.root / "models/model.keras") as after,
    ):
        assert before.namelist() == after.namelist()
        changed = [name for name in before.namelist() if before.read(name) != after.read(name)]
    assert changed == [model_card.CARD]
    trained, final = (model_card.read(pipeline.root / "models" / name) for name in ("trained.keras", "model.keras"))
    assert trained.decisions is None
    assert final == dataclasses.replace(trained, decisions=final.decisions)
    per_label = files.read_csv(pipeline.root / "metrics/plots/per_label.csv", decide_threshold="float64")
    assert dict(zip(per_label["label"], per_label["decide_threshold"], strict=True)) == pytest.approx(
        dict(zip(LABELS, final.decisions["thresholds"], strict=True)), abs=1e-6
    )


def test_evaluate_needs_no_tensorflow(pipeline, monkeypatch):
    monkeypatch.chdir(pipeline.root)
    for name in ("tensorflow", "keras", "posterity.nn"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    written = {
        "--model": "model.keras",
        "--table": "scores.csv",
        "--metrics": "evaluate.json",
        "--plots": "",
        "--folds": "folds.json",
        "--suspects": "suspect_labels.csv",
    }
    options = [text for option, name in written.items() for text in (option, f"again/{name}")]
    assert run_script("evaluate", *options).code == 0
    for first in ("models/model.keras", "data/scores.csv", "metrics/evaluate.json", "metrics/plots/pr_curves.csv"):
        again = pipeline.root / "again" / Path(first).name
        assert (pipeline.root / first).read_bytes() == again.read_bytes(), first


def test_training_is_recorded(pipeline):
    metrics = read_json(pipeline, "metrics/train.json")
    losses = dict.fromkeys(("loss", "bce", "val_bce", "val_bce_prior"), "float64")
    history = files.read_csv(pipeline.root / "metrics/plots/history.csv", epoch="int64", **losses)
    assert list(history.columns) == ["network", "phase", "epoch", *losses]
    assert (history["phase"].tolist(), history["epoch"].tolist()) == (["train"], [1])
    assert metrics["kept_epoch"] == 1
    for name in losses:
        assert metrics[name] == history[name][0]
    assert abs(metrics["loss"] - metrics["bce"]) > 0.01  # the asymmetric loss is another one
    assert (
        f"Multiply-adds per image: {metrics['multiply_adds']:,}" in (pipeline.root / "models/summary.txt").read_text()
    )


def test_the_evaluation_is_that_of_the_validation_rows(pipeline):
    metrics = read_json(pipeline, "metrics/evaluate.json")
    assert metrics["rows_scored"] == 6
    assert metrics["skill_low"] <= metrics["skill"] <= metrics["skill_high"]
    assert metrics["skill"] == pytest.approx(1 - metrics["bce"] / metrics["bce_prior"], abs=1e-5)
    train = read_json(pipeline, "metrics/train.json")
    assert metrics["bce"] == pytest.approx(train["val_bce"], abs=1e-4)
    assert metrics["bce_prior"] == train["val_bce_prior"]
    split = files.read_csv(pipeline.root / "data/split.csv")
    scores = files.read_csv(pipeline.root / "data/scores.csv")
    assert scores["id"].tolist() == split["id"][split["side"] == "validation"].tolist()
    labels = dict(zip(*files.read_csv(pipeline.root / "data/manifest.csv")[["id", "labels"]].T.to_numpy(), strict=True))
    assert [json.loads(true) for true in scores["true"]] == [json.loads(labels[id_]) for id_ in scores["id"]]
    assert {name for decided in scores["decided"] for name in json.loads(decided)} <= set(LABELS)
    assert "Validation, 6 rows, beside always answering the label frequencies:" in pipeline.stdout
    assert "all figures are in metrics/evaluate.json" in pipeline.stdout


def test_prediction_sees_the_pixels_that_evaluation_saw(pipeline):
    scores = files.read_csv(pipeline.root / "data/scores.csv", **{f"score:{label}": "float64" for label in LABELS})
    with (pipeline.root / "data/predictions/new.csv").open(newline="") as file:
        predicted = {Path(row["path"]).stem: row for row in csv.DictReader(file)}
    assert len(scores) == 6
    for label in LABELS:
        again = [float(predicted[id_][label]) for id_ in scores["id"]]
        np.testing.assert_allclose(again, scores[f"score:{label}"], atol=2e-6)


def test_predict_decides_by_the_thresholds_of_the_model(pipeline):
    thresholds = model_card.read(pipeline.root / "models/model.keras").decisions["thresholds"]
    with (pipeline.root / "data/predictions/new.csv").open(newline="") as file:
        read = [row for row in csv.DictReader(file) if not row["error"]]
    assert len(read) == 23
    for row in read:
        decided = set(json.loads(row["labels"]))
        for label, threshold in zip(LABELS, thresholds, strict=True):
            if abs(float(row[label]) - threshold) > 1e-6:  # the file has six digits
                assert (label in decided) == (float(row[label]) > threshold)


def test_the_predict_stage_keeps_unreadable_inputs_as_rows(pipeline):
    with (pipeline.root / "data/predictions/new.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "error", "labels", *LABELS]
    assert [row[0] for row in rows[1:]] == ["images/empty.jpg", *(f"images/{id_}.jpg" for id_ in pipeline.project.ids)]
    broken = {row[0]: row[1:] for row in rows[1:] if row[1]}
    assert broken["images/empty.jpg"] == ["is empty (0 bytes)", "", "", "", ""]
    assert broken["images/i03.jpg"][0].startswith("cannot be decoded: image file is truncated")
    assert len(broken) == 2
    assert "23 images labelled in data/predictions/new.csv.\n" in pipeline.stdout
    assert "WARNING: 2 of 25 inputs could not be read; see data/predictions/new.csv.\n" in pipeline.stderr


def test_the_device_is_named_and_tensorflow_is_quiet(pipeline):
    assert "No GPU in use: computing on the CPU.\n" in pipeline.stderr
    assert "oneDNN" not in pipeline.stderr
    assert "cuda" not in pipeline.stderr.lower()


def test_without_a_model_evaluate_and_predict_say_how_to_get_one(pipeline):
    _, _, messages = pipeline.stdout.partition("NO MODEL\n")
    message = "none.keras: there is no model here. Train one with `dvc repro`, or fetch it with `dvc pull`.\n"
    assert messages == message * 2


def test_tensors_of_another_number_of_rows_are_not_trained_on(pipeline, tmp_path, monkeypatch):
    monkeypatch.chdir(pipeline.root)
    meta = read_json(pipeline, "data/tensors/meta.json")
    sealed.write_meta(
        tmp_path, {key: meta[key] for key in ("image", "rows_per_shard")} | {"num_rows": 22}, meta["sha256"]
    )
    run = run_script("train", "--tensors", str(tmp_path))
    assert run.code == 2
    assert run.stderr == (
        f"error: {tmp_path}: expected 23 images, the rows of data/rows. Got 22. Run `dvc repro preprocess`.\n"
    )


def test_what_cannot_be_written_is_known_before_the_training(pipeline, tmp_path, monkeypatch):
    monkeypatch.chdir(pipeline.root)
    # It would make this process deterministic, and with it all tests that come after this one.
    monkeypatch.setattr("posterity.nn.device.configure", lambda *_, seed: contextlib.nullcontext())
    before = sorted(pipeline.root.rglob("*"))
    options = [option for name in ("trained", "summary", "history") for option in (f"--{name}", str(tmp_path / name))]
    run = run_script("train", *options, "--scores", str(tmp_path))
    assert (run.code, run.stdout) == (2, "")
    assert run.stderr == f"error: {tmp_path} is a folder; expected the path of a file to write. Name a file in it.\n"
    assert sorted(pipeline.root.rglob("*")) == before
    assert not list(tmp_path.iterdir())


def test_tasks_of_a_cluster_predict_what_one_process_does(pipeline, monkeypatch):
    monkeypatch.chdir(pipeline.root)
    monkeypatch.setattr("posterity.nn.device.configure", lambda *_, seed: None)  # it is for a process of its own
    monkeypatch.setattr(remote, "FILES_PER_TASK", 10)
    paths = sorted(str(path) for path in Path("images").iterdir())
    settings = load_params(Path("params.yaml")).machine.device
    here = list(Classifier("models/model.keras", engine="keras").predict(paths))
    there = list(remote.predict_files(paths, map, model="models/model.keras", settings=settings, seed=1))
    assert len(here) == len(there) == 25
    for one, other in zip(here, there, strict=True):
        assert (one.path, one.error) == (other.path, other.error)
        if not one.error:
            np.testing.assert_array_equal(one.probabilities, other.probabilities)
    assert sum(one.error != "" for one in here) == 2  # the truncated and the empty one


def test_an_interrupted_training_can_be_finished(pipeline, tmp_path, monkeypatch):
    outputs = ["trained", "summary", "scores", "history", "metrics", "environment"]
    options = [option for name in outputs for option in (f"--{name}", str(tmp_path / name))]
    interrupting = (
        "import train\nfrom posterity import script\nfrom posterity.nn.training.checkpoints import Checkpoints\n"
        "save = Checkpoints.save\n"
        "def interrupt(*args):\n    save(*args)\n    raise KeyboardInterrupt\n"
        f"Checkpoints.save = interrupt\nscript.run(lambda: train.main({options}))"
    )
    # In a process of its own: it holds what is kept until it ends.
    command = [sys.executable, "-c", interrupting]
    first = subprocess.run(command, cwd=pipeline.root, env=environment(), capture_output=True, text=True)
    assert first.returncode == 130
    assert "The training is kept as it was after epoch 1 of train; `dvc repro` goes on from there." in first.stderr
    assert not (tmp_path / "trained").exists()
    monkeypatch.chdir(pipeline.root)
    monkeypatch.setattr("posterity.nn.device.configure", lambda *_, seed: contextlib.nullcontext())
    second = run_script("train", *options, "--finish")
    next_steps = "Next: `dvc commit --force train`, `dvc repro`.\n"
    assert second.stdout == f"{tmp_path / 'trained'} is the model of epoch 1 of train. {next_steps}"
    assert len((tmp_path / "history").read_text().splitlines()) == 1 + 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(outputs)


def test_a_split_of_other_rows_stops_training_before_tensorflow_loads(pipeline):
    other = pipeline.root / "other.csv"
    other.write_text("line,id,side\n2,i00,train\n")
    code = (
        "import sys, train\nfrom posterity import script\n"
        "try: script.run(lambda: train.main(['--split', 'other.csv', '--trained', 'other.keras']))\n"
        "finally: print({'tensorflow', 'keras'} & set(sys.modules))\n"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=pipeline.root, env=environment(), capture_output=True, text=True, check=False)
    other.unlink()
    assert (run.returncode, run.stdout) == (2, "set()\n")
    assert run.stderr == (
        "error: other.csv: expected one side (train, validation, test or leave_out) for each cached row. "
        "Run `dvc repro split`.\n"
    )

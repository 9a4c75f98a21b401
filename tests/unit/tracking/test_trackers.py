"""MLflow and DVCLive themselves, offline: files in a folder, and a server that is not there."""

import contextlib
import json
from pathlib import Path

import pytest

from posterity.tracking.training import KEPT, Tracking

PARAMS = {
    "model.name": "compact_cnn", "seed": 42, "train.ema": None, "data.list_delimiter": "", "model.backbone": ["A", "B"],
    "data.values": {"-1": "unknown"}, "data.id_column": "x" * 7000,
    **{f"key.{number}": number for number in range(120)},
}  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project in no Git repository; MLflow's own variables are as they were afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    for name in ("MLFLOW_ALLOW_FILE_STORE", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT",
                 "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_EXPERIMENT_NAME", "DVC_EXP_NAME"):  # fmt: skip
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    (tmp_path / "kept").mkdir()
    return tmp_path


def interrupted_after(epochs, tracker, folder=Path("kept")):
    tracking = Tracking([tracker], PARAMS)
    with contextlib.suppress(KeyboardInterrupt), tracking.training(folder):
        for epoch in range(1, epochs + 1):
            tracking.log_epoch("", epoch, {"val_bce": 1 / epoch})
        raise KeyboardInterrupt


def goes_on(first, last, tracker, folder=Path("kept")):
    tracking = Tracking([tracker], PARAMS)
    with tracking.training(folder):
        for epoch in range(first, last + 1):
            tracking.log_epoch("", epoch, {"val_bce": 1 / epoch})
    tracking.finish({"val_bce": 0.25, "parameters": 12})


def mlflow_runs(experiment="posterity"):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=str(Path("mlruns").resolve()))
    return client, client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def test_mlflow_without_a_server_is_a_folder_of_the_project(project):
    pytest.importorskip("mlflow", reason="needs the extra [track]")
    interrupted_after(2, "mlflow")
    client, [run] = mlflow_runs()
    assert run.info.status == "KILLED"
    goes_on(3, 4, "mlflow")
    client, [run] = mlflow_runs()
    assert (run.info.run_name, run.info.status) == ("compact_cnn, seed 42", "FINISHED")
    assert run.data.tags["mlflow.source.name"] == "src/train.py"
    history = client.get_metric_history(run.info.run_id, "val_bce")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1), (2, 1 / 2), (3, 1 / 3), (4, 1 / 4)]
    assert run.data.metrics["final/parameters"] == 12
    params = run.data.params
    assert len(params) == len(PARAMS)
    assert (params["train.ema"], params["model.backbone"], params["data.values"]) == (
        "null", '["A", "B"]', '{"-1": "unknown"}',
    )  # fmt: skip
    assert len(params["data.id_column"]) == 6000


def test_a_run_that_is_gone_is_a_new_one(project, monkeypatch, capsys):
    pytest.importorskip("mlflow", reason="needs the extra [track]")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    Path("kept", KEPT).write_text(json.dumps({"mlflow": "0" * 32}))
    goes_on(1, 1, "mlflow")
    assert "it goes on in a new one" in capsys.readouterr().out
    _, [run] = mlflow_runs(experiment="mine")
    assert json.loads(Path("kept", KEPT).read_text()) == {"mlflow": run.info.run_id}


def test_a_server_that_is_down_is_one_warning(project, monkeypatch, capsys):
    pytest.importorskip("mlflow", reason="needs the extra [track]")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    goes_on(1, 10, "mlflow")
    said = capsys.readouterr().err
    assert said.count("WARNING: mlflow cannot be written to, and the training goes on without it: ") == 1
    assert "13 of its messages are lost" in said
    assert "secret" not in said
    assert not Path("mlruns").exists()


def test_dvclive_writes_its_folder_and_nothing_else(project):
    pytest.importorskip("dvclive", reason="needs the extra [track]")
    interrupted_after(2, "dvclive")
    goes_on(3, 4, "dvclive")
    lines = Path("dvclive/plots/metrics/val_bce.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["step", "1", "2", "3", "4"]
    found = json.loads(Path("dvclive/metrics.json").read_text())
    assert (found["final"], found["val_bce"], found["step"]) == ({"val_bce": 0.25, "parameters": 12}, 0.25, 4)
    assert "seed: 42" in Path("dvclive/params.yaml").read_text()
    assert {path.name for path in project.iterdir()} == {"dvclive", "kept"}


def test_another_training_takes_the_place_of_the_last_one_in_dvclive(project):
    pytest.importorskip("dvclive", reason="needs the extra [track]")
    goes_on(1, 3, "dvclive", folder=None)
    goes_on(1, 1, "dvclive", folder=None)
    assert len(Path("dvclive/plots/metrics/val_bce.tsv").read_text().splitlines()) == 2

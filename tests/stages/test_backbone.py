"""Transfer learning through the stage scripts, with a backbone of a thousand weights."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from posterity import files
from posterity.cache import rows as cached_rows
from posterity.cache.features import FeatureCache
from posterity.cache.kept_graphs import KeptGraphs
from posterity.cache.tensors import TensorCache
from posterity.config.load import load_params
from posterity.nn import keras_file
from posterity.nn.inference import engines
from posterity.nn.inference.features import _load, compute_features
from posterity.splitting import split_file
from small_backbone import FROZEN, save_backbone
from small_project import ROOT, SmallProject, environment, run_script

RUNS = {
    "frozen": {},
    "views": {"model.head": {"hidden_units": 5, "dropout": 0.1, "both_views": True}, "train.folds": 2},
    "whole": {"model.mode": "finetune"},
    "top": {"model.mode": "finetune", "model.finetune.layers": 1},
    "tuned folds": {"model.mode": "finetune", "model.finetune.layers": 1, "train.folds": 2},
}
STAGES = """
import features, train, evaluate, predict
features.main(["--params", "frozen.yaml"])
for run in ("frozen", "views", "whole", "top", "tuned folds"):
    train.main(["--params", f"{run}.yaml", "--trained", f"{run}/trained.keras", "--summary", f"{run}/summary.txt",
                "--scores", f"{run}/scores.npy", "--out-of-fold", f"{run}/out_of_fold.npy",
                "--history", f"{run}/history.csv", "--metrics", f"{run}/train.json"])
evaluate.main(["--params", "frozen.yaml", "--trained", "frozen/trained.keras", "--scores", "frozen/scores.npy",
               "--out-of-fold", "frozen/out_of_fold.npy"])
predict.main(["new", "--params", "frozen.yaml"])
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    root = tmp_path_factory.mktemp("backbone")
    project = SmallProject(root)
    (root / "backbones").mkdir()
    save_backbone(root / "backbones/tiny.keras")
    for run, changed in RUNS.items():
        project.params(FROZEN | changed)
        shutil.copy(root / "params.yaml", root / f"{run}.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for stage in ("validate", "preprocess", "split"):
            assert run_script(stage).code == 0
    done = subprocess.run(
        [sys.executable, "-c", STAGES], cwd=root, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    cache = TensorCache(root / "data/tensors")
    rows = split_file.read(root / "data/split.csv", cached_rows.read(root / "data/rows").index).validation
    return SimpleNamespace(
        root=root,
        cache=cache,
        rows=rows,
        features=FeatureCache(root / "data/features"),
        models={run: keras_file.load(root / run / "trained.keras") for run in RUNS},
        history={run: files.read_csv(root / run / "history.csv", val_bce="float64", epoch="int64") for run in RUNS},
        stdout=done.stdout,
        stderr=done.stderr,
    )


def weights_of(model):
    """The weights of a backbone by the names that `save_backbone` gives."""
    return {"/".join(weight.path.split("/")[-2:]): keras.ops.convert_to_numpy(weight) for weight in model.weights}


def changed_weights(pipeline, run):
    before = weights_of(keras_file.load(pipeline.features.backbone_path))
    after = weights_of(pipeline.models[run].get_layer("backbone"))
    assert len(before) == 1 + 4 + 2  # a kernel, a normalisation, a kernel and a bias
    assert before.keys() == after.keys()
    return {name for name in before if (before[name] != after[name]).any()}


def test_the_features_are_those_of_the_backbone(pipeline):
    assert (pipeline.features.backbones, pipeline.features.length) == (["tiny.keras"], 8)
    seen = keras.saving.load_model(pipeline.root / "backbones/tiny.keras")
    rows = np.arange(len(pipeline.cache))
    for mirrored in (False, True):
        images = pipeline.cache.images(rows).astype(np.float32)
        maps = keras.ops.convert_to_numpy(seen(images[:, :, ::-1] if mirrored else images))
        np.testing.assert_allclose(pipeline.features.vectors(rows, mirrored), maps.mean((1, 2)), rtol=1e-4, atol=1e-5)
    assert "8 features of 24 images and their mirror images by tiny.keras.\n" in pipeline.stdout
    assert "Inference by ONNX Runtime" in pipeline.stderr


def test_tasks_of_a_cluster_compute_the_same_features(pipeline, monkeypatch):
    monkeypatch.setattr("posterity.nn.device.configure", lambda *_, seed: None)  # it is for a process of its own
    settings = load_params(pipeline.root / "frozen.yaml").machine.device
    network, tensors = str(pipeline.root / "data/features/backbone.keras"), str(pipeline.root / "data/tensors")
    rows = [5, 0, 23]
    loaded_before = _load.cache_info().misses
    found = compute_features(rows, network=network, tensors=tensors, settings=settings, graphs=KeptGraphs(None, ""))
    for view in (False, True):
        np.testing.assert_array_equal(found[:, int(view)], pipeline.features.vectors(rows, view))
    # Every task of a cluster gets a copy of its own of the arguments, and the network is loaded once all the same.
    again = {
        "settings": pickle.loads(pickle.dumps(settings)),
        "graphs": pickle.loads(pickle.dumps(KeptGraphs(None, ""))),
    }
    compute_features(rows, network=network, tensors=tensors, **again)
    assert _load.cache_info().misses == loaded_before + 1


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_model_gives_what_the_head_gives_for_the_cached_features(pipeline, mirrored):
    model, rows = pipeline.models["frozen"], np.arange(len(pipeline.cache))
    images = pipeline.cache.images(rows)
    scores = model.predict_on_batch(images[:, :, ::-1] if mirrored else images)
    assert np.ptp(scores, axis=0).max() > 0.05
    on_features = model.get_layer("head").predict_on_batch(pipeline.features.vectors(rows, mirrored))
    np.testing.assert_allclose(scores, on_features, atol=1e-5)


@pytest.mark.parametrize("run", RUNS)
def test_the_scores_are_those_of_the_saved_model_on_the_validation_rows(pipeline, run):
    scores = np.load(pipeline.root / run / "scores.npy")
    assert scores.dtype == np.float32
    expected = pipeline.models[run].predict_on_batch(pipeline.cache.images(pipeline.rows))
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_the_mean_of_both_views_is_the_same_for_an_image_and_its_mirror_image(pipeline):
    images = pipeline.cache.images(pipeline.rows)
    model = pipeline.models["views"]
    scores = model.predict_on_batch(images)
    np.testing.assert_allclose(scores, model.predict_on_batch(images[:, :, ::-1]), atol=1e-6)
    assert [layer.name for layer in model.get_layer("head").layers][1:3] == ["head1", "head2"]
    heads = [
        model.get_layer("head").predict_on_batch(pipeline.features.vectors(pipeline.rows, view)) for view in (0, 1)
    ]
    assert np.ptp(heads, axis=0).max() > 0.01  # the views differ
    np.testing.assert_allclose(scores, np.mean(heads, axis=0), atol=1e-5)


def test_the_mean_of_both_views_can_be_exported(pipeline, capsys):
    images = pipeline.cache.images(pipeline.rows)
    compute = engines.batch_function(pipeline.models["views"], "onnxruntime", images)
    np.testing.assert_allclose(compute(images), pipeline.models["views"].predict_on_batch(images), atol=1e-5)
    assert "WARNING" not in capsys.readouterr().err


def test_out_of_fold_scores_are_those_of_the_head_that_did_not_see_the_row(pipeline):
    train = split_file.read(pipeline.root / "data/split.csv", cached_rows.read(pipeline.root / "data/rows").index).train
    assert np.load(pipeline.root / "frozen/out_of_fold.npy").shape == (0, len(train), 3)
    (scores,) = np.load(pipeline.root / "views/out_of_fold.npy")
    parts = pipeline.models["views"].get_layer("head")
    of_heads = []
    for name in ("head1", "head2"):
        views = [parts.get_layer(name).predict_on_batch(pipeline.features.vectors(train, view)) for view in (0, 1)]
        of_heads.append(np.mean(views, axis=0))
    differences = np.abs(scores - np.stack(of_heads)).max(axis=2)
    by_first = differences[0] < 1e-5
    assert (differences.min(axis=0) < 1e-5).all()
    assert 0 < by_first.sum() < len(train)


def test_finetuned_networks_of_folds_are_averaged_and_score_the_rows_that_they_did_not_see(pipeline):
    train = split_file.read(pipeline.root / "data/split.csv", cached_rows.read(pipeline.root / "data/rows").index).train
    model = pipeline.models["tuned folds"]
    networks = [model.get_layer(name) for name in ("classifier1", "classifier2")]
    start = weights_of(keras_file.load(pipeline.features.backbone_path))["high/kernel"]
    kernels = [weights_of(network.get_layer("backbone"))["high/kernel"] for network in networks]
    for one, other in ((start, kernels[0]), (start, kernels[1]), (kernels[0], kernels[1])):
        assert (one != other).any()  # each was tuned, from the same start, on rows of its own
    images = pipeline.cache.images(train)
    answers = np.stack([network.predict_on_batch(images) for network in networks])
    np.testing.assert_allclose(model.predict_on_batch(images), answers.mean(axis=0), atol=1e-5)
    (scores,) = np.load(pipeline.root / "tuned folds/out_of_fold.npy")
    is_close = np.abs(scores - answers).max(axis=2) < 1e-5
    assert is_close.any(axis=0).all()
    assert 0 < is_close[0].sum() < len(train)
    history = pipeline.history["tuned folds"]
    assert history["network"].tolist() == ["1"] * 5 + ["2"] * 5
    assert history["phase"].tolist() == (["head"] * 3 + ["finetune"] * 2) * 2


def test_a_frozen_backbone_is_left_alone(pipeline):
    assert changed_weights(pipeline, "frozen") == set()


def test_finetuning_trains_all_but_batch_normalisation(pipeline):
    assert changed_weights(pipeline, "whole") == {"low/kernel", "high/kernel", "high/bias"}


def test_finetuning_of_the_top_layer(pipeline):
    assert changed_weights(pipeline, "top") == {"high/kernel", "high/bias"}


def test_the_head_is_trained_first(pipeline):
    head = pipeline.history["frozen"]
    assert head["phase"].tolist() == ["head"] * 3
    for run in ("whole", "top"):
        history = pipeline.history[run]
        assert history["phase"].tolist() == ["head"] * 3 + ["finetune"] * 2
        assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
        pd.testing.assert_frame_equal(history[:3], head)
        assert files.read_json(pipeline.root / run / "train.json")["kept_epoch"] == 5
    assert pipeline.history["whole"]["val_bce"][4] != pipeline.history["top"]["val_bce"][4]


def test_prediction_sees_what_evaluation_saw(pipeline):
    scores = files.read_csv(pipeline.root / "data/scores.csv", **{"score:Red": "float64"})
    predicted = files.read_csv(pipeline.root / "data/predictions/new.csv", Red="float64")
    by_id = {Path(path).stem: score for path, score in zip(predicted["path"], predicted["Red"], strict=True)}
    assert len(scores) == len(pipeline.rows)
    np.testing.assert_allclose([by_id[id_] for id_ in scores["id"]], scores["score:Red"], atol=2e-6)


def test_only_what_changes_features_computes_them_again():
    listed = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]["features"]["params"]
    read = {"machine.device", "model.backbone", "model.backbone_folder", "model.name"}
    assert set(listed) == read | {"model.pyramid_levels", "model.weights"}


@pytest.mark.parametrize("listed", [["other.keras"], ["tiny.keras", "other.keras"]])
def test_features_of_other_backbones_are_not_trained_on(pipeline, listed, monkeypatch):
    monkeypatch.chdir(pipeline.root)
    params = YAML().load(Path("frozen.yaml"))
    params["model"]["backbone"] = listed
    YAML().dump(params, Path("listed.yaml"))
    run = run_script("train", "--params", "listed.yaml")
    assert run.code == 2
    assert run.stderr.startswith(f"error: data/features: expected features by {listed} of 24 images. ")
    assert "Got ['tiny.keras'] of 24. Run `dvc repro features`." in run.stderr


def test_features_of_other_pyramid_levels_are_not_trained_on(pipeline, monkeypatch):
    monkeypatch.chdir(pipeline.root)
    params = YAML().load(Path("frozen.yaml"))
    params["model"]["pyramid_levels"] = 2
    YAML().dump(params, Path("levels.yaml"))
    run = run_script("train", "--params", "levels.yaml")
    assert run.code == 2
    assert run.stderr == (
        "error: data/features: expected features by ['tiny.keras'] at 2 pyramid levels of 24 images. "
        "Got ['tiny.keras'] at 1 pyramid level of 24. Run `dvc repro features`.\n"
    )

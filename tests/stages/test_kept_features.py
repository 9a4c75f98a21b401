"""Stage `features` computes what is new and keeps the rest, with the same bytes."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from posterity.nn.inference import precision, quantize
from small_backbone import FROZEN, save_backbone
from small_project import SmallProject, run_script


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a small backbone, which is the current folder."""
    project = SmallProject(tmp_path)
    (tmp_path / "backbones").mkdir()
    save_backbone(tmp_path / "backbones/tiny.keras")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("posterity.nn.device.configure", lambda *_, seed: None)  # it is for a process of its own
    return project


def test_features_of_images_that_the_last_run_had_are_kept(project, monkeypatch):
    """One image is new, one is gone, one is at another place: all bytes are those of a run that computes all."""
    header, *rows = Path("labels.csv").read_text().splitlines()
    project.params(FROZEN | {"machine.reuse_folder": "kept"})

    def features_of(rows=None):
        if rows is not None:
            project.rows([header, *rows])
            assert run_script("validate").code == run_script("preprocess").code == 0
        # Keras numbers layers as it makes them: a process that makes a second network gives it other names.
        keras.backend.clear_session()
        ran = run_script("features")
        assert ran.code == 0, ran.stderr
        names = ("features.npy", "backbone.keras", "meta.json")
        return ran, {name: Path("data/features", name).read_bytes() for name in names}

    missing = "kept/features/note.json does not exist"
    ran, _ = features_of(rows[:-4])
    assert f"0 images known, 20 new; {missing}.\n" in ran.stdout
    ran, with_reuse = features_of([rows[-3], *rows[1:-5], rows[0], rows[-5]])
    assert "20 images known, 1 new.\n" in ran.stdout
    ran, again = features_of()
    assert "21 images known, 0 new.\n" in ran.stdout
    assert "Inference by" not in ran.stderr  # neither Keras nor ONNX Runtime has anything to do
    shutil.rmtree("kept/features")
    ran, without = features_of()
    assert f"0 images known, 21 new; {missing}.\n" in ran.stdout
    assert "Inference by ONNX Runtime" in ran.stderr
    assert with_reuse == again == without


def run_features(project, **changed):
    project.params(changed)
    keras.backend.clear_session()  # see above
    ran = run_script("features")
    assert ran.code == 0, ran.stderr
    return ran, Path("data/features/features.npy").read_bytes()


@pytest.mark.skipif(
    not set(precision.INSTRUCTIONS["int8"]) & set(precision.cpu_flags()), reason="needs a CPU with avx512_vnni"
)
def test_features_in_int8_do_not_depend_on_which_images_there_are(project, monkeypatch):
    """One image is new, one is gone: what was kept and what is new fit together, to the last bit."""
    header, *rows = Path("labels.csv").read_text().splitlines()
    project.params(FROZEN | {"machine.reuse_folder": "kept", "machine.device.inference_precision": "int8"})
    monkeypatch.setattr(quantize, "NUM_IMAGES", 4)
    for given in (rows[:-4], [rows[-3], *rows[1:-5], rows[0]]):
        project.rows([header, *given])
        assert run_script("validate").code == run_script("preprocess").code == 0
        ran, with_reuse = run_features(project)
    assert "19 images known, 1 new.\n" in ran.stdout
    assert "Inference by ONNX Runtime in int8 (difference from Keras: " in ran.stderr
    ran, without = run_features(project, **{"machine.reuse_folder": None})
    assert with_reuse == without
    ran, in_float32 = run_features(project, **{"machine.device.inference_precision": "float32"})
    assert in_float32 != without
    one, other = (np.frombuffer(data[128:], np.float32) for data in (in_float32, without))
    assert np.abs(one - other).mean() < 0.1 * np.abs(one).mean()


def test_the_graph_is_kept_apart_from_the_features(project, monkeypatch):
    """Without the features of the last run all are computed again, by the graph that is there."""
    project.params(FROZEN | {"machine.reuse_folder": "kept"})
    assert run_script("validate").code == run_script("preprocess").code == 0
    _, first = run_features(project)
    (kept,) = Path("kept/graphs").iterdir()
    shutil.rmtree("kept/features")
    with monkeypatch.context() as patch:
        patch.setattr("posterity.nn.inference.export.to_onnx", None)
        ran, again = run_features(project)
    assert "Inference by ONNX Runtime" in ran.stderr
    assert again == first
    shutil.rmtree("kept/features")
    kept.write_bytes(kept.read_bytes()[:-1])  # a damaged one is made again
    _, anew = run_features(project)
    assert anew == first

"""All stages with a preset of KerasHub: a DINOv3 of 3 blocks with random weights, fine-tuned by LoRA."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import tiny_presets
from posterity import files
from posterity.nn import keras_file
from small_project import SmallProject, environment, run_script

pytest.importorskip("keras_hub")
pytestmark = pytest.mark.slow

SETTINGS = {
    "model.name": "backbone",
    "model.backbone": ["tiny"],
    "model.backbone_folder": "backbones",
    "model.mode": "finetune",
    "model.head": {"hidden_units": 0, "dropout": 0.0, "both_views": False},
    "model.finetune": {"epochs": 2, "learning_rate": 0.05, "layers": 2, "lora_rank": 3},
    "train.epochs": 2,
    "train.optimizer": "adamw",
    "train.mixup": 0.2,
    "decide.calibration": "off",
    "machine.device.inference_engine": "auto",
    "predict.images": {"new": "images"},
}
STAGES = """
import features, train, evaluate, predict
features.main([])
train.main([])
evaluate.main([])
predict.main(["new"])
"""


def run_stages(root, script=STAGES):
    return subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=environment(), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    project = SmallProject(root)
    (root / "backbones/tiny").mkdir(parents=True)
    tiny_presets.save(root / "backbones/tiny", "dinov3")
    project.params(SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for stage in ("validate", "preprocess", "split"):
            assert run_script(stage).code == 0
    done = run_stages(root)
    assert done.returncode == 0, done.stderr
    assert "16 features of 24 images and their mirror images by tiny." in done.stdout
    assert "Inference by ONNX Runtime" in done.stderr
    return project


def test_lora_changes_the_kernels_of_the_query_and_the_value_alone(project):
    before = keras_file.load(project.root / "data/features/backbone.keras")
    after = keras_file.load(project.root / "models/model.keras").get_layer("backbone")
    changed = {
        "/".join(new.path.split("/")[-4:])
        for old, new in zip(before.weights, after.weights, strict=True)
        if (keras.ops.convert_to_numpy(old) != keras.ops.convert_to_numpy(new)).any()
    }
    attention = [f"layers_{block}/attention/{name}/kernel" for block in (1, 2) for name in ("q_proj", "v_proj")]
    assert changed == set(attention)


def test_what_is_saved_is_a_plain_network(project):
    assert "lora" not in (project.root / "models/summary.txt").read_text()
    metrics = json.loads((project.root / "metrics/train.json").read_text())
    saved = keras_file.load(project.root / "models/model.keras")
    assert metrics["parameters"] == saved.count_params()


def test_prediction_sees_what_evaluation_saw(project):
    scores = files.read_csv(project.root / "data/scores.csv", **{"score:Red": "float64"})
    predicted = files.read_csv(project.root / "data/predictions/new.csv", Red="float64")
    by_id = {
        path.split("/")[-1].split(".")[0]: score
        for path, score in zip(predicted["path"], predicted["Red"], strict=True)
    }
    np.testing.assert_allclose([by_id[id_] for id_ in scores["id"]], scores["score:Red"], atol=1e-5)


INTERRUPTED = """
import train
from posterity.nn.training import checkpoints
saved = checkpoints.Recorder.on_epoch_end
def stop(self, epoch, logs=None):
    saved(self, epoch, logs)
    if self.name == "finetune":
        raise KeyboardInterrupt
checkpoints.Recorder.on_epoch_end = stop
train.main(["--trained", "again.keras", "--scores", "again.npy"])
"""


@pytest.mark.proof
def test_an_interrupted_training_goes_on_with_the_additions(project):
    """They are in the checkpoint, not in the kernels."""
    # In a process of its own, as `dvc repro` does: Keras numbers layers as it makes them.
    whole = run_stages(project.root, "import train; train.main(['--trained', 'whole.keras', '--scores', 'whole.npy'])")
    assert whole.returncode == 0, whole.stderr
    stopped = run_stages(project.root, INTERRUPTED)
    assert "KeyboardInterrupt" in stopped.stderr
    done = run_stages(project.root, "import train; train.main(['--trained', 'again.keras', '--scores', 'again.npy'])")
    assert done.returncode == 0, done.stderr
    assert "Going on after epoch 1 of finetune." in done.stdout
    assert (project.root / "again.keras").read_bytes() == (project.root / "whole.keras").read_bytes()
    assert (project.root / "again.npy").read_bytes() == (project.root / "whole.npy").read_bytes()


def test_a_network_without_attention_is_said(project):
    project.params({"model.backbone": ["other.keras"]})
    layers = [keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 5, strides=4)]
    keras.Sequential(layers).save(project.root / "backbones/other.keras")
    done = run_stages(project.root, "import features, train; from posterity import script\n"
                      "features.main([]); script.run(lambda: train.main([]))")  # fmt: skip
    assert done.returncode == 2
    assert "error: params.yaml: model.finetune.lora_rank needs a transformer whose attention has a query" in done.stderr

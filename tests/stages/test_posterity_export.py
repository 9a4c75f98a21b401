"""`posterity export` from a model to its files, and `posterity predict` with them."""

import dataclasses
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from posterity import Classifier, cli, files
from posterity.cache import rows
from posterity.cache.tensor_writer import CacheWriter
from posterity.errors import UserError
from posterity.evaluation.calibration import Calibration
from posterity.evaluation.decisions import Decisions
from posterity.model_card import ModelCard
from posterity.nn import keras_file
from posterity.nn.inference import precision, quantize
from posterity.nn.inference.exported import ExportedClassifier
from posterity.pixels.spec import ImageSpec
from small_project import ROOT, environment

PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert", "savedmodel": "tensorflow"}
# All rules in one format, and every format with one: what decides is the same graph in all of them.
CASES = [("onnx", "thresholds"), ("onnx", "at_least_one"), ("onnx", "exactly_one"), ("openvino", "at_least_one"),
         ("litert", "at_least_one"), ("savedmodel", "exactly_one")]  # fmt: skip
FORMATS = [
    pytest.param(
        name,
        rule,
        marks=pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed"),
    )
    for name, rule in CASES
    for package in [PACKAGES[name]]
]
FILES = {"onnx": "model.onnx", "openvino": "model.xml", "litert": "model.tflite", "savedmodel": "model/saved_model.pb"}
SPEC = ImageSpec(height=24, width=16)
LABELS = ("Red, warm", "N/A \"<&\\>'\u202e", "\u00c9t\u00e9 \U0001f3ac")
SHAS = ["0" * 64] * 20
CURVES = (((0.0, 0.01), (0.25, 0.25), (0.5, 0.8)), ((0.25, 0.125), (0.75, 0.5)), ((0.5, 0.5),))
DECISIONS = {
    "thresholds": Decisions(Calibration("off", ((),) * 3), (0.25, 0.5, 2.0), at_least_one=False),
    "at_least_one": Decisions(Calibration("isotonic", CURVES), (0.7, 0.45, 0.6), at_least_one=True),
    "exactly_one": Decisions(
        Calibration("platt", (((1.5, -0.5),), ((1.0, 0.0),), ((0.5, 0.1),))), (0.5,) * 3, False, exactly_one=True
    ),
}


def pictures(number=20):
    """Plain colours with some noise: the scores of a network differ from one to the next."""
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 200, (number, 1, 1, 3))
    return (colours + generator.integers(0, 56, (number, SPEC.height, SPEC.width, 3))).astype(np.uint8)


def network():
    """The mean of two networks of random weights, as folds give it, and of the colours, which spread the scores."""
    keras.utils.set_random_seed(3)
    images = keras.Input((SPEC.height, SPEC.width, 3), dtype="uint8")
    colours = keras.layers.Rescaling(1 / 255)(images)
    pooled = [keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3, 2, "same")(colours)) for _ in range(2)]
    folds = [keras.layers.Dense(3, activation="sigmoid")(one) for one in pooled]
    means = keras.layers.GlobalAveragePooling2D()(colours)
    return keras.Model(images, keras.layers.Average()([*folds, means, means]))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a model for each kind of decisions, a run's data, and images of other sizes."""
    root = tmp_path_factory.mktemp("project")
    members = keras_file.members(network())
    for name, decisions in DECISIONS.items():
        card = ModelCard(LABELS, (0.5, 0.3, 0.6), SPEC, dataclasses.asdict(decisions))
        files.write_archive(root / f"{name}.keras", members | card.as_member())
    writer = CacheWriter(root / "data/tensors", SPEC, rows_per_shard=8)
    for image in pictures():
        writer.append(image)
    writer.close()
    index = pd.DataFrame({"line": range(2, 22), "id": [f"i{k}" for k in range(20)], "sha256": SHAS})
    targets = np.random.default_rng(1).integers(0, 2, (20, 3)).astype(np.uint8)
    rows.write(root / "data/rows", index, targets, LABELS)
    files.write_csv(root / "data/split.csv", index[["line", "id"]].assign(side=["train", "validation"] * 10))
    (root / "images").mkdir()
    for k, size in enumerate([(16, 24), (33, 47), (9, 50), (100, 140)]):
        Image.fromarray(pictures(k + 1)[k]).resize(size, Image.Resampling.BICUBIC).save(root / f"images/{k}.jpg")
    return root


@pytest.fixture
def posterity(project, monkeypatch, capsys):
    """Runs a command in the project: exit code, stdout, stderr."""
    monkeypatch.chdir(project)
    monkeypatch.setattr(quantize, "NUM_IMAGES", 4)  # to draw them takes time

    def run(*argv):
        code = 0
        try:
            cli.main([str(word) for word in argv])
        except SystemExit as done:
            code = done.code
        return code, *capsys.readouterr()

    yield run
    shutil.rmtree(project / "exports", ignore_errors=True)


@pytest.mark.parametrize(("form", "rule"), FORMATS)
def test_an_export_predicts_as_the_model_does(posterity, form, rule):
    code, stdout, stderr = posterity("export", form, "--model", f"{rule}.keras", "--benchmark", 0)
    assert code == 0, stderr
    assert "on 10 images of the validation side: the largest difference of a probability is " in stdout
    assert "; 0 of 30 decisions differ." in stdout
    assert sorted(path.name for path in Path("exports", form).iterdir())[:2] == ["README.md", "labels.json"]
    content = json.loads(Path("exports", form, "labels.json").read_text(encoding="utf-8"))
    assert tuple(content["label_names"]) == LABELS
    assert content["decisions"]["thresholds"] == list(DECISIONS[rule].thresholds)
    assert content["data_sha256"] is None  # no dvc.lock here says which data the model is of

    model, exported = Classifier(f"{rule}.keras"), Classifier(f"exports/{form}")
    assert isinstance(exported, ExportedClassifier)
    assert exported.label_names == LABELS
    assert exported.exactly_one is (rule == "exactly_one")
    images = ["images", Path("images/1.jpg").read_bytes(), pictures()[3], "gone.jpg"]
    for expected, got in zip(model.predict(images), exported.predict(images), strict=True):
        assert (got.path, got.error) == (expected.path, expected.error)
        if not expected.error:
            assert got.probabilities.dtype == expected.probabilities.dtype
            assert got.decided.dtype == bool
            np.testing.assert_allclose(got.probabilities, expected.probabilities, atol=1e-5)
            np.testing.assert_array_equal(got.decided, expected.decided)
    if rule == "exactly_one":
        outputs = [posterity("predict", "images", "--model", path) for path in (f"{rule}.keras", f"exports/{form}")]
        assert outputs[0][:2] == outputs[1][:2]


@pytest.fixture(scope="module")
def kept_export(project):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        cli.main(["export", "onnx", "--model", "thresholds.keras", "--benchmark", "0.01", "--output", "kept"])
    return project / "kept"


@pytest.fixture
def onnx_export(posterity, kept_export):
    """The folder of an export, which a test may damage."""
    shutil.copytree(kept_export, "exports/onnx")
    return Path("exports/onnx")


def refusal(path):
    with pytest.raises(UserError) as error:
        Classifier(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_predicting_from_onnx_loads_neither_tensorflow_nor_keras(onnx_export):
    code = (
        "import sys; from posterity import Classifier; found = list(Classifier('exports/onnx').predict('images'));"
        "print(len(found), [name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "4 []\n"


def test_the_script_of_the_readme_prints_what_posterity_predicts(onnx_export):
    code = re.search(r"```python\n(.*?)```", (onnx_export / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    (onnx_export / "predict.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-I", str(onnx_export / "predict.py"), "images/3.jpg"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    (expected,) = Classifier("thresholds.keras").predict("images/3.jpg")
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[2] for line in lines] == list(LABELS)
    np.testing.assert_allclose([float(line[0]) for line in lines], expected.probabilities, atol=1e-4)
    assert [line[1] == "yes" for line in lines] == expected.decided.tolist()


def test_the_same_model_gives_the_same_file(onnx_export, posterity):
    before = {path.name: path.read_bytes() for path in onnx_export.iterdir()}
    posterity("export", "onnx", "--model", "thresholds.keras", "--benchmark", 0)
    assert {path.name: path.read_bytes() for path in onnx_export.iterdir()} == before


def test_an_export_that_decides_otherwise_is_refused_and_leaves_the_old_one(onnx_export, posterity, monkeypatch):
    from posterity.exporting import onnx_format

    before = sorted(path.stat().st_mtime_ns for path in onnx_export.iterdir())
    wrong = dataclasses.replace(DECISIONS["thresholds"], thresholds=(0.9, 0.9, 0.0))
    made = onnx_format.decision_function
    monkeypatch.setattr(onnx_format, "decision_function", lambda decisions: made(wrong))
    code, _, stderr = posterity("export", "onnx", "--model", "thresholds.keras", "--benchmark", 0)
    assert code == 2
    assert re.search(
        r"agree with Keras to 0\.0001, .* Got a difference of \S+ and \d+ such decisions\. Nothing", stderr
    )
    assert sorted(path.stat().st_mtime_ns for path in onnx_export.iterdir()) == before
    assert [path.name for path in Path("exports").iterdir()] == ["onnx"]


@pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="ai_edge_litert is not installed")
def test_a_lower_precision_is_judged_by_its_loss(posterity, monkeypatch):
    from posterity.exporting import comparison

    options = ("export", "litert", "--model", "thresholds.keras", "--benchmark", 0, "--precision", "int8")
    code, stdout, _ = posterity(*options, "--max-loss", 1)
    assert code == 0
    assert re.search(r"With int8, on calibrated probabilities: bce 0\.\d{4} -> .*, map_macro 0\.\d{4} -> ", stdout)
    losses = iter([comparison.Loss(0.25, 0.5), comparison.Loss(0.26, 0.4)])
    monkeypatch.setattr(comparison, "loss", lambda *_: next(losses))
    code, stdout, stderr = posterity(*options, "--output", "exports/other")
    assert code == 2
    assert "bce 0.2500 -> 0.2600 (+0.0100), map_macro 0.5000 -> 0.4000 (-0.1000)." in stdout
    assert "adds 0.0100 to the bce of the validation side; at most 0.002 are allowed (--max-loss)" in stderr
    assert not Path("exports/other").exists()


def test_without_a_run_drawn_images_are_compared_and_nothing_is_said_of_loss(posterity, monkeypatch):
    options = ("export", "onnx", "--model", "thresholds.keras", "--benchmark", 0, "--data", "nowhere")
    code, stdout, _ = posterity(*options)
    assert code == 0
    assert "The validation side is not compared: nowhere/rows does not exist." in stdout
    assert "on 4 drawn images" in stdout
    monkeypatch.setattr(precision, "cpu_flags", lambda: ["avx512_vnni"])  # refused before anything is computed
    code, _, stderr = posterity(*options, "--precision", "int8")
    assert code == 2
    assert "is judged by its loss on the validation side, and there is none: nowhere/rows does not exist" in stderr


def test_images_of_the_user_are_compared(posterity):
    options = ("export", "onnx", "--model", "thresholds.keras", "--benchmark", 0, "--images")
    assert "on 4 images of --images: " in posterity(*options, "images")[1]
    code, _, stderr = posterity(*options, "nothing.jpg")
    assert (code, "--images nothing.jpg: " in stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["savedmodel", "--precision", "int8"], "--precision int8: expected float32, which savedmodel has"),
        (["onnx", "--precision", "bf16"], "or the format openvino."),
        (["onnx", "--max-loss", "-1"], "expected a number of at least 0, got -1"),
        (["onnx", "--output", "images"], "images would be replaced as a whole"),
        (["onnx", "--model", "gone.keras"], "gone.keras: there is no model here."),
    ],
)
def test_mistakes_are_one_message(posterity, arguments, said):
    given = [] if "--model" in arguments else ["--model", "thresholds.keras"]
    code, _, stderr = posterity("export", *arguments, *given)
    assert code == 2
    assert said in stderr
    assert not Path("exports").exists()


def test_a_cpu_without_the_instructions_is_refused(posterity, onnx_export, monkeypatch):
    monkeypatch.setattr(precision, "cpu_flags", lambda: ["avx2"])
    code, _, stderr = posterity("export", "onnx", "--model", "thresholds.keras", "--precision", "int8")
    assert (code, "--precision int8: int8 needs a CPU with avx512_vnni or avx_vnni" in stderr) == (2, True)
    Classifier(onnx_export)  # float32 needs none of them


def test_damaged_and_foreign_files_are_one_message(onnx_export):
    onnx = pytest.importorskip("onnx")
    model = onnx_export / "model.onnx"
    sound = model.read_bytes()
    flipped = bytearray(sound)
    flipped[len(sound) // 2] ^= 1
    model.write_bytes(flipped)
    assert "expected the bytes that `posterity export` wrote (sha256 in labels.json beside it). Got others." in refusal(
        model
    )
    (onnx_export / "labels.json").unlink()  # a model alone is taken for what it says
    for content in (b"", sound[:100], b"no graph"):
        model.write_bytes(content)
        assert "model.onnx: expected a model that `posterity export onnx` made. Got " in refusal(onnx_export)

    graph = onnx.load_from_string(sound)
    del graph.metadata_props[:]
    model.write_bytes(graph.SerializeToString())
    assert "Got no 'label_names' in its metadata." in refusal(model)

    graph = onnx.load_from_string(sound)
    graph.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    graph.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    model.write_bytes(graph.SerializeToString())
    assert "Got ValueError: data outside the file" in refusal(model)

    graph = onnx.load_from_string(sound)
    for entry in graph.metadata_props:
        if entry.key == "posterity.label_names":
            entry.value = json.dumps(["a", "b", "c", "d"])
        if entry.key == "posterity.label_frequencies":
            entry.value = json.dumps([0.5] * 4)
    model.write_bytes(graph.SerializeToString())
    assert "a graph that is not what its metadata say: ('probabilities', 'float32', (3,))" in refusal(model)
    model.unlink()
    assert "model.onnx: there is no model here. Make one with `posterity export onnx`" in refusal(model)


def test_an_exported_model_has_its_engine_and_precision(onnx_export):
    with pytest.raises(UserError, match=r"has its own engine\. Expected auto\. Got engine keras\. Leave it out"):
        Classifier(onnx_export, engine="keras")
    with pytest.raises(UserError, match=r"has its own precision\. Expected float32\. Got precision int8\."):
        Classifier(onnx_export, precision="int8")


@pytest.mark.parametrize("operation", ["ReadFile", "WriteFile", "EagerPyFunc", "PrintV2"])
def test_a_saved_model_that_does_more_than_compute_is_not_loaded(tmp_path, operation):
    import tensorflow as tf

    does = {
        "ReadFile": lambda images: tf.io.read_file("/etc/hostname"),
        "WriteFile": lambda images: tf.io.write_file(str(tmp_path / "written"), "x"),
        "EagerPyFunc": lambda images: tf.py_function(lambda: 1, [], tf.int32),
        "PrintV2": lambda images: tf.print("x", output_stream=f"file://{tmp_path}/written"),
    }[operation]

    @tf.function
    def inner(images):
        does(images)
        return images

    @tf.function(input_signature=[tf.TensorSpec((None, 2, 2, 3), tf.uint8, name="images")])
    def serve(images):
        inner(images)
        return {"probabilities": tf.zeros((1, 1)), "decisions": tf.zeros((1, 1), tf.bool)}

    tf.saved_model.save(tf.Module(), str(tmp_path / "model"), signatures={"serving_default": serve})
    (tmp_path / "model/assets.extra").mkdir()
    assert f"Got ValueError: the operation {operation}, which is not allowed." in refusal(tmp_path / "model")
    assert not (tmp_path / "written").exists()


@pytest.mark.proof
@pytest.mark.parametrize(
    ("form", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino"), ("litert", "ai-edge-litert")]
)
def test_the_script_runs_in_an_environment_without_tensorflow(posterity, tmp_path, form, package):
    pytest.importorskip(PACKAGES[form])
    python = tmp_path / "env/bin/python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "requirements.lock", "numpy", "pillow", package]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot install {package}: {done.stderr[-200:]}")
    assert subprocess.run([python, "-c", "import tensorflow"], capture_output=True).returncode
    assert posterity("export", form, "--model", "at_least_one.keras", "--benchmark", 0)[0] == 0
    folder = Path("exports", form)
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    (folder / "predict.py").write_text(code, encoding="utf-8")
    for expected in Classifier("at_least_one.keras").predict("images"):
        command = [python, "-I", folder / "predict.py", expected.path]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        np.testing.assert_allclose([float(line[0]) for line in lines], expected.probabilities, atol=1e-4)
        assert [line[1] == "yes" for line in lines] == expected.decided.tolist()

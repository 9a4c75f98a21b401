"""`posterity predict` from model and image files to the output; what the model says can be worked out by hand."""

import contextlib
import csv
import dataclasses
import json
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from posterity import cli
from posterity.errors import UserError
from posterity.evaluation.calibration import Calibration
from posterity.evaluation.decisions import Decisions
from posterity.model_card import ModelCard
from posterity.nn import keras_file
from posterity.nn.inference import classifier, engines, precision
from posterity.nn.inference.classifier import Classifier
from posterity.pixels import decode
from posterity.pixels.spec import ImageSpec
from posterity.workers.threads import threads
from small_project import environment

# Not the default in any field. An image of 4 x 4 gets bars of 2 rows above and below it.
SPEC = ImageSpec(height=8, width=4, resampling="nearest", fit="pad", max_pixels=200)
LABELS = ("Red, warm", "N/A", "Blue")
# The score itself up to 1/2; above it, half as steep for the first label, so that 1 becomes 3/4.
CURVES = (((0.0, 0.0), (0.5, 0.5), (1.0, 0.75)), ((0.0, 0.0), (1.0, 1.0)), ((0.0, 0.0), (1.0, 1.0)))
BY_KERAS = "Inference by Keras.\n"
DECISIONS = Decisions(Calibration("isotonic", CURVES), (0.7, 0.3, 0.8), at_least_one=False)


@pytest.fixture(scope="module")
def network():
    """A model that answers with the means of red, green and blue."""
    pixels = keras.Input((SPEC.height, SPEC.width, 3), dtype="uint8")
    means = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    return keras.Model(pixels, means)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory, network):
    path = tmp_path_factory.mktemp("model") / "means.keras"
    keras_file.save(network, path, ModelCard(LABELS, (0.5, 0.5, 0.5), SPEC, dataclasses.asdict(DECISIONS)).as_member())
    return path


@pytest.fixture
def posterity(tmp_path, monkeypatch, capsys, model_file):
    monkeypatch.chdir(tmp_path)
    for name, size, colour in [
        ("full.png", (4, 8), (255, 51, 0)),
        ("square.png", (4, 4), (255, 255, 255)),
        ("new/a,b.png", (4, 8), (0, 0, 255)),
        ("new/deep/c.png", (8, 16), (51, 102, 153)),
    ]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(name)
    Path("new/notes.txt").write_text("no image")
    Path("empty.jpg").touch()

    def run(*argv):
        code = 0
        try:
            cli.main(["predict", "--model", str(model_file), *argv])
        except SystemExit as done:
            code = done.code
        return code, *capsys.readouterr()

    return run


def test_files_folders_and_patterns_as_csv(posterity):
    code, stdout, stderr = posterity("square.png", "new", "empty.jpg", "gone.png", "*ll.png", "--format", "csv")
    assert list(csv.reader(stdout.splitlines())) == [
        ["path", "error", "labels", *LABELS],
        ["square.png", "", '["N/A"]', "0.500000", "0.500000", "0.500000"],  # half of it is black bars
        ["new/a,b.png", "", '["Blue"]', "0.000000", "0.000000", "1.000000"],
        ["new/deep/c.png", "", '["N/A"]', "0.200000", "0.400000", "0.600000"],
        ["empty.jpg", "is empty (0 bytes)", "", "", "", ""],
        ["gone.png", "no such file", "", "", "", ""],
        ["full.png", "", '["Red, warm"]', "0.750000", "0.200000", "0.000000"],
    ]
    assert (code, stderr) == (1, f"{BY_KERAS}2 of 6 inputs could not be read.\n")


def test_table(posterity):
    assert posterity("new/deep/c.png", "full.png", "--top-k", "2") == (
        0,
        "new/deep/c.png: N/A 0.400 | Blue 0.600\nfull.png: Red, warm 0.750 | N/A 0.200\n",
        BY_KERAS,
    )


def test_a_threshold_is_applied_to_the_calibrated_probability(posterity):
    options = ("--top-k", "1", "--threshold")
    assert posterity("new/deep/c.png", "full.png", *options, "0.35") == (
        0,
        "new/deep/c.png: Blue 0.600  N/A 0.400\nfull.png: Red, warm 0.750\n",
        BY_KERAS,
    )
    assert posterity("full.png", *options, "0.9")[1] == "full.png: - | Red, warm 0.750\n"


def test_jsonl_to_a_file(posterity):
    assert posterity("empty.jpg", "full.png", "--format", "jsonl", "--top-k", "1", "--output", "out/x.jsonl")[:2] == (
        1,
        "",
    )
    assert [json.loads(line) for line in Path("out/x.jsonl").read_text().splitlines()] == [
        {"path": "empty.jpg", "error": "is empty (0 bytes)"},
        {"path": "full.png", "labels": ["Red, warm"], "scores": {"Red, warm": 0.75, "N/A": 0.2, "Blue": 0.0}},
    ]
    assert [path.name for path in Path("out").iterdir()] == ["x.jsonl"]


def test_the_limit_on_pixels_travels_with_the_model(posterity):
    Image.new("RGB", (15, 14)).save("large.png")
    code, stdout, _ = posterity("large.png", "full.png", "--top-k", "1")
    assert code == 1
    assert stdout.splitlines() == [
        "large.png: ERROR: 15 x 14 = 210 pixels, over image.max_pixels = 200",
        "full.png: Red, warm 0.750",
    ]


def test_only_unreadable_inputs(posterity):
    assert posterity("empty.jpg", "new/notes.txt") == (
        1,
        "empty.jpg: ERROR: is empty (0 bytes)\nnew/notes.txt: ERROR: is not an image that Pillow can read\n",
        "2 of 2 inputs could not be read.\n",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no model here. Train one with `dvc repro`, or fetch it with `dvc pull`."),
        ("text", "expected a model that this pipeline trained (a .keras file with posterity.json inside)."),
    ],
)
def test_no_model(posterity, content, message):
    if content:
        Path("other.keras").write_text(content)
    code, stdout, stderr = posterity("full.png", "--model", "other.keras", "--output", "out.csv")
    assert (code, stdout) == (2, "")
    assert stderr.startswith(f"error: other.keras: {message}")
    assert not Path("out.csv").exists()


def test_a_classifier_from_python_answers_one_image_as_it_does_65(posterity, model_file):
    model = Classifier(model_file)
    assert model.label_names == LABELS
    (alone,) = model.predict(["new/deep/c.png"])
    crowd = list(model.predict([*["full.png"] * 64, "new/deep/c.png"]))
    assert (alone.path, alone.error) == ("new/deep/c.png", "")
    np.testing.assert_array_equal(crowd[64].probabilities, alone.probabilities)
    np.testing.assert_array_equal(crowd[64].decided, alone.decided)
    assert alone.decided.tolist() == [False, True, False]
    assert len({prediction.probabilities.tobytes() for prediction in crowd[:64]}) == 1


def test_both_engines_say_the_same(posterity):
    arguments = ("new/deep/c.png", "empty.jpg", "full.png")
    by_keras, by_onnx = (posterity(*arguments, "--engine", name) for name in ("keras", "onnxruntime"))
    assert by_onnx[:2] == by_keras[:2]
    assert by_keras[2].startswith(BY_KERAS)
    assert by_onnx[2].startswith("Inference by ONNX Runtime (difference from Keras: ")


@pytest.mark.skipif(
    not set(precision.INSTRUCTIONS["int8"]) & set(precision.cpu_flags()), reason="needs a CPU with avx512_vnni"
)
def test_a_lower_precision_is_taken_for_few_images_too(posterity):
    given = posterity("full.png", "--precision", "int8", "--format", "jsonl")
    assert given[2].startswith("Inference by ONNX Runtime in int8 (difference from Keras: ")
    assert given[0] == 0


def test_keras_has_no_int8(posterity):
    code, _, err = posterity("full.png", "--precision", "int8", "--engine", "keras")
    assert code == 2
    assert "inference_precision: int8 needs machine.device.inference_engine: onnxruntime or openvino. Got keras." in err


@pytest.mark.parametrize(("number", "runs"), [(4, "Keras."), (5, "ONNX Runtime (")])
def test_many_images_are_worth_an_export(posterity, model_file, monkeypatch, capsys, number, runs):
    monkeypatch.setattr(classifier, "EXPORT_FROM", 5)
    model = Classifier(model_file)
    for _ in range(2):  # not exported again
        assert len(list(model.predict(["full.png"] * number, show_progress=True))) == number
    message = capsys.readouterr().err
    assert message.startswith(f"Inference by {runs}")
    assert message.count("\n") == 1


def test_the_images_of_a_folder_in_a_list_count(posterity, model_file, monkeypatch, capsys):
    monkeypatch.setattr(classifier, "EXPORT_FROM", 4)
    for given, runs in [(["new", "full.png", "new"], "ONNX Runtime"), (["new", "full.png"], "Keras"), ("new", "Keras")]:
        list(Classifier(model_file).predict(given, show_progress=True))
        assert capsys.readouterr().err.startswith(f"Inference by {runs}")


@pytest.mark.parametrize(
    ("given", "number", "runs"),
    [(range(9), None, "Keras"), (range(9), 9, "ONNX Runtime"), ({1, 2, 3, 4, 5}, None, "ONNX Runtime")],
)
def test_a_generator_is_not_counted_unless_its_length_is_told(
    posterity, model_file, monkeypatch, capsys, given, number, runs
):
    monkeypatch.setattr(classifier, "EXPORT_FROM", 5)
    images = {f"{k}.png" for k in given} if isinstance(given, set) else ("full.png" for _ in given)
    for name in images if isinstance(given, set) else ():
        Path(name).write_bytes(Path("full.png").read_bytes())
    found = list(Classifier(model_file).predict(images, show_progress=True, num_images=number))
    assert len(found) == len(given)
    assert not any(prediction.error for prediction in found)
    assert capsys.readouterr().err.startswith(f"Inference by {runs}")


def test_one_picture_many_times_in_several_threads(posterity, model_file):
    with Image.open("new/deep/c.png") as picture:  # its pixels are not read yet
        found = list(Classifier(model_file).predict([picture] * 40, mapper=threads(4)))
    assert {tuple(prediction.scores.values()) for prediction in found} == {tuple(found[0].scores.values())}
    np.testing.assert_allclose(found[0].probabilities, [0.2, 0.4, 0.6], atol=1e-6)


def test_a_sigmoid_that_rounds_to_more_than_1(posterity, model_file, monkeypatch):
    above = np.full((1, 3), np.nextafter(np.float32(1), np.float32(2)))
    monkeypatch.setattr(engines, "batch_function", lambda *_, **__: lambda images: above)
    (answer,) = Classifier(model_file).predict(["full.png"])
    assert answer.probabilities.tolist() == [0.75, 1.0, 1.0]


def test_decoding_goes_on_while_the_network_computes(posterity, model_file, monkeypatch):
    """The network waits for the first image of the next batch, which comes in time only if threads decode it."""
    batch, decoded = classifier.BATCH_SIZE, threading.Semaphore(0)
    decode_one = decode.decode

    def counted(path, spec):
        array = decode_one(path, spec)
        decoded.release()
        return array

    in_time = []

    def compute(given):
        in_time.append(all(decoded.acquire(timeout=10) for _ in range(batch + 1)) if not in_time else True)
        return np.zeros((len(given), 3), np.float32)

    monkeypatch.setattr(decode, "decode", counted)
    monkeypatch.setattr(engines, "batch_function", lambda *_, **__: compute)
    answers = list(Classifier(model_file).predict(["full.png"] * (2 * batch), mapper=threads(2)))
    assert len(answers) == 2 * batch
    assert in_time == [True, True]


def test_paths_may_be_path_objects(posterity, model_file):
    by_text, by_path = (
        list(Classifier(model_file, engine="keras").predict(paths)) for paths in (["full.png"], [Path("full.png")])
    )
    assert by_path[0].path == by_text[0].path == "full.png"
    assert by_path[0].scores == by_text[0].scores


def test_one_image_in_any_form_and_a_result_that_reads_well(posterity, model_file):
    model = Classifier(model_file, engine="keras")
    given = ["full.png", Path("full.png"), Path("full.png").read_bytes(), np.asarray(Image.open("full.png"))]
    for one in given:
        (answer,) = model.predict(one)
        assert answer.labels == ["Red, warm"]
        assert list(answer.scores) == list(LABELS)
        assert answer.scores["Red, warm"] == 0.75
        assert answer.error == ""
    (answer,) = model.predict(b"no image")
    assert (answer.path, answer.labels, answer.scores) == ("image 1", [], {})
    assert answer.error == "is not an image that Pillow can read"
    assert repr(answer) == "Prediction('image 1', error='is not an image that Pillow can read')"
    assert [answer.path for answer in model.predict("new")] == ["new/a,b.png", "new/deep/c.png"]


def test_a_generator_of_images_is_read_as_it_is_needed(posterity, model_file):
    def endless():
        while True:
            yield "full.png"

    with contextlib.closing(Classifier(model_file).predict(endless(), mapper=threads(2))) as found:
        assert next(found).labels == ["Red, warm"]


def test_something_else_than_an_image_is_one_error(posterity, model_file):
    model = Classifier(model_file, engine="keras")
    for wrong, got in [(3, "int: 3"), (["full.png", 3], "int as image 2: 3"), ({"a": 1}, "dict: {'a': 1}")]:
        with pytest.raises(TypeError, match=rf"expected a path, .* or an iterable of these\. Got {got}"):
            model.predict(wrong)  # before anything is computed
    found = model.predict(iter(["full.png", 3]))
    with pytest.raises(TypeError, match="Got int as image 2: 3"):
        list(found)


def test_the_api_is_silent_and_checks_the_file_before_tensorflow_loads(posterity, model_file, tmp_path):
    (tmp_path / "no.keras").write_bytes(b"no archive")
    code = (
        "import sys\n"
        "from posterity import Classifier\n"
        "from posterity.errors import UserError\n"
        "for wrong in ('none.keras', 'no.keras'):\n"
        "    try:\n"
        "        Classifier(wrong)\n"
        "    except UserError as error:\n"
        "        print(error)\n"
        "assert not {'tensorflow', 'keras', 'sklearn'} & set(sys.modules)\n"  # they take seconds to load
        "for engine in ('keras', 'onnxruntime', 'auto', *['keras'] * 6):\n"
        f"    model = Classifier({str(model_file)!r}, engine=engine)\n"
        "    found = list(model.predict(['full.png']))\n"  # TensorFlow would warn that it traces a function six times
        "print([answer.labels for answer in found])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False, timeout=120
    )
    assert run.stdout.splitlines() == [
        "none.keras: there is no model here. Train one with `dvc repro`, or fetch it with `dvc pull`.",
        "no.keras: expected a model that this pipeline trained (a .keras file with posterity.json inside). Got no zip "
        "archive, or a damaged one (File is not a zip file). Train one with `dvc repro`, or fetch it with `dvc pull`.",
        "[['Red, warm']]",
    ]
    assert run.stderr == ""


def test_a_name_that_the_terminal_cannot_show_is_escaped(posterity, model_file):
    Path("full.png").rename("\u00e9.png")
    command = [sys.executable, "-c", "from posterity.cli import main; main()", "predict", "\u00e9.png", "--model"]
    run = subprocess.run(
        [*command, str(model_file)],
        env=environment(PYTHONIOENCODING="ascii"),
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(b"\\xe9.png: Red, warm 0.750")


def test_files_are_taken_as_they_are_needed(posterity, model_file):
    taken = []

    def paths():
        for _ in range(2000):
            taken.append("full.png")
            yield taken[-1]

    found = Classifier(model_file, engine="keras").predict(paths(), mapper=threads(2))
    next(found)
    found.close()
    assert len(taken) < 300


@pytest.mark.parametrize("where", ["network", "consumer"])
def test_decoding_ends_with_what_breaks_off(posterity, model_file, monkeypatch, where):
    """Not only when nothing refers to it any more: tracebacks do, and the threads would decode what is queued."""
    ended = []

    def decoding(sources):
        try:
            for _ in sources:
                yield np.zeros((SPEC.height, SPEC.width, 3), np.uint8)
        finally:
            ended.append(True)

    def compute(given):
        if where == "network":
            raise KeyboardInterrupt
        return np.zeros((len(given), 3), np.float32)

    def consume():
        with contextlib.closing(Classifier(model_file).predict(["full.png"] * 200, show_progress=True)) as found:
            for _ in found:
                raise KeyboardInterrupt

    kept = []

    def decode_all(sources, *_):
        kept.append(decoding(sources))
        return kept[0]

    monkeypatch.setattr(classifier, "decode_all", decode_all)
    monkeypatch.setattr(engines, "batch_function", lambda *_, **__: compute)
    with pytest.raises(KeyboardInterrupt):
        consume()
    assert ended == [True]


def test_a_network_fresh_from_training_does_not_decide_yet(tmp_path, network):
    path = tmp_path / "trained.keras"
    keras_file.save(network, path, ModelCard(LABELS, (0.5, 0.5, 0.5), SPEC).as_member())
    with pytest.raises(UserError) as error:
        Classifier(path)
    message = "expected a model with thresholds, which stage evaluate adds. Run `dvc repro evaluate`."
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("changed", "got"),
    [({"thresholds": [0.5]}, "3 labels, 1 thresholds"), ({"calibration": {}}, "no 'curves'")],
)
def test_decisions_that_do_not_fit_are_found_before_the_network_is_loaded(tmp_path, network, changed, got):
    path = tmp_path / "other.keras"
    decisions = dataclasses.asdict(DECISIONS) | changed
    keras_file.save(network, path, ModelCard(LABELS, (0.5, 0.5, 0.5), SPEC, decisions).as_member())
    with pytest.raises(UserError, match=rf"expected posterity\.json inside as this version .* Got: {got}\. "):
        Classifier(path)

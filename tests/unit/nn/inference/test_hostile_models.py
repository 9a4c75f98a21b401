"""Model files that are damaged or made to do harm: one message each, without a traceback and without much memory."""

import dataclasses
import io
import json
import os
import resource
import tracemalloc
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest

from posterity import files, model_archive, model_card
from posterity.errors import UserError
from posterity.evaluation.calibration import Calibration
from posterity.evaluation.decisions import Decisions
from posterity.model_card import ModelCard
from posterity.nn import keras_file
from posterity.nn.inference.classifier import Classifier
from posterity.nn.networks import backbones
from posterity.pixels.spec import ImageSpec

CARD = model_card.CARD
DECISIONS = Decisions(Calibration("platt", (((1.0, 0.0),), ((2.0, 0.5),))), (0.5, 0.25), at_least_one=False)
MODEL_CARD = ModelCard(("cat", "dog"), (0.5, 0.25), ImageSpec(8, 8), dataclasses.asdict(DECISIONS))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The members of a small model that answers with two probabilities."""
    images = keras.Input((8, 8, 3), dtype="uint8")
    hidden = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    network = keras.Model(images, keras.layers.Dense(2, activation="sigmoid")(hidden))
    path = tmp_path_factory.mktemp("model") / "sound.keras"
    keras_file.save(network, path, MODEL_CARD.as_member())
    return path


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_card(sound, target, **changed):
    content = json.loads(MODEL_CARD.to_json()) | changed
    files.write_archive(target, members_of(sound) | {CARD: json.dumps(content).encode()})
    return target


def refusal(path):
    with pytest.raises(UserError) as error:
        Classifier(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_sound_one_is_read(sound):
    model = Classifier(sound)
    (answer,) = model.predict(np.zeros((8, 8, 3), np.uint8))
    assert list(answer.scores) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("changed", "got"),
    [
        ({"label_names": "cat"}, "label_names is no list of names"),
        ({"label_names": ["cat", 3]}, "label_names is no list of names"),
        ({"label_names": ["cat", "cat"]}, "2 labels with 1 names; at most 100,000 are read"),
        ({"label_names": [str(k) for k in range(100_001)]}, "100,001 labels with 100,001 names; at most 100,000"),
        ({"label_names": ["cat"]}, "1 labels, 2 label_frequencies"),
        ({"label_frequencies": [0.5, 1.5]}, "label_frequencies is no list of numbers from 0 to 1"),
        ({"label_frequencies": [0.5, True]}, "label_frequencies is no list of numbers from 0 to 1"),
        ({"label_frequencies": {"cat": 1}}, "label_frequencies is no list of numbers from 0 to 1"),
        ({"image": None}, "a NoneType instead of the fields of an image"),
        ({"image": {"height": 10**9}}, "height: expected a whole number from 1 to 8,192. Got 1000000000"),
        ({"image": {"height": 0}}, "height: expected a whole number from 1 to 8,192. Got 0"),
        ({"image": {"width": 8.0}}, "width: expected a whole number from 1 to 8,192. Got 8.0"),
        ({"image": {"max_pixels": 10**12}}, "max_pixels: expected a whole number from 1 to 2,147,483,647. Got 1000"),
        ({"image": {"max_side": 10**12}}, "max_side: expected a whole number from 1 to 2,147,483,647. Got 1000000"),
        ({"image": {"max_scans": "64"}}, "max_scans: expected a whole number from 1 to 2,147,483,647. Got '64'"),
        ({"image": {"grey_range": -1}}, "grey_range: expected a whole number from 1 to 2,147,483,647. Got -1"),
        ({"image": {"resampling": []}}, "resampling: expected one of area, nearest, "),
        ({"image": {"formats": ["eps"]}}, "formats: expected some of jpeg, png, "),
        ({"decisions": []}, "decisions is a list instead of an object"),
        ({"decisions": {}}, "no 'thresholds'"),
        ({"decisions": {"thresholds": [0.5, "x"], "at_least_one": True}}, "thresholds is no list of finite numbers"),
        ({"decisions": {"thresholds": [0.5, 0.5], "at_least_one": 1}}, "at_least_one is neither true nor false"),
        (
            {"decisions": {"thresholds": [0.5, 0.5], "at_least_one": True, "exactly_one": "no"}},
            "exactly_one is neither true nor false",
        ),
    ],
)
def test_a_card_that_asks_for_too_much_or_says_nonsense(sound, tmp_path, changed, got):
    message = refusal(with_card(sound, tmp_path / "m.keras", **changed))
    assert f"expected posterity.json inside as this version of posterity writes it. Got: {got}" in message


@pytest.mark.parametrize(
    ("calibration", "got"),
    [
        ([], "calibration is a list instead of an object"),
        ({"method": "beta", "curves": []}, "calibration.method: expected one of off, platt, isotonic. Got 'beta'"),
        ({"method": "off", "curves": [[[1, 0]], []]}, "calibration.curves[0] is no curve of the method off"),
        ({"method": "platt", "curves": [[[1, 0]], []]}, "calibration.curves[1] is no curve of the method platt"),
        ({"method": "platt", "curves": [[[-1, 0]], [[1, 0]]]}, "calibration.curves[0] is no curve of the method platt"),
        ({"method": "isotonic", "curves": [[[1, 0], [0, 1]]]}, "calibration.curves[0] is no curve of the method iso"),
        ({"method": "isotonic", "curves": [[[0, 2]]]}, "calibration.curves[0] is no curve of the method isotonic"),
        ({"method": "platt", "curves": [[[1, 0]]]}, "2 labels, 1 curves of calibration"),
        ({"method": "platt", "curves": [[[1]], [[1, 0]]]}, "not enough values to unpack (expected 2, got 1)"),
        ({"method": "platt", "curves": 3}, "'int' object is not iterable"),
    ],
)
def test_a_calibration_that_cannot_be_applied(sound, tmp_path, calibration, got):
    decisions = dataclasses.asdict(DECISIONS) | {"calibration": calibration}
    assert f"Got: {got}" in refusal(with_card(sound, tmp_path / "m.keras", decisions=decisions))


@pytest.mark.parametrize(
    ("text", "got"),
    [
        (b"[" * 1_000_000, "maximum recursion depth exceeded"),
        (b'{"a":' * 1_000_000, "maximum recursion depth exceeded"),
        (MODEL_CARD.to_json().replace("0.25", "NaN").encode(), "NaN, which is no JSON"),
        (MODEL_CARD.to_json().replace("0.25", "1e999").encode(), "label_frequencies is no list of numbers from 0 to 1"),
        (MODEL_CARD.to_json().replace("0.25", "9" * 5000).encode(), "Exceeds the limit (4300 digits)"),
    ],
    ids=["lists", "objects", "NaN", "infinity", "many digits"],
)
def test_a_card_that_is_hard_to_read(sound, tmp_path, text, got):
    files.write_archive(tmp_path / "m.keras", members_of(sound) | {CARD: text})
    assert f"Got: {got}" in refusal(tmp_path / "m.keras")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"image": ImageSpec(16, 8).to_content()},
            "expected a network with the inputs [(None, 16, 8, 3)] and the outputs [(None, 2)], as the card inside "
            "says. Got the inputs [(None, 8, 8, 3)] and the outputs [(None, 2)].",
        ),
        (
            {
                "label_names": ["cat"],
                "label_frequencies": [0.5],
                "decisions": {
                    "calibration": {"method": "off", "curves": [[]]},
                    "thresholds": [0.5],
                    "at_least_one": True,
                },
            },
            "the outputs [(None, 1)], as the card inside says. Got the inputs [(None, 8, 8, 3)] and the outputs "
            "[(None, 2)].",
        ),
    ],
    ids=["inputs", "outputs"],
)
def test_a_network_that_is_not_the_one_of_the_card(sound, tmp_path, changed, message):
    assert message in refusal(with_card(sound, tmp_path / "m.keras", **changed))


def peak_memory(path):
    tracemalloc.start()
    try:
        message = refusal(path)
        return message, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [CARD, "config.json", "model.weights.h5", "assets/x"])
def test_a_member_that_unpacks_to_gigabytes_is_refused_unseen(sound, tmp_path, name):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members_of(sound).items():
            if member != name:
                archive.writestr(member, content, zipfile.ZIP_STORED)
        with archive.open(name, "w", force_zip64=True) as stream:
            for _ in range(64):
                stream.write(bytes(1 << 22))  # 256 MiB, 260 kB in the file
    message, peak = peak_memory(path)
    assert f"Got '{name}' compressed, which posterity never does." in message
    assert peak < 2_000_000
    with pytest.raises(
        UserError, match=r"cannot be read as a Keras model: .*(of which 16,777,216 are allowed|members of)"
    ):
        keras_file.load(path)  # where a little compression is no reason, this much is


def test_weights_that_announce_gigabytes_are_refused_unseen(sound, tmp_path):
    stream = io.BytesIO(members_of(sound)["model.weights.h5"])
    with h5py.File(stream, "a") as file:
        del file["layers/dense/vars/0"]
        file.create_dataset("layers/dense/vars/0", (40_000, 20_000), "f4", chunks=(1000, 1000), compression="gzip")
    files.write_archive(tmp_path / "m.keras", members_of(sound) | {"model.weights.h5": stream.getvalue()})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "cannot be read as a Keras model: weights of 3,200,0" in refusal(tmp_path / "m.keras")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    (tmp_path / "w.weights.h5").write_bytes(stream.getvalue())
    with pytest.raises(
        UserError, match=r"w\.weights\.h5 must hold the weights of MobileNetV2.* Got .*: weights of 3,20"
    ):
        backbones.load("MobileNetV2", folder=tmp_path, weights="w.weights.h5", height=32, width=32)


def test_a_card_of_17_megabytes(sound, tmp_path):
    files.write_archive(tmp_path / "m.keras", members_of(sound) | {CARD: b" " * (17 << 20)})
    message, peak = peak_memory(tmp_path / "m.keras")
    assert "Got 'posterity.json' with 17,825,792 bytes, of which 16,777,216 are allowed." in message
    assert peak < 2_000_000
    with pytest.raises(UserError, match=r"expected a card of at most 16,777,216 bytes. Got 17.*decide\.calibration"):
        model_card.copy_with(
            sound, tmp_path / "m.keras", dataclasses.replace(MODEL_CARD, label_names=("x" * (17 << 20), "y"))
        )


def test_a_directory_of_many_members(sound, tmp_path):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(1001):
            archive.writestr(f"{number}", b"")
    assert "Got 1,001 members, of which 1,001 have names of their own." in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number:010}", b"")
    # 46 bytes and the name for each; as objects of Python they would be ten times as much.
    assert "Got a directory of 1,120,000 bytes, of which 1,048,576 are allowed." in refusal(path)


def test_members_that_overlap(sound, tmp_path):
    """The same bytes under many names: a small file that unpacks to much without compression."""
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("assets/0", bytes(100_000))
        (first,) = archive.infolist()
        for number in range(1, 500):
            again = zipfile.ZipInfo(f"assets/{number}")
            again.CRC, again.file_size, again.compress_size = first.CRC, first.file_size, first.compress_size
            again.header_offset = first.header_offset
            archive.filelist.append(again)
    assert "Got members of 50,000,000 bytes in a file of " in refusal(path)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil"])
def test_a_member_that_leads_out_of_the_archive(sound, tmp_path, name):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in (members_of(sound) | {name: b"x"}).items():
            archive.writestr(member, content)
    assert "a member that leads out of the archive" in refusal(path)
    with pytest.raises(UserError, match="a member that leads out of the archive"):
        keras_file.load(path)


def test_pipes_folders_and_devices(tmp_path):
    os.mkfifo(tmp_path / "pipe.keras")
    assert "expected a file. Got a named pipe or a device." in refusal(tmp_path / "pipe.keras")
    (tmp_path / "folder.keras").mkdir()
    assert "there is no model here" in refusal(tmp_path / "folder.keras")
    with pytest.raises(UserError, match="/dev/null: expected a file. Got a named pipe or a device"):
        model_card.read("/dev/null")
    with pytest.raises(UserError, match="cannot be opened"):
        model_card.read("a\0b")
    with pytest.raises(UserError, match="the name is too long"):
        model_card.read("x" * 300)


def mutants(whole, members, generator):
    """Files: bits flipped, cut short, members gone, renamed, empty, compressed, exchanged, or with nested JSON."""
    for _ in range(150):
        content = bytearray(whole)
        for position in generator.integers(0, len(whole), generator.integers(1, 4)):
            content[position] ^= 1 << generator.integers(8)
        yield "flip", bytes(content)
    for position in range(len(whole) - 400, len(whole), 3):  # the directory, each third byte of it
        content = bytearray(whole)
        content[position] ^= 1 << generator.integers(8)
        yield "flip", bytes(content)
    for length in generator.integers(0, len(whole), 60):
        yield "cut", whole[:length]
    for length in generator.integers(1, 2000, 20):
        yield "more", whole + generator.bytes(length)
        yield "before", generator.bytes(length) + whole
    for name in members:
        others = {other: content for other, content in members.items() if other != name}
        yield "gone", archived(others)
        yield "renamed", archived(others | {f"{name}x": members[name]})
        yield "empty", archived(others | {name: b""})
        yield "deflated", archived(members, zipfile.ZIP_DEFLATED)
        yield "nested", archived(others | {name: b"[" * 50_000})
        yield "null", archived(others | {name: b"null"})
        for other in others:
            yield "exchanged", archived(members | {name: members[other]})
        for _ in range(25):
            content = bytearray(members[name])
            content[generator.integers(len(content))] ^= 1 << generator.integers(8)
            yield f"flip in {name}", archived(others | {name: bytes(content)})  # with a checksum that is right


def archived(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, files.EPOCH), content, compression)
    return stream.getvalue()


def test_hundreds_of_mutants_are_refused_by_a_message_or_answer_as_before(sound, tmp_path):
    path = tmp_path / "mutant.keras"
    images = np.full((8, 8, 3), 77, np.uint8)
    (expected,) = Classifier(sound).predict(images)
    tried = refused = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for kind, content in mutants(sound.read_bytes(), members_of(sound), np.random.default_rng(0)):
        path.write_bytes(content)
        tried += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras and zipfile warn of what is odd
            try:
                (answer,) = Classifier(path).predict(images)
            except UserError as error:
                refused += 1
                assert "\n" not in str(error), kind  # noqa: PT017
                continue
        # What is not seen changes nothing, but for a right checksum over other content, which nobody can see.
        if "flip in" not in kind:
            assert answer.scores == expected.scores, kind
    assert tried > 500
    assert refused > 300
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 600_000  # kB; most of it is Keras, of which each load that succeeds makes new functions


def test_a_backbone_of_elsewhere_is_checked_likewise(sound, tmp_path):
    nested = archived(members_of(sound) | {"config.json": b"[" * 100_000})
    for name, content, message in [
        ("cut.keras", sound.read_bytes()[:-50], r"no zip archive, or a damaged one"),
        ("empty.keras", b"", r"no zip archive, or a damaged one"),
        ("bomb.keras", archived({"config.json": bytes(1 << 28)}, zipfile.ZIP_DEFLATED), "16,777,216 are allowed"),
        ("nested.keras", nested, "recursion"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message) as error:
            backbones.load(name, folder=tmp_path, weights=None, height=8, width=8)
        assert str(error.value).startswith(f"params.yaml: model.backbone: {tmp_path / name}: cannot be read as a Keras")


def test_the_archive_of_a_model_may_be_read_twice(sound):
    with sound.open("rb") as stream:
        for _ in range(2):
            with model_archive.opened(stream, stored=True) as archive:
                assert CARD in archive.namelist()


HOSTILE = [
    {"module": "builtins", "class_name": "exec", "config": "open('ran', 'w')"},
    {"module": "builtins", "class_name": "eval", "config": {"source": "open('ran', 'w')"}},
    {"module": "os", "class_name": "system", "config": {"command": "touch ran"}},
    {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", "ran"]}},
    {"module": "posterity.files", "class_name": "write_json", "config": {"path": "ran", "content": {}}},
    {"module": "keras.utils", "class_name": "get_file", "config": {"fname": "ran", "origin": "file:///etc/hostname"}},
    {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "gASVIAAAAAAAAACM"}},
    {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "ran"}},
    {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAAA", "defaults": None}}},
    },
]


@pytest.mark.parametrize("layer", HOSTILE, ids=lambda layer: layer["class_name"])
def test_a_network_that_names_code_runs_none(sound, tmp_path, monkeypatch, layer):
    """As a model, with a card that is in order, and as a backbone: both are loaded in Keras' safe mode."""
    monkeypatch.chdir(tmp_path)
    members = members_of(sound)
    config = json.loads(members["config.json"])
    place = next(entry for entry in config["config"]["layers"] if entry["class_name"] == "Rescaling")
    hostile = layer | ({"config": layer["config"] | {"name": "x"}} if isinstance(layer["config"], dict) else {})
    place |= hostile
    place.pop("registered_name", None)
    place.pop("build_config", None)
    members["config.json"] = json.dumps(config | {"safe_mode": False}).encode()
    files.write_archive("m.keras", members)
    assert "m.keras: cannot be read as a Keras model: " in refusal("m.keras")
    with pytest.raises(UserError, match=r"params\.yaml: model\.backbone: m\.keras: cannot be read as a Keras model: "):
        backbones.load("m.keras", folder=".", weights=None, height=8, width=8)
    assert os.listdir() == ["m.keras"]  # noqa: PTH208

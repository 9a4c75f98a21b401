import dataclasses
import json
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posterity import files, model_card
from posterity.errors import UserError
from posterity.evaluation.calibration import Calibration
from posterity.evaluation.decisions import Decisions
from posterity.evaluation.risk_control import ALWAYS
from posterity.evaluation.thresholds import NEVER
from posterity.model_card import ModelCard
from posterity.pixels.spec import ImageSpec

CARD = ModelCard(("N/A", "Ä", "Sci-Fi"), (0.5, 0.1, 1 / 3), ImageSpec(16, 24, "lanczos", "pad", 99))
OTHER_SPEC = ImageSpec(1, 2, "box", "crop", 3, formats=("png",), max_side=4, max_scans=5, grey_range=6)
PLATT = Decisions(Calibration("platt", (((1.5, -1 / 3),), ((1e-9, 2.0),))), (1 / 3, NEVER), True)
ISOTONIC = Decisions(
    Calibration("isotonic", (((0.0, 0.1), (0.5, 0.1), (1.0, 2 / 3)), ((0.2, 0.2),))), (0.5, 0.0), False
)
OFF = Decisions(Calibration("off", ((), ())), (ALWAYS, 0.25), False)


@settings(max_examples=50, deadline=None)
@given(
    labels=st.dictionaries(st.text(), st.floats(0, 1, allow_subnormal=True), max_size=5),
    spec=st.sampled_from([ImageSpec(), CARD.image, OTHER_SPEC]),
    decisions=st.sampled_from([None, PLATT, ISOTONIC, OFF]),
)
def test_a_card_survives_the_model_file(labels, spec, decisions):
    content = None if decisions is None else json.loads(json.dumps(dataclasses.asdict(decisions)))
    card = ModelCard(tuple(labels), tuple(labels.values()), spec, content)
    # The model file holds the card as UTF-8; a lone surrogate cannot come out of a CSV file.
    text = card.to_json()
    assert ModelCard.from_json(text) == card
    assert ModelCard.from_json(text).to_json() == text


def test_every_field_of_the_image_spec_travels():
    changed = {field.name for field in dataclasses.fields(ImageSpec)}
    assert all(getattr(OTHER_SPEC, name) != getattr(ImageSpec(), name) for name in changed)
    assert ModelCard.from_json(ModelCard((), (), OTHER_SPEC).to_json()).image == OTHER_SPEC


def test_the_text_can_be_read_by_people_and_does_not_depend_on_the_order_of_fields():
    text = CARD.to_json()
    assert '"Ä"' in text
    assert list(json.loads(text)) == ["decisions", "image", "label_frequencies", "label_names"]
    assert json.loads(text)["image"] == {
        "fit": "pad",
        "height": 16,
        "max_pixels": 99,
        "resampling": "lanczos",
        "width": 24,
    }


@pytest.mark.parametrize("decisions", [PLATT, ISOTONIC, OFF])
def test_decisions_that_have_travelled_decide_the_same(decisions):
    card = dataclasses.replace(CARD, decisions=dataclasses.asdict(decisions))
    content = ModelCard.from_json(card.to_json()).decisions
    assert content is not None
    travelled = Decisions.from_content(content)
    scores = [[0.1, 0.9], [1 / 3, 0.25], [1.0, 0.0]]
    for got, expected in zip(travelled.apply(scores), decisions.apply(scores), strict=True):
        assert got.tolist() == expected.tolist()


@pytest.fixture
def trained(tmp_path):
    """A model file as `posterity.nn.keras_file.save` writes it; weights need not be weights here."""
    path = tmp_path / "trained.keras"
    weights = {"model.weights.h5": bytes(range(256)), "config.json": b"{}"}
    files.write_archive(path, weights | {model_card.CARD: CARD.to_json().encode()})
    return path


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_card_of_a_model_file_is_read(trained):
    assert model_card.read(trained) == CARD


def test_an_archive_has_the_same_bytes_whatever_the_order_of_its_members(tmp_path):
    for name, content in [("a", {"x": b"1", "y": b"2"}), ("b", {"y": b"2", "x": b"1"})]:
        files.write_archive(tmp_path / name, content)
    assert members(tmp_path / "a") == {"x": b"1", "y": b"2"}
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_copy_has_the_new_card_the_old_weights_and_the_same_bytes_each_time(trained, tmp_path):
    before = trained.read_bytes()
    decided = dataclasses.replace(CARD, decisions=json.loads(json.dumps(dataclasses.asdict(PLATT))))
    for name in ("first.keras", "second.keras"):
        model_card.copy_with(trained, tmp_path / name, decided)
    assert model_card.read(tmp_path / "first.keras") == decided
    old, new = members(trained), members(tmp_path / "first.keras")
    assert old.pop(model_card.CARD) != new.pop(model_card.CARD)
    assert old == new
    assert (tmp_path / "first.keras").read_bytes() == (tmp_path / "second.keras").read_bytes()
    # With its own card again it is the file that it came from.
    model_card.copy_with(tmp_path / "first.keras", tmp_path / "back.keras", CARD)
    assert (tmp_path / "back.keras").read_bytes() == trained.read_bytes() == before


def test_no_model_file(tmp_path):
    fix = "there is no model here. Train one with `dvc repro`, or fetch it with `dvc pull`."
    for path in (tmp_path / "none.keras", tmp_path):  # a folder is no file
        with pytest.raises(UserError) as error:
            model_card.read(path)
        assert str(error.value) == f"{path}: {fix}"


NETWORK = {"config.json": b"{}", "model.weights.h5": b""}
OLDER = {key: value for key, value in json.loads(CARD.to_json()).items() if key != "decisions"}


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (None, "no zip archive, or a damaged one (File is not a zip file)"),
        ({}, "no config.json inside"),
        (NETWORK, "no posterity.json inside"),
        ({model_card.CARD: CARD.to_json().encode()}, "no config.json inside"),
    ],
    ids=["no archive", "empty archive", "no card", "no network"],
)
def test_a_file_that_is_no_model_of_this_project(tmp_path, content, got):
    path = tmp_path / "other.keras"
    if content is None:
        path.write_text("text")
    else:
        files.write_archive(path, content)
    with pytest.raises(UserError) as error:
        model_card.read(path)
    assert str(error.value) == (
        f"{path}: expected a model that this pipeline trained (a .keras file with posterity.json inside). Got {got}. "
        "Train one with `dvc repro`, or fetch it with `dvc pull`."
    )


@pytest.mark.parametrize(
    ("card", "got"),
    [
        (b"{}", "no 'label_names'"),
        (json.dumps(OLDER).encode(), "no 'decisions'"),
        (b"[]", "a list instead of an object"),
        (b"text", "Expecting value: line 1 column 1 (char 0)"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_a_card_of_another_version_or_none(tmp_path, card, got):
    path = tmp_path / "other.keras"
    files.write_archive(path, NETWORK | {model_card.CARD: card})
    with pytest.raises(UserError) as error:
        model_card.read(path)
    assert str(error.value) == (
        f"{path}: expected posterity.json inside as this version of posterity writes it. Got: {got}. Train the model "
        "again with `dvc repro`, or use the version that wrote it."
    )


def test_a_damaged_model_file(trained):
    content = bytearray(trained.read_bytes())
    for damaged in (content[: len(content) // 2], content.replace(b"label_names", b"label_nemas")):
        trained.write_bytes(damaged)
        with pytest.raises(UserError, match=r"expected a model that this pipeline trained"):
            model_card.read(trained)


def test_a_card_of_a_version_that_knew_fewer_fields_can_be_read():
    old = {"fit": "pad", "height": 16, "max_pixels": 99, "resampling": "lanczos", "width": 24}
    text = json.dumps({"decisions": None, "image": old, "label_frequencies": [0.5], "label_names": ["A"]})
    card = ModelCard.from_json(text)
    assert card.image == ImageSpec(16, 24, "lanczos", "pad", 99)
    assert "eps" not in card.image.formats
    assert json.loads(card.to_json())["image"] == old

"""All values by dotted keys; params.yaml as it is shipped has the documented defaults, and what differs is found."""

from pathlib import Path

from posterity.config import yaml12
from posterity.config.flat import differing, values
from posterity.config.load import check_params, load_params

PARAMS = Path(__file__).parents[3] / "params.yaml"


def test_the_shipped_file_has_the_documented_defaults():
    assert differing(load_params(PARAMS)) == {}


def test_what_differs_is_found_in_sections_and_lists():
    content = yaml12.read(str(PARAMS))
    content["train"]["epochs"] = 20
    content["data"]["image_pattern"] = ["{id}.png", "{id}.jpg"]
    content["model"]["head"]["dropout"] = 0.25
    content["report"]["license"] = "MIT"
    assert differing(check_params(content, "params.yaml")) == {
        "data.image_pattern": (["{id}.jpg"], ["{id}.png", "{id}.jpg"]),
        "model.head.dropout": (0.5, 0.25),
        "train.epochs": (10, 20),
        "report.license": (None, "MIT"),
    }


def test_every_value_has_its_key_and_mappings_of_names_stay_whole():
    found = values(load_params(PARAMS))
    assert found["train.augment.flip"] is True
    assert found["model.backbone"] == ["EfficientNetB0"]
    assert found["split.sides"]["valid"] == "validation"
    assert next(iter(found)) == "seed"

import dataclasses
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from posterity.card import ModelCard
from posterity.images import ImageSpec

CARD = ModelCard(("N/A", "Ä", "Sci-Fi"), (0.5, 0.1, 1 / 3), ImageSpec(16, 24, "lanczos", "pad", 99))
OTHER_SPEC = ImageSpec(height=1, width=2, resampling="box", fit="crop", max_pixels=3)


@settings(max_examples=50, deadline=None)
@given(
    labels=st.dictionaries(st.text(), st.floats(0, 1, allow_subnormal=True), max_size=5),
    spec=st.sampled_from([ImageSpec(), CARD.image, OTHER_SPEC]),
)
def test_a_card_survives_the_model_file(labels, spec):
    card = ModelCard(tuple(labels), tuple(labels.values()), spec)
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
    assert list(json.loads(text)) == ["image", "label_frequencies", "label_names"]
    assert json.loads(text)["image"] == {
        "fit": "pad",
        "height": 16,
        "max_pixels": 99,
        "resampling": "lanczos",
        "width": 24,
    }

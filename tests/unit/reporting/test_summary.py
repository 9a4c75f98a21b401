from label_examples import figures
from posterity.reporting.confusions import Confusion
from posterity.reporting.summary import headline, in_short

FIGURES = {
    "skill": 0.25, "skill_low": 0.1, "skill_high": 0.4, "map_macro": 0.5, "map_macro_prior": 0.2, "bce": 0.2,
    "bce_prior": 0.25, "f1_macro_tuned": 0.4, "f1_macro_tuned_prior": 0.1, "subset_accuracy_tuned": 0.7,
    "subset_accuracy_tuned_prior": 0.3, "rows_scored": 4, "labels_scored": 2, "labels_per_image_tuned": 1.0,
}  # fmt: skip


def test_the_headline_names_what_the_model_decides():
    assert [card["name"] for card in headline(FIGURES, exactly_one=False)][-1] == "macro F1"
    accuracy = headline(FIGURES, exactly_one=True)[-1]
    assert (accuracy["name"], accuracy["value"], accuracy["prior"]) == ("accuracy", "0.700", "0.300")
    bce = headline(FIGURES, exactly_one=False)[2]
    assert (bce["value"], bce["prior"], bce["interval"]) == ("0.2000", "0.2500", "")


def test_a_model_that_has_learned_nothing_is_called_that():
    said = in_short(FIGURES | {"skill_low": -0.01}, [], [], [])
    assert said[0].startswith("The model has learned nothing")
    assert in_short(FIGURES, [], [], [])[0].startswith("The model removes 25 %")


def test_the_worst_label_comes_with_its_reason():
    labels = figures([[1, 0], [1, 0], [0, 1], [0, 0]], [[0.9, 0.6], [0.8, 0.5], [0.1, 0.2], [0.2, 0.1]])
    names = [label.name for label in labels]
    said = in_short(FIGURES, labels, [Confusion(true=1, instead=0, count=2, possible=3)], names)
    worst = next(sentence for sentence in said if sentence.startswith("Smallest gain"))
    assert worst == (
        "Smallest gain: label 1 (average precision 0.33, chance 0.25): 1 of 4 rows have it; it is decided on 2 rows, "
        "of which 0 have it; where it is missed, label 0 is decided instead in 2 of 3 rows without that."
    )
    assert any(sentence.startswith("Not told from chance on these rows: label 0, label 1") for sentence in said)


def test_how_many_labels_are_decided_and_how_many_of_them_are_right():
    # Decided: the first label on rows 1 and 2, which have it; the second one on rows 1 and 2, which do not.
    labels = figures([[1, 0], [1, 0], [0, 1], [0, 0]], [[0.9, 0.6], [0.8, 0.5], [0.1, 0.2], [0.2, 0.1]])
    said = in_short(FIGURES, labels, [], [label.name for label in labels])
    assert said[1] == (
        "It decides on 1.0 labels an image, which have 0.8: 50 % of the decided labels are right, and 67 % of the "
        "labels are found."
    )

import pytest

from posterity.evaluation.outcome import print_outcome

FIGURES = {
    "rows_scored": 1200, "bce": 0.2, "bce_prior": 0.4, "skill": 0.5, "skill_low": 0.4, "skill_high": 0.6,
    "map_macro": 0.7, "map_macro_prior": 0.1, "f1_macro_tuned": 0.6, "f1_macro_tuned_prior": 0.3,
}  # fmt: skip


def test_the_main_figures_stand_beside_those_of_the_frequencies(capsys):
    print_outcome(FIGURES, "metrics/evaluate.json")
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "1,200 rows" in shown.out
    assert "skill                0.5000   95 % interval 0.4000 to 0.6000" in shown.out
    assert "macro mAP            0.7000   frequencies 0.1000" in shown.out
    assert "macro F1             0.6000   frequencies 0.3000" in shown.out
    assert "per image" not in shown.out
    print_outcome(FIGURES | {"recall_per_image_tuned": 0.9, "labels_per_image_tuned": 3.25}, "metrics/evaluate.json")
    line = "recall per image     0.9000   with 3.25 labels per image   (at the tuned thresholds)"
    assert line in capsys.readouterr().out
    assert "all figures are in metrics/evaluate.json" in shown.out


def test_with_exactly_one_label_an_image_the_accuracy_is_shown(capsys):
    figures = FIGURES | {"subset_accuracy_tuned": 0.8, "subset_accuracy_tuned_prior": 0.25}
    print_outcome(figures, "metrics/evaluate.json")
    assert "accuracy" not in capsys.readouterr().out
    print_outcome(figures, "metrics/evaluate.json", exactly_one=True)
    shown = capsys.readouterr().out
    assert "accuracy             0.8000   frequencies 0.2500   (the likeliest label of each image)" in shown
    assert "macro F1             0.6000   frequencies 0.3000   (the likeliest label of each image)" in shown


def test_what_is_undefined_is_left_out(capsys):
    print_outcome({name: value for name, value in FIGURES.items() if "macro" not in name}, "metrics/evaluate.json")
    assert "macro" not in capsys.readouterr().out


@pytest.mark.parametrize("skill_low", [0, -0.1])
def test_a_model_that_may_know_nothing_is_warned_about(capsys, skill_low):
    print_outcome(FIGURES | {"skill": 0.05, "skill_low": skill_low}, "metrics/evaluate.json")
    assert "WARNING: skill is 0.0500, and its 95 % interval includes or lies below 0" in capsys.readouterr().err

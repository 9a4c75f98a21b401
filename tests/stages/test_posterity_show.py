"""`posterity show` on a run whose scores are set by hand: what it says, what is missing, and that text stays text."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from posterity import cli, files
from posterity.cache import rows as cached_rows
from posterity.cache.tensors import TensorCache
from posterity.evaluation import metrics
from posterity.model_card import NETWORK, ModelCard
from posterity.showing import console, picture
from posterity.splitting import split_file
from small_project import SmallProject, run_script

HOSTILE = "[red]x[/] \x1b[31m:smile:"


def make_run(scores_of):
    """All stages in the current folder, with scores in place of a training."""
    for stage in ("validate", "preprocess", "split"):
        assert run_script(stage).code == 0
    cached = cached_rows.read("data/rows")
    sides = split_file.read("data/split.csv", cached.index)
    frequencies = metrics.label_frequencies(cached.targets[sides.train])
    card = ModelCard(tuple(cached.label_names), tuple(frequencies.tolist()), TensorCache("data/tensors").spec)
    files.write_archive("models/trained.keras", dict.fromkeys(sorted(NETWORK), b"") | card.as_member())
    np.save("data/scores.npy", scores_of(cached.targets[sides.validation]).astype(np.float32))
    np.save("data/out_of_fold.npy", np.zeros((0, len(sides.train), len(cached.label_names)), np.float32))
    assert run_script("evaluate").code == 0
    return cached, sides


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, and one of which only stage validate has run."""
    root = tmp_path_factory.mktemp("show")
    with pytest.MonkeyPatch.context() as patch:
        project = SmallProject(root / "begun")
        project.params({"data.label_columns": None, "data.list_column": "Genre"})
        header, *lines = (root / "begun" / "labels.csv").read_text().splitlines()
        project.rows([header, *(line.replace("Red", HOSTILE, 1) for line in lines)])
        project.params({"data.label_columns": []})
        shutil.copytree(root / "begun", root / "run")
        patch.chdir(root / "begun")
        assert run_script("validate").code == 0
        patch.chdir(root / "run")
        return root, *make_run(lambda targets: np.where(targets == 1, 0.75, 0.25))


@pytest.fixture
def show(made, tmp_path, monkeypatch, capsys):
    """Run the command in a copy of the run; return exit code, stdout, stderr."""
    shutil.copytree(made[0] / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*argv):
        code: str | int | None = 0
        try:
            cli.main(["show", *argv])
        except SystemExit as done:
            code = done.code
        return code, *capsys.readouterr()

    return run


def squeezed(text):
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]


def test_data_has_rows_counts_shapes_and_problems(show):
    code, out, err = show("data")
    lines = squeezed(out)
    assert (code, err) == (0, "")
    assert "data/manifest.csv: 24 usable rows, 3 labels" in lines
    assert lines[lines.index("Rows that have each label") + 2].startswith("N/A 24 100.0 % 18 6")
    assert "data/rows/targets.npy: uint8 (24, 3), 1 = present, 0 = absent" in lines
    assert any(line.startswith("data/tensors: uint8 (24, 64, 48, 3) in 3 files") for line in lines)
    assert any(line.startswith("identical_image 1 i23") for line in lines)
    assert "Rows by number of labels: 1: 10, 2: 10, 3: 4" in lines


def test_text_of_data_is_neither_markup_nor_obeyed(show):
    for view in (["data"], ["label", HOSTILE], ["image", "i00"]):
        _, out, _ = show(*view)
        assert r"[red]x[/] \x1b[31m:smile:" in out
        assert "\x1b" not in out


@pytest.mark.parametrize("width", [20, 40, 200])
def test_every_line_fits(show, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    for view in (["data"], ["metrics"], ["label", "N/A"], ["image", "i00"]):
        code, out, _ = show(*view)
        assert code == 0
        assert max(map(len, out.splitlines())) <= width


def test_metrics_have_intervals_beside_the_baseline(show):
    _, out, _ = show("metrics")
    figures = files.read_json("metrics/evaluate.json")
    line = next(line for line in squeezed(out) if line.startswith("skill "))
    low, high = figures["skill_low"], figures["skill_high"]
    assert line.startswith(f"skill {figures['skill']:.3f} {low:.3f} to {high:.3f} 0.000 ")
    assert "metrics/test.json does not exist. `dvc repro` makes it." in out


def test_a_label_has_its_figures_threshold_and_images(show, made):
    _, cached, sides = made
    code, out, _ = show("label", "bright")  # the only one that differs in case
    lines = squeezed(out)
    support = (cached.targets[sides.validation, cached.label_names.index("Bright")] == 1).sum()
    assert code == 0
    assert "Label Bright" in lines
    assert f"validation 6 {support} 0" in lines
    assert any(line.startswith("average precision 1.000 ") for line in lines)
    assert any(line.startswith("Threshold 0.500,") for line in lines)


def test_an_image_has_labels_probabilities_and_decisions(show, made):
    _, cached, sides = made
    validation = cached.index["id"].iloc[sides.validation[0]]
    _, out, _ = show("image", validation)
    assert "As the network gets it: 64 x 48, from data/tensors." in out
    assert "Side: validation." in out
    assert any(line.startswith("N/A yes 0.750 0.500 decided") for line in squeezed(out))
    training = cached.index["id"].iloc[sides.train[0]]
    assert "The network has seen its labels" in show("image", training)[1]


def test_the_drawn_picture_holds_the_pixels_of_the_cache(show):
    code, out, _ = show("image", "i05", "--output", "i05.png")
    factor, margin = picture.HEIGHT // 64, picture.MARGIN
    drawn = np.asarray(Image.open("i05.png"))[
        margin : margin + 64 * factor : factor, margin : margin + 48 * factor : factor
    ]
    assert code == 0
    assert "Written to i05.png." in out
    assert (drawn == TensorCache("data/tensors").images([5])[0]).all()


def test_scores_by_other_networks_are_shown_for_a_training_image(show, made):
    _, cached, sides = made
    scores = np.zeros((2, len(sides.train), 3), np.float32)
    scores[0, 1], scores[1, 1] = 0.25, 0.75
    np.save("data/out_of_fold.npy", scores)
    _, out, _ = show("image", cached.index["id"].iloc[sides.train[1]])
    assert "Scores by networks that did not see the image." in out
    assert any(line.startswith("N/A yes 0.500 ") for line in squeezed(out))


def test_before_the_cache_an_image_is_decoded(show, made, monkeypatch):
    monkeypatch.chdir(made[0] / "begun")
    code, out, _ = show("image", "i07")
    assert code == 0
    assert "decoded now as section image says" in out
    assert "data/rows does not exist. `dvc repro preprocess` makes it." in " ".join(squeezed(out))
    assert "does not exist. `dvc repro preprocess` makes it." in show("data")[1]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["label", "Brihgt"], "'Brihgt': expected the name of a label in `posterity show data`. Got none of that name. "
         "Did you mean 'Bright'?"),
        (["image", "xyz"], "'xyz': expected the id of an image in data/rows. Got none of that name. data/rows "
         "lists all"),
        (["image", "i99"], "Did you mean 'i19' or 'i09'?"),
        (["image", "i01", "--output", "i.jpg"], "--output i.jpg: expected a name that ends in .png."),
        (["image", "i01", "--output", "images/x/../../data/rows/a/../../../labels.csv/i.png"], "cannot be"),
    ],
)  # fmt: skip
def test_mistakes_are_one_message(show, argv, message):
    code, out, err = show(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err


@pytest.mark.parametrize("view", [["data"], ["metrics"], ["label", "a"], ["image", "a"]])
def test_where_nothing_has_run_the_command_that_makes_it_is_named(show, monkeypatch, tmp_path, view):
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    code, _, err = show(*view)
    assert code == 2
    assert "dvc repro" in err


def test_params_of_another_run_are_named(show, monkeypatch):
    Path("dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  train:\n    params:\n      params.yaml:\n        seed: 42\n        train.epochs: 7\n"
    )
    _, out, _ = show("metrics")
    assert "train.epochs (was 7, is 1)" in out
    assert "seed" not in out.partition("Validation")[0]


def test_what_a_pipe_gets_has_no_escape_codes(show, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in show("image", "i00")[1]


def test_a_terminal_shows_bold_without_colours_if_it_has_to(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    made = console.open_console(40)
    made.print(console.text("a", "bold red"))
    assert made.no_color
    assert "\x1b[1ma" in capsys.readouterr().out

"""The command with a stand-in for the classifier; tests/stages/test_posterity_predict.py has the real one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from posterity import __version__, cli
from posterity.errors import UserError
from posterity.nn import device
from posterity.predictions import Prediction
from small_project import SmallProject, environment

CSV_HEADER = "path,error,labels,A,B\n"
CSV_ANSWER = ',,"[""B""]",0.750000,0.500000\n'


class StandIn:
    """Answers 0.75 and 0.5 to every image and decides on the second label; an error to those named broken."""

    label_names = ("A", "B")
    exactly_one = False

    def __init__(self, path, *, engine, precision):
        assert engine in ("auto", "keras")
        assert precision == "float32"
        if not Path(path).exists():
            raise UserError(f"{path}: there is no model here.")

    def predict(self, paths, *, show_progress=False):
        for path in paths:
            if "crash" in path:
                raise RuntimeError("a bug")
            if "broken" in path:
                yield Prediction(path, ("A", "B"), error="is empty")
            else:
                yield Prediction(path, ("A", "B"), np.array([0.75, 0.5]), np.array([False, True]))


@pytest.fixture
def posterity(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder with a model; return exit code, stdout, stderr."""
    module = ModuleType("posterity.nn.inference.classifier")
    vars(module)["Classifier"] = StandIn
    monkeypatch.setitem(sys.modules, "posterity.nn.inference.classifier", module)
    monkeypatch.setattr(device, "load_backend", lambda: "none")
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    Path("models/model.keras").touch()

    def run(*argv):
        code: str | int | None = 0
        try:
            cli.main(list(argv))
        except SystemExit as done:
            code = done.code
        return code, *capsys.readouterr()

    return run


def files():
    return sorted(path.as_posix() for path in Path().rglob("*") if path.is_file())


def test_all_well(posterity):
    assert posterity("predict", "a.jpg", "b.jpg") == (0, "a.jpg: B 0.500 | A 0.750\nb.jpg: B 0.500 | A 0.750\n", "")


def test_options_reach_the_output(posterity):
    assert posterity("predict", "a.jpg", "--top-k", "1")[1] == "a.jpg: B 0.500\n"
    assert posterity("predict", "a.jpg", "--threshold", "0.6")[1] == "a.jpg: A 0.750 | B 0.500\n"
    assert posterity("predict", "a.jpg", "--format", "csv")[1] == CSV_HEADER + "a.jpg" + CSV_ANSWER
    assert json.loads(posterity("predict", "a.jpg", "--format", "jsonl")[1])["labels"] == ["B"]
    assert json.loads(posterity("predict", "a.jpg", "--format", "jsonl", "--threshold", "0")[1])["labels"] == ["A", "B"]


def test_excel_safe_is_for_csv(posterity):
    assert posterity("predict", "=a.jpg", "--format", "csv", "--excel-safe")[1] == CSV_HEADER + "'=a.jpg" + CSV_ANSWER
    message = "error: --excel-safe needs --format csv. Got --format table. Change one of them.\n"
    assert posterity("predict", "a.jpg", "--excel-safe") == (2, "", message)


def test_a_message_about_an_argument_is_escaped(posterity):
    code, stdout, stderr = posterity("predict", "a.jpg", "--\x1b[31m\nx")
    assert (code, stdout) == (2, "")
    assert stderr.endswith("error: unrecognized arguments: --\\x1b[31m\\nx\n")


def test_an_input_that_cannot_be_read_makes_exit_code_1_and_hides_no_other(posterity):
    assert posterity("predict", "a.jpg", "broken.jpg", "c.jpg", "--format", "csv") == (
        1,
        f"{CSV_HEADER}a.jpg{CSV_ANSWER}broken.jpg,is empty,,,\nc.jpg{CSV_ANSWER}",
        "1 of 3 inputs could not be read.\n",
    )


def test_nothing_found(posterity):
    Path("empty").mkdir()
    message = "error: empty: expected image files there, found none. Check the path.\n"
    assert posterity("predict", "empty") == (2, "", message)


def test_no_model(posterity):
    assert posterity("predict", "a.jpg", "--model", "other.keras") == (
        2,
        "",
        "error: other.keras: there is no model here.\n",
    )


def test_the_output_file_has_what_the_terminal_would_show(posterity):
    assert posterity("predict", "a.jpg", "broken.jpg", "--output", "new/out.csv", "--format", "csv")[0:2] == (1, "")
    assert Path("new/out.csv").read_bytes() == f"{CSV_HEADER}a.jpg{CSV_ANSWER}broken.jpg,is empty,,,\n".encode()


def test_a_run_that_breaks_off_leaves_the_old_output(posterity):
    Path("out.txt").write_text("old")
    with pytest.raises(RuntimeError, match="a bug"):
        posterity("predict", "a.jpg", "crash.jpg", "--output", "out.txt")
    assert Path("out.txt").read_text() == "old"
    assert files() == ["models/model.keras", "out.txt"]


def test_a_folder_is_not_replaced_by_the_output(posterity):
    Path("results").mkdir()
    Path("results/precious.txt").touch()
    assert posterity("predict", "a.jpg", "--output", "results") == (
        2,
        "",
        "error: --output results: expected a file that can be written. Got: Is a directory. Give another path.\n",
    )
    assert files() == ["models/model.keras", "results/precious.txt"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [("models/model.keras/out.csv", "(Not a directory|File exists)"), ("a" * 300, "File name too long")],
)
def test_a_place_that_cannot_be_written(posterity, path, reason):
    code, _, stderr = posterity("predict", "a.jpg", "--output", path)
    assert code == 2
    message = rf"error: --output {path}: expected a file that can be written\. Got: {reason}\. Give another path\.\n"
    assert re.fullmatch(message, stderr)
    assert files() == ["models/model.keras"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["train"], "invalid choice: 'train'"),
        (["predict"], "the following arguments are required: IMAGE"),
        (["predict", "a", "--top-k", "0"], "argument --top-k: expected a whole number of at least 1, got 0"),
        (["predict", "a", "--top-k", "x"], "argument --top-k: expected a whole number of at least 1, got x"),
        (["predict", "a", "--top-k", "1.5"], "argument --top-k: expected a whole number of at least 1, got 1.5"),
        (["predict", "a", "--threshold", "50"], "argument --threshold: expected a number from 0 to 1, got 50"),
        (["predict", "a", "--threshold", "-0.1"], "argument --threshold: expected a number from 0 to 1, got -0.1"),
        (["predict", "a", "--threshold", "nan"], "argument --threshold: expected a number from 0 to 1, got nan"),
        (["predict", "a", "--threshold", "50%"], "argument --threshold: expected a number from 0 to 1, got 50%"),
        (["predict", "a", "--engine", "torch"], "argument --engine: invalid choice: 'torch'"),
        (["predict", "a", "--format", "xml"], "argument --format: invalid choice: 'xml'"),
        (["predict", "a", "--topk", "1"], "unrecognized arguments: --topk"),
    ],
)
def test_mistakes_in_the_arguments(posterity, argv, message):
    code, stdout, stderr = posterity(*argv)
    assert (code, stdout) == (2, "")
    assert message in stderr
    assert stderr.startswith("usage: posterity")


def test_defaults_and_limits_of_the_arguments():
    args = cli.parse_args(["predict", "a.jpg", "b/"])
    assert (args.images, args.model, args.output) == (["a.jpg", "b/"], Path("models/model.keras"), None)
    assert (args.top_k, args.threshold, args.format, args.engine) == (3, None, "table", "auto")
    assert [cli.parse_args(["predict", "a", "--threshold", text]).threshold for text in ("0", "1", "1e-3")] == [
        0,
        1,
        0.001,
    ]


def test_help_and_version(posterity):
    code, stdout, _ = posterity("--help")
    assert code == 0
    assert "predict" in stdout
    assert "label images with a trained model" in stdout
    code, stdout, _ = posterity("predict", "--help")
    assert code == 0
    assert "posterity predict 'new/*.jpg' --top-k 5 --threshold 0.2" in stdout
    assert posterity("--version") == (0, f"posterity {__version__}\n", "")


@pytest.mark.parametrize("number", [1, 20_000], ids=["at the end", "while writing"])
def test_a_reader_that_stops_reading_is_no_error(tmp_path, number):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_cli\n"
        "from types import SimpleNamespace\n"
        "from posterity import cli\n"
        "sys.modules['posterity.nn.inference.classifier'] = SimpleNamespace(Classifier=test_cli.StandIn)\n"
        "test_cli.device.load_backend = lambda: None\n"
        f"cli.main(['predict', '--model', '.', *['a.jpg'] * {number}])\n"
    )
    read_end, write_end = os.pipe()
    os.close(read_end)
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)
    assert (run.returncode, run.stderr) == (141, b"")


def test_check_finds_mistakes_in_the_parameters_and_the_paths(tmp_path, monkeypatch, capsys):
    project = SmallProject(tmp_path / "project")
    monkeypatch.chdir(project.root)
    Path("data/backbones").mkdir(parents=True)
    cli.main(["check"])
    expected = "params.yaml: no mistake found.\nlabels.csv: 18 rows for training, 6 for validation.\n"
    assert capsys.readouterr() == (expected, "")
    # DVC wants the folder of backbones to be there for every network.
    project.params({"data.images": "nowhere", "data.labels": "images", "model.backbone_folder": "labels.csv"})
    with pytest.raises(SystemExit, match="2"):
        cli.main(["check"])
    assert capsys.readouterr().err == (
        "error: params.yaml: data.images must be a folder of images. Got 'nowhere'. Correct the path.\n"
        "params.yaml: data.labels must be a CSV file. Got 'images'. Correct the path.\n"
        "params.yaml: model.backbone_folder must be a folder. Got 'labels.csv'. Correct the path.\n"
    )
    with (project.root / "params.yaml").open("a") as file:
        file.write("foo: 1\n")
    with pytest.raises(SystemExit, match="2"):
        cli.main(["check"])
    assert "foo is not a known parameter" in capsys.readouterr().err


def test_check_finds_what_stops_dvc_before_any_stage_can_tell(tmp_path, monkeypatch, capsys):
    project = SmallProject(tmp_path / "project")
    monkeypatch.chdir(project.root)
    Path("data/backbones").mkdir(parents=True)
    Path("images/.dead").symlink_to("nowhere")
    os.mkfifo("images/x.jpg")
    with pytest.raises(SystemExit, match="2"):
        cli.main(["check"])
    assert capsys.readouterr().err == (
        "error: params.yaml: data.images must hold files and folders that DVC can hash, or `dvc repro` stops before "
        "the first stage, or waits for ever. Got in images: '.dead' (a link to nowhere, which does not exist); 'x.jpg' "
        "(a named pipe (FIFO)). Remove, rename or move them.\n"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"machine.reuse_folder": "data"}, "machine.reuse_folder must be a folder of its own"),
        ({"machine.reuse_folder": "src/kept"}, "which lies inside src (a folder of the project)"),
        ({"machine.reuse_folder": "data/backbones/kept"}, "which lies inside data/backbones (model.backbone_folder)"),
        ({"machine.reuse_folder": "~/kept"}, "in which ~ is no one's home. Got ~/kept."),
        ({"train.folds": 50}, "train.folds must be an integer from 2 to the number of different training images"),
        ({"model.name": "backbone", "model.backbone": ["a.keras"]}, "params.yaml: model.backbone: there is no"),
        ({"model.name": "backbone", "model.backbone": ["ResNet5"]}, "Got 'ResNet5'. Did you mean ResNet50"),
    ],
)
def test_check_finds_what_a_later_stage_would_refuse(tmp_path, monkeypatch, capsys, changes, message):
    project = SmallProject(tmp_path / "project")
    monkeypatch.chdir(project.root)
    for folder in ("data/backbones", "src"):
        Path(folder).mkdir(parents=True)
    project.params(changes)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["check"])
    assert message in capsys.readouterr().err


def test_check_warns_of_several_labels_where_each_image_is_to_have_one(tmp_path, monkeypatch, capsys):
    project = SmallProject(tmp_path / "project")
    monkeypatch.chdir(project.root)
    Path("data/backbones").mkdir(parents=True)
    project.params({"decide.exactly_one": True, "decide.at_least_one": False})
    lines = [line.split(",") for line in Path("labels.csv").read_text().splitlines()]
    several = sum(cells[2:].count("1") > 1 for cells in lines[1:])
    cli.main(["check"])
    assert f"{several} of 24 images of labels.csv have two labels or more. Stage evaluate" in capsys.readouterr().err
    singles = [cells for cells in lines[1:] if cells[2:].count("1") <= 1]
    assert several > 0 < len(singles)
    Path("labels.csv").write_text("".join(f"{','.join(cells)}\n" for cells in [lines[0], *singles]))
    cli.main(["check"])
    assert "two labels" not in capsys.readouterr().err


def test_check_does_not_ask_for_a_sample_that_is_drawn_later(tmp_path, monkeypatch, capsys):
    project = SmallProject(tmp_path / "project")
    monkeypatch.chdir(project.root)
    Path("data/backbones").mkdir(parents=True)
    project.params({"data.images": "data/sample/images", "data.labels": "data/sample/labels.csv"})
    cli.main(["check"])
    assert capsys.readouterr().out == "params.yaml: no mistake found.\n"


def test_check_tells_what_the_split_will_be_and_what_stops_it(tmp_path, monkeypatch, capsys):
    project = SmallProject(tmp_path / "project", num_images=20)
    monkeypatch.chdir(project.root)
    Path("data/backbones").mkdir(parents=True)
    project.params({"split.validation_fraction": 0.1, "decide.folds": 5})
    cli.main(["check"])
    out, err = capsys.readouterr()
    assert out.endswith("\nlabels.csv: 18 rows for training, 2 for validation.\n")
    assert err == (
        "WARNING: decide.folds is 5, and there are only 2 different validation images (copies, and images of one "
        "split.group_column, count as one): they make 2 folds. Figures of so few say little.\n"
    )
    project.params({"split.side_column": "fold", "split.validation_fraction": 0.05})
    with pytest.raises(SystemExit, match="2"):
        cli.main(["check"])
    assert "no column 'fold' (split.side_column)" in capsys.readouterr().err
    project.params({"split.side_column": None})
    with pytest.raises(SystemExit, match="2"):
        cli.main(["check"])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: params.yaml: split.validation_fraction must leave enough different images")
    assert err.endswith(
        "Got 0.05, which makes 1 of 20 rows and 1 of 20 different images. Use a value from 0.100 to 0.950.\n"
    )
    project.params({"split.validation_fraction": 0.1})
    cli.main(["check"])


def test_use_shows_and_writes_the_changes_of_a_recipe(posterity):
    project = SmallProject(Path("project"))
    os.chdir(project.root)
    Path("recipe.yaml").write_text("train:\n  epochs: 3\n  ema: 0.9\n")
    before = Path("params.yaml").read_text()
    shown = "train.epochs: 1 -> 3\ntrain.ema: null -> 0.9\n"
    assert posterity("use", "recipe.yaml", "--dry-run") == (0, f"{shown}params.yaml is not changed (--dry-run).\n", "")
    assert Path("params.yaml").read_text() == before
    code, stdout, _ = posterity("use", "recipe.yaml")
    assert (code, stdout.startswith(shown)) == (0, True)
    assert "2 values changed in params.yaml. Next: `dvc repro`" in stdout
    assert "  epochs: 3\n" in Path("params.yaml").read_text()
    assert posterity("use", "recipe.yaml")[1] == "params.yaml has all values of recipe.yaml already.\n"
    assert posterity("use", "none.yaml")[:2] == (2, "")

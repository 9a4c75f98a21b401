"""Every script as a user meets it: its --help, and what it says about bad input."""

import subprocess
import sys
from pathlib import Path

import pytest

from posterity import files
from small_project import SRC, SmallProject, environment, png_header, run_script

SCRIPTS = sorted(path.stem for path in SRC.glob("*.py"))
NO_TENSORFLOW = "loaded = {'tensorflow', 'keras', 'jax'} & set(sys.modules)\nassert not loaded, (name, loaded)\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return SmallProject(tmp_path)


def python(code, folder):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


def test_help_answers_without_tensorflow_and_without_a_project(tmp_path):
    code = (
        "import sys\n"
        "from posterity import cli\n"
        "from small_project import run_script\n"
        f"for name in {SCRIPTS}:\n"
        "    help = run_script(name, '--help')\n"
        "    assert help.code == 0 and not help.stderr, (name, help)\n"
        "    assert help.stdout.startswith(f'usage: {name}') and 'options:' in help.stdout, (name, help)\n"
        "    " + NO_TENSORFLOW.replace("\n", "\n    ") + "\n"
        "for argv in ['--help'], ['predict', '--help']:\n"
        "    name = argv\n"
        "    try: cli.main(argv)\n"
        "    except SystemExit as done: assert done.code == 0, (argv, done.code)\n"
        "    else: raise AssertionError(argv)\n" + NO_TENSORFLOW
    )
    run = python(code, tmp_path)
    assert run.returncode == 0, run.stderr
    assert "usage: posterity predict" in run.stdout
    assert list(tmp_path.iterdir()) == []
    stages = {"validate", "preprocess", "split", "features", "train", "evaluate", "final_test", "predict"}
    assert stages <= set(SCRIPTS)


def test_the_stages_before_training_run_without_tensorflow_and_so_does_a_test_of_no_rows(project):
    code = (
        "import sys, validate, preprocess, split, features, final_test\n"
        "for stage in (validate, preprocess, split, features, final_test):\n"
        "    name = stage.__name__\n"
        "    stage.main([])\n    " + NO_TENSORFLOW.replace("\n", "\n    ")
    )
    run = python(code, project.root)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "labels.csv: 3 labels: Bright 10, N/A 24, Red 8.",
        "24 of 24 rows kept, 3 labels; identical_image 1 (listed in data/manifest_issues.csv).",
        "24 images cached as 64 x 48, 0 rows left out.",
        "18 rows for training, 6 for validation.",
        "model.name is compact_cnn: no features to compute.",
        "No row is kept for the test (split.test_fraction, split.side_column): nothing to score.",
    ]
    made = [*VALIDATED, *PREPROCESSED, "data/split.csv", "metrics/split.json", "data/features", "metrics/test.json"]
    assert files.read_json("metrics/test.json") == {"rows_scored": 0}
    assert project.outputs() == sorted(made)


def test_as_a_command_a_failing_stage_prints_its_message_alone(project):
    project.truncate("i03")
    assert run_script("validate").code == 0
    command = [sys.executable, str(SRC / "preprocess.py")]
    run = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stdout == ""
    progress, _, message = run.stderr.rpartition("\nerror: ")
    assert progress.replace("\r", "\n").splitlines()[-1].startswith("decode: 100%")
    assert message.startswith("labels.csv: 1 kind of problem stops the run. data/issues.csv lists every problem.\n")


def test_the_split_works_on_what_is_in_the_cache(project):
    project.truncate("i03")
    project.params({"data.on_problem.unreadable_image": "drop", "data.max_dropped_fraction": 0.1})
    for stage in ("validate", "preprocess", "split"):
        assert run_script(stage).code == 0
    split = files.read_csv("data/split.csv")
    assert split["id"].tolist() == [id_ for id_ in project.ids if id_ != "i03"]
    assert (split["side"] == "validation").sum() == 6  # round(0.25 * 23)
    # i22 and i23 are the same image.
    assert split["side"].iloc[-1] == split["side"].iloc[-2]
    assert files.read_json("metrics/split.json")["rows"] == {"train": 17, "validation": 6}
    assert files.read_json("metrics/split.json")["groups"] == 22


# Bad input: what is wrong, what has to be done before the stage that notices, the stage, the place and the fix that its
# message must name. Of its own outputs a failing stage leaves nothing but the list of problems.
VALIDATED = ["data/labels.json", "data/manifest.csv", "data/manifest_issues.csv"]
PREPROCESSED = ["data/issues.csv", "data/rows", "data/tensors", "metrics/data.json"]
ISSUES = ["data/issues.csv", "data/manifest_issues.csv"]
PROBLEM = "labels.csv: 1 kind of problem stops the run. data/issues.csv lists every problem."
ONE_HOT_ONLY = {"data.list_column": None}


def empty_the_folder(project):
    for path in (project.root / "images").iterdir():
        path.unlink()


def not_utf8(project):
    path = project.root / "labels.csv"
    path.write_bytes(path.read_bytes().replace(b"i05", "é05".encode("latin-1")))


def only_rows(*lines):
    def change(project):
        project.rows(list(lines))
        project.params(ONE_HOT_ONLY)

    return change


BAD_INPUT = {
    "missing CSV": (
        lambda project: (project.root / "labels.csv").unlink(),
        ["labels.csv does not exist.", "Set data.labels in params.yaml."],
        [],
    ),
    "empty CSV": (
        lambda project: (project.root / "labels.csv").write_bytes(b""),
        ["labels.csv: expected a header and one row per image. Got nothing."],
        [],
    ),
    "header only": (
        only_rows("Id,Bright"),
        ["labels.csv: expected a header and one row per image. Got a header but no row."],
        [],
    ),
    "missing column": (
        lambda project: project.params({"data.id_column": "id"}),
        ["labels.csv, line 1: no column 'id' (data.id_column); the nearest is 'Id'.", "Correct data.id_column"],
        [],
    ),
    "CSV that is not UTF-8": (
        not_utf8,
        ["labels.csv, line 7: expected UTF-8 text. Got the byte 0xe9", "convert it: `iconv -f windows-1252"],
        [],
    ),
    "no params.yaml": (
        lambda project: (project.root / "params.yaml").unlink(),
        ["params.yaml: cannot be read: No such file or directory.", "Run from the repository's root"],
        [],
    ),
    "unknown param": (
        lambda project: project.params({"train.epoch": 3}),
        ["params.yaml: train.epoch is not a known parameter.", "Did you mean train.epochs?"],
        [],
    ),
    "param of a wrong type": (
        lambda project: project.params({"train.epochs": "20"}),
        ["params.yaml: train.epochs must be an integer >= 1. Got '20'.", "Remove the quotes."],
        [],
    ),
    "no image folder": (
        lambda project: project.params({"data.images": "pictures"}),
        ["pictures does not exist.", "Set data.images in params.yaml."],
        [],
    ),
    "empty image folder": (
        empty_the_folder,
        ["images is empty.", "Set data.images in params.yaml."],
        [],
    ),
    "zero-byte image": (
        lambda project: project.image("i03").write_bytes(b""),
        [PROBLEM, "unreadable_image: 1 row", "line 5, 'i03': images/i03.jpg: is empty (0 bytes)", "Replace the files"],
        ISSUES,
    ),
    "no image at all": (
        lambda project: project.image("i03").write_text("<html>404 not found</html>"),
        [PROBLEM, "line 5, 'i03': images/i03.jpg: is a web page (HTML)", "Replace the files"],
        ISSUES,
    ),
    "image cut off in its header": (
        lambda project: project.image("i03").write_bytes(project.image("i03").read_bytes()[:100]),
        [PROBLEM, "unreadable_image: 1 row", "line 5, 'i03': images/i03.jpg: ", "Replace the files"],
        ISSUES,
    ),
    "decompression bomb": (
        lambda project: project.image("i03").write_bytes(png_header(50_000, 50_000)),
        [
            PROBLEM,
            "oversized_image: 1 row",
            "line 5, 'i03': images/i03.jpg: 50000 x 50000 = 2,500,000,000 pixels, over image.max_pixels = 89,478,485",
            "Replace the files by smaller ones, raise the limit of section image that is named",
        ],
        ISSUES,
    ),
    "id that leads out of the folder": (
        lambda project: project.edit("i03,", "../i03,"),
        ["labels.csv: column 'Id'", "inside data.images = images", "line 5 '../i03'", "without '..'"],
        [],
    ),
    "label cell 2": (
        lambda project: project.edit("i04,N/A,0,1,0", "i04,N/A,2,1,0"),
        [PROBLEM, "line 6, 'i04': column 'Bright': expected 0 or 1, got '2'", "Correct the cells"],
        ISSUES,
    ),
    "label cell yes": (
        lambda project: project.edit("i04,N/A,0,1,0", "i04,N/A,yes,1,0"),
        [PROBLEM, "line 6, 'i04': column 'Bright': expected 0 or 1, got 'yes'", "Correct the cells"],
        ISSUES,
    ),
    "label column of yes and no": (
        only_rows("Id,Bright,Red", "i00,yes,1", "i01,no,0"),
        ["Got neither anywhere in column 'Bright' (line 2: 'yes')", "Name only the labels in params.yaml"],
        [],
    ),
    "list and columns that disagree": (
        lambda project: project.edit("i04,N/A,", "i04,Red,"),
        [PROBLEM, "line 6, 'i04': column 'Genre' says ['Red'], the one-hot columns say ['N/A']", "Correct the rows"],
        ISSUES,
    ),
    "no label at all": (
        only_rows("Id,Bright,Red", "i00,0,0", "i01,0,0"),
        ["labels.csv: no row has a label.", "Fill them in, or correct data.label_columns and data.list_column"],
        [],
    ),
}  # fmt: skip


# The labels are always shown, unless they cannot be read.
COUNTS = "labels.csv: 3 labels: Bright 10, N/A 24, Red 8.\n"


def assert_clear(run, fragments):
    assert run.code == 2
    message = run.stderr[run.stderr.index("error: ") :]
    for fragment in fragments:
        assert fragment in message
    assert "Traceback" not in run.stderr
    assert run.stdout in ("", COUNTS)


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_to_validate(project, case):
    change, fragments, left = BAD_INPUT[case]
    change(project)
    assert_clear(run_script("validate"), fragments)
    assert project.outputs() == left


def test_a_truncated_image_stops_preprocess(project):
    project.truncate("i03")
    assert run_script("validate").code == 0
    place = "line 5, 'i03': images/i03.jpg: cannot be decoded: image file is truncated"
    fragments = ["data/issues.csv lists every problem", "unreadable_image: 1 row", place, "Replace the files"]
    assert_clear(run_script("preprocess"), fragments)
    assert project.outputs() == sorted([*VALIDATED, "data/issues.csv"])


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (
            only_rows("Id,Bright", "i00,1"),
            ["needs at least 3 different images: 2 for validation, 1 for train", "Got 1 in 1 row, ", "Add rows"],
        ),
        (
            only_rows("Id,Bright", "i22,1", "i23,1"),
            ["needs at least 3 different images", "Got 1 in 2 rows, for which no value works", "Add rows"],
        ),
        (
            only_rows("Id,Bright", "i00,1", "i22,1", "i23,1"),
            ["needs at least 3 different images", "Got 2 in 3 rows, for which no value works", "Add rows"],
        ),
        (
            lambda project: project.params({"split.validation_fraction": 0.01}),
            # The largest group, a pair of copies, and one more row: three rows are surely two different images.
            ["Got 0.01, which makes 0 of 24 rows.", "Use a value from 0.125 to 0.958."],
        ),
        (
            lambda project: project.params({"split.validation_fraction": 0.99}),
            ["Got 0.99, which makes 24 of 24 rows.", "Use a value from 0.125 to 0.958."],
        ),
        (
            lambda project: project.params({"split.validation_fraction": 0.04}),
            ["Got 0.04, which makes 1 of 24 rows and 1 of 23 different images.", "Use a value from 0.125 to 0.958."],
        ),
    ],
    ids=["one row", "copies of one image", "two images", "no validation row", "no training row", "one to validate"],
)
def test_too_few_rows_stop_split(project, change, fragments):
    change(project)
    assert run_script("validate").code == run_script("preprocess").code == 0
    assert_clear(run_script("split"), ["params.yaml: split.validation_fraction", *fragments])
    assert project.outputs() == sorted([*VALIDATED, *PREPROCESSED])


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("preprocess", "data/manifest.csv"),
        ("split", "data/rows/index.csv"),
        ("features", "data/tensors/meta.json"),
        ("train", "data/rows/index.csv"),
        ("evaluate", "data/rows/index.csv"),
        ("final_test", "data/rows/index.csv"),
    ],
)
def test_a_stage_before_its_turn(project, stage, missing):
    project.params({"model.name": "backbone"})
    run = run_script(stage)
    assert_clear(run, [f"error: {missing} does not exist. An earlier stage makes it: run `dvc repro`."])
    assert project.outputs() == []


def test_train_before_features_and_evaluate_before_train(project):
    for stage in ("validate", "preprocess", "split"):
        assert run_script(stage).code == 0
    made = project.outputs()
    missing = "data/features/meta.json does not exist. An earlier stage makes it: run `dvc repro`."
    assert_clear(run_script("train"), [f"error: {missing}"])
    missing = "models/trained.keras: there is no model here. Train one with `dvc repro`"
    assert_clear(run_script("evaluate"), [f"error: {missing}"])
    assert project.outputs() == made


@pytest.mark.parametrize(
    ("images", "name", "message"),
    [
        ({}, "new", "params.yaml: predict.images has no entry 'new'. Its entries: none."),
        ({"b": "x", "a": "y"}, "c", "params.yaml: predict.images has no entry 'c'. Its entries: a, b."),
        ({"new": "empty"}, "new", "empty: expected image files there, found none. Check the path."),
    ],
)
def test_nothing_to_predict(project, images, name, message):
    Path("empty").mkdir()
    project.params({"predict.images": images})
    assert_clear(run_script("predict", name), [f"error: {message}\n"])
    assert project.outputs() == []

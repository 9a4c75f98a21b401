import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML

import validate
from posterity import files
from posterity.dataset import image_files, manifest
from posterity.errors import UserError
from posterity.pixels import opening

ROOT = Path(__file__).parents[2]


class Project:
    """A working folder with params.yaml, labels.csv and images/{id}.jpg."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.params(images="images", labels="labels.csv", list_column=None)
        (root / "images").mkdir()
        for shade, name in enumerate("xyz"):
            Image.new("L", (4, 6), 40 * shade).save(root / f"images/{name}.jpg")
        self.rows("Id,A,N/A", "x,1,0", "y,1,1", "z,0,1")

    def params(self, on_problem=None, reuse=None, **data):
        yaml = YAML()
        content = yaml.load(self.root / "params.yaml" if (self.root / "params.yaml").exists() else ROOT / "params.yaml")
        content["data"].update(data)
        content["data"]["on_problem"].update(on_problem or {})
        content["machine"]["reuse_folder"] = reuse
        yaml.dump(content, self.root / "params.yaml")

    def rows(self, *lines):
        (self.root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def outputs(self):
        return sorted(path.name for path in (self.root / "data").rglob("*")) if (self.root / "data").exists() else []


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def test_the_outputs(project, capsys):
    project.rows("Id,A,N/A", "x,1,0", "y,1,1", "z,0,1", "x,1,0")
    validate.main([])
    table = manifest.read_manifest("data/manifest.csv")
    assert table["id"].tolist() == ["x", "y", "z", "x"]
    assert table["path"].tolist()[0] == "images/x.jpg"
    assert files.read_json("data/labels.json") == ["A", "N/A"]
    assert Path("data/manifest_issues.csv").read_text(encoding="utf-8") == (
        "kind,line,id,detail\nduplicate_id,5,x,same id as line 2\n"
    )
    assert capsys.readouterr().out == (
        "labels.csv: 2 labels: A 3, N/A 2.\n"
        "4 of 4 rows kept, 2 labels; duplicate_id 1 (listed in data/manifest_issues.csv).\n"
    )


def test_a_clean_data_set_says_so(project, capsys):
    validate.main([])
    assert (
        capsys.readouterr().out == "labels.csv: 2 labels: A 2, N/A 2.\n3 of 3 rows kept, 2 labels; no problem found.\n"
    )


def test_the_same_input_gives_the_same_bytes(project):
    outputs = ["data/manifest.csv", "data/labels.json", "data/manifest_issues.csv"]
    validate.main([])
    first = [Path(path).read_bytes() for path in outputs]
    validate.main(["--manifest", "b/m.csv", "--labels", "b/l.json", "--known-issues", "b/i.csv"])
    assert first == [Path(path).read_bytes() for path in ("b/m.csv", "b/l.json", "b/i.csv")]


def test_a_problem_that_fails_leaves_the_list_and_no_manifest(project):
    project.rows("Id,A,N/A", "x,1,0", "gone,1,1", "y,2,0", "x,1,0")
    with pytest.raises(UserError) as error:
        validate.main([])
    assert str(error.value).splitlines() == [
        "labels.csv: 2 kinds of problems stop the run. data/issues.csv lists every problem.",
        "  missing_image: 1 row",
        "    line 3, 'gone': images/gone.jpg: no such file",
        "    Add the files, correct data.images, data.image_pattern or data.image_column, "
        "or set data.on_problem.missing_image: drop in params.yaml.",
        "  bad_label_cell: 1 cell",
        "    line 4, 'y': column 'A': expected 0 or 1, got '2'",
        '    Correct the cells, say what their texts mean in data.values, such as {"-1": unknown, "": absent}, list '
        "the columns that are labels in data.label_columns, "
        "or set data.on_problem.bad_label_cell: drop in params.yaml.",
    ]
    assert project.outputs() == ["issues.csv", "manifest_issues.csv"]
    kinds = files.read_csv("data/manifest_issues.csv")["kind"].tolist()
    assert kinds == ["missing_image", "bad_label_cell", "duplicate_id", "rare_label", "unlisted_image"]


def test_dropped_rows_are_left_out_within_the_budget(project, capsys):
    project.rows("Id,A,N/A", "x,1,0", "gone,1,1", "y,1,1")
    project.params({"missing_image": "drop"}, max_dropped_fraction=0.5)
    validate.main([])
    assert manifest.read_manifest("data/manifest.csv")["line"].tolist() == [2, 4]
    assert capsys.readouterr().out.startswith(
        "labels.csv: 2 labels: A 2, N/A 1.\n2 of 3 rows kept, 2 labels; missing_image 1,"
    )
    project.params(max_dropped_fraction=0.3)
    with pytest.raises(UserError, match=r"labels.csv: 1 of 3 rows would be dropped, 33.33%; data.max_dropped_fraction"):
        validate.main([])


def test_no_label_may_be_left(project):
    project.rows("Id,A,B", "x,1,0", "y,0,1", "z,0,0")
    project.params({"rare_label": "drop"})
    with pytest.raises(UserError, match=r"labels.csv: no label is left on the 3 rows that are kept"):
        validate.main([])
    assert project.outputs() == ["issues.csv", "manifest_issues.csv"]


def test_other_forms_of_input(project):
    Image.new("L", (4, 6)).save("images/w.png")
    project.rows("name,file,tags", "a,x.jpg,red / green", "b,y.jpg,green", "c,w.png,", "d,z.jpg,red")
    columns = {"id_column": "name", "list_column": "tags", "image_column": "file"}
    project.params(**columns, list_delimiter="/", label_columns=[])
    validate.main([])
    assert files.read_json("data/labels.json") == ["green", "red"]
    table = manifest.read_manifest("data/manifest.csv")
    assert [json.loads(text) for text in table["labels"]] == [["green", "red"], ["green"], [], ["red"]]
    assert table["path"].tolist() == ["images/x.jpg", "images/y.jpg", "images/w.png", "images/z.jpg"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["Id,A", "x,yes", "y,no"],
            "a one-hot column must hold 0 and 1, or what data.values names. Got neither anywhere in column 'A'",
        ),
        (["Id,A", "x,0", "y,0"], "labels.csv: no row has a label."),
        (["name,A", "x,1"], "labels.csv, line 1: no column 'Id' (data.id_column)"),
        (["Id,A", "../images/x,1"], "must lead to a file inside data.images = images"),
        (["Id,A"], "labels.csv: expected a header and one row per image. Got a header but no row."),
    ],
)
def test_what_no_policy_tolerates_writes_nothing(project, lines, message):
    project.rows(*lines)
    with pytest.raises(UserError) as error:
        validate.main([])
    assert message in str(error.value)
    assert project.outputs() == []


def test_as_a_command_an_error_has_no_traceback_and_exit_code_2(project):
    Path("labels.csv").write_bytes(b"Id,A\ncaf\xe9,1\n")
    script = [sys.executable, str(ROOT / "src" / "validate.py")]
    run = subprocess.run(script, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == (
        "error: labels.csv, line 2: expected UTF-8 text. Got the byte 0xe9 at position 8. "
        "If it is in the encoding of Western Europe's Windows, convert it: `iconv -f windows-1252 -t utf-8 labels.csv "
        "> labels-utf8.csv`, then set data.labels: labels-utf8.csv in params.yaml.\n"
    )
    assert run.stdout == ""


def test_help_does_not_load_tensorflow():
    code = (
        "import sys, validate\n"
        "try: validate.main(['--help'])\n"
        "except SystemExit as done: assert done.code == 0\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "data.on_problem" in run.stdout


def test_known_files_are_not_read_again(project, monkeypatch, capsys):
    project.params(reuse="kept")
    for path in Path("images").iterdir():
        os.utime(path, (0, 0))
    validate.main([])
    first = Path("data/manifest.csv").read_bytes()
    read = []
    read_usual = opening.read_usual

    def noted(path):
        read.append(path)
        return read_usual(path)

    monkeypatch.setattr(image_files, "read_usual", noted)
    validate.main([])
    assert read == []
    Path("images/y.jpg").touch()
    validate.main([])
    assert read == ["images/y.jpg"]
    assert Path("data/manifest.csv").read_bytes() == first


def test_a_folder_for_reuse_that_cannot_be_written(project):
    Path("kept").touch()
    project.params(reuse="kept")
    with pytest.raises(UserError, match=r"machine.reuse_folder must be a folder. Got kept, which is a file."):
        validate.main([])

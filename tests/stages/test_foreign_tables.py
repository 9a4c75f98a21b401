"""Tables in the forms of public data sets and other tools: proposed by `posterity init`, read by validate."""

import codecs
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

import validate
from posterity import cli, files
from posterity.errors import UserError
from small_project import ROOT

MANY = 10  # times that the rows of a case are repeated, each with an image of its own


@dataclass(frozen=True)
class Case:
    """A data set: a table whose rows are made from ``cells``, and the files that they name.

    ``header`` is the first line; in the cells of a row, ``@`` is the number of the image.
    """

    header: str
    rows: list[str]
    labels: dict[str, int]  # what must be read, per ten images of each row
    file: str = "@.png"
    settings: dict[str, Any] = field(default_factory=dict)  # proposed, beside the labels
    unknown: int = 0
    encoding: str = "utf-8"
    above: str = ""


LISTS = [f"@,{cell}" for cell in ("roof|tree", "roof", "tree")]
READS = {"roof": 2, "tree": 2}

CASES: dict[str, Case] = {
    "delimited names": Case("Id,Genre", LISTS, READS),
    "a delimiter at either end": Case("Id,Genre", ["@,roof|tree|", "@,|roof", "@,tree"], READS),
    "a Python list": Case("Id,Genre", ["@,\"['roof', 'tree']\"", "@,['roof']", "@,['tree']"], READS),
    "a JSON list": Case("Id,Genre", ['@,"[""roof"", ""tree""]"', '@,"[""roof""]"', '@,"[""tree""]"'], READS),
    "a tuple": Case("Id,Genre", ["@,\"('roof', 'tree')\"", "@,\"('roof',)\"", "@,\"('tree',)\""], READS),
    "a set": Case("Id,Genre", ["@,\"{'roof', 'tree'}\"", "@,{'roof'}", "@,{'tree'}"], READS),
    "an array of NumPy": Case("Id,Genre", ["@,['roof' 'tree']", "@,['roof']", "@,['tree']"], READS),
    "choices of Label Studio": Case(
        "image,choice", ['@.png,"{""choices"": [""roof"", ""tree""]}"', "@.png,roof", "@.png,tree"], READS
    ),
    "names in quotes": Case("Id,Genre", ["@,'roof'|'tree'", "@,'roof'", "@,'tree'"], READS),
    "names between spaces": Case(
        "image,labels", ["@.png,roof tree", "@.png,roof", "@.png,tree"], READS, settings={"list_delimiter": " "}
    ),
    "numbers between spaces": Case(
        "Id,Target", ["@,7 12", "@,7", "@,12"], {"7": 2, "12": 2}, settings={"list_delimiter": " "}
    ),
    "names between commas": Case(
        "Id,tags", ['@,"roof, tree"', "@,roof", "@,tree"], READS, settings={"list_delimiter": ","}
    ),
    "semicolons": Case("Id;roof;tree", ["@;1;1", "@;1;0", "@;0;1"], READS, settings={"delimiter": ";"}),
    "Excel's sep line": Case(
        "Id;roof;tree", ["@;1;1", "@;1;0", "@;0;1"], READS, above="sep=;", settings={"delimiter": ";"}
    ),
    "tabs in UTF-16": Case("Id\tGenre", ["@\troof|tree", "@\troof", "@\ttree"], READS, encoding="utf-16"),
    "a byte-order mark": Case("Id,Genre", LISTS, READS, encoding="utf-8-sig"),
    "CelebA: a count, no name, blanks": Case(
        "roof tree", ["@.png  1  1", "@.png  1 -1", "@.png -1  1"], READS, above="30",
        settings={"delimiter": "whitespace", "id_column": "id", "values": {"-1": "absent"}},
    ),
    "TRUE and FALSE": Case("Id,roof,tree", ["@,TRUE,TRUE", "@,True,false", "@,FALSE,true"], READS),
    "yes and no": Case("Id,roof,tree", ["@,yes,yes", "@,yes,no", "@,no,yes"], READS),
    "crosses and blanks": Case(
        "Id,roof,tree", ["@,x,x", "@,x,", "@,,x"], READS, settings={"values": {"x": "present", "": "absent"}}
    ),
    "CheXpert: uncertain and blank": Case(
        "Path,Sex,roof,tree", ["train/@.png,F,1.0,1.0", "train/@.png,M,1.0,-1.0", "train/@.png,F,,0.0"],
        {"roof": 2, "tree": 1}, file="train/@.png", unknown=2,
        settings={"label_columns": ["roof", "tree"], "values": {"-1": "unknown", "": "unknown"}},
    ),
    "meta data of 0 and 1": Case(
        "Id,is_train,fold,roof,tree", ["@,1,0,1,1", "@,1,1,1,0", "@,0,1,0,1"], READS,
        settings={"label_columns": ["roof", "tree"]},
    ),
    "a list beside a flag": Case(
        "fname,labels,is_valid", ["@.png,roof tree,True", "@.png,roof,False", "@.png,tree,False"], READS,
        settings={"label_columns": [], "list_delimiter": " "},
    ),
    "a name for no label": Case(
        "Id,Genre", [*LISTS, "@,No Finding"], READS, settings={"no_label_names": ["No Finding"]}
    ),
    "nan of pandas": Case("Id,Genre", [*LISTS, "@,nan"], READS, settings={"no_label_names": ["nan"]}),
    "the label N/A": Case("Id,Genre", ["@,roof|N/A", "@,roof", "@,N/A"], {"roof": 2, "N/A": 2}),
    "backslashes": Case("path,Genre", [f"a\\\\{row}".replace("@,", "@.png,") for row in LISTS], READS, file="a/@.png"),
    "folders that the table does not name": Case(
        "image,labels", ["@.png,roof|tree", "@.png,roof", "@.png,tree"], READS, file="part@/img/@.png",
        settings={"image_pattern": "**/{id}"},
    ),
    "paths of another machine": Case(
        "image,labels", [f"/home/ann/{row}" for row in ("@.png,roof|tree", "@.png,roof", "@.png,tree")], READS,
        settings={"image_pattern": "**/{name}"},
    ),
    "paths of Windows": Case(
        "image,labels", [f"C:\\\\data\\\\{row}" for row in ("@.png,roof|tree", "@.png,roof", "@.png,tree")], READS,
        settings={"image_pattern": "**/{name}"},
    ),
    "zeros before the number": Case(
        "Id,Genre", LISTS, READS, file="@@@@.png", settings={"image_pattern": "{id:04d}.png"}
    ),
    "an ending": Case("Id,Genre", LISTS, READS, file="@_red.png", settings={"image_pattern": "{id}_red.png"}),
    "a cell of 200,000 characters": Case(
        "Id,Genre,mask", [f"{row},{'1 2 ' * 50_000 if row == LISTS[0] else 'none'}" for row in LISTS], READS,
        settings={"label_columns": []},
    ),
}  # fmt: skip


class Folder:
    """A project folder with images and a table."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.params = YAML().load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        self.set({"data.images": "images", "data.labels": "labels.csv", "machine.reuse_folder": None})

    def set(self, settings: dict[str, Any]) -> None:
        for dotted, value in settings.items():
            *above, key = dotted.split(".")
            section = self.params
            for name in above:
                section = section[name]
            section[key] = value
        YAML().dump(self.params, self.root / "params.yaml")

    def image(self, name: str, number: int) -> None:
        path = self.root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), (number % 256, number // 256, 7), np.uint8)).save(path)

    def table(self, content: bytes) -> None:
        (self.root / "labels.csv").write_bytes(content)

    def make(self, case: Case) -> None:
        lines = [case.above] if case.above else []
        lines.append(case.header)
        number = 0
        for _ in range(MANY):
            for row in case.rows:
                number += 1
                name = f"{number:04d}" if "@@@@" in case.file else f"{number}"
                self.image(case.file.replace("@@@@", "@").replace("@", name), number)
                lines.append(row.replace("\\\\", "\\").replace("@", str(number)))
        self.table(("\r\n".join(lines) + "\r\n").encode(case.encoding))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


def init(*options: str) -> None:
    cli.main(["init", "images", "labels.csv", *options])


@pytest.mark.parametrize("name", CASES)
def test_a_table_is_read_as_init_proposes(folder, name, capsys):
    case = CASES[name]
    folder.make(case)
    init("--json", "--yes")
    proposal = json.loads(capsys.readouterr().out)
    expected = {label: rows * MANY for label, rows in case.labels.items()}
    assert proposal["labels"] == expected
    assert proposal["unknown_cells"] == case.unknown * MANY
    assert {key: proposal["settings"][f"data.{key}"] for key in case.settings} == case.settings
    validate.main([])
    out = capsys.readouterr().out
    rows = MANY * len(case.rows)
    assert f"{rows} of {rows} rows kept, {len(expected)} labels" in out
    table = files.read_csv("data/manifest.csv")
    assert len(table) == rows
    found = [name for text in table["labels"] for name in json.loads(text)]
    assert {label: found.count(label) for label in set(found)} == expected
    unknown = [name for text in table.get("unknown", []) for name in json.loads(text)]
    assert len(unknown) == case.unknown * MANY


def test_one_row_per_image_and_label(folder, capsys):
    for number in range(1, 5):
        folder.image(f"{number}.png", number)
    folder.table(
        b"ImageID,Source,LabelName,Confidence\n"
        + b"".join(b"%d,person,roof,1\n%d,person,tree,%d\n%d,person,car,0\n" % (k, k, k % 2, k) for k in range(1, 5))
    )
    init("--json", "--yes")
    proposal = json.loads(capsys.readouterr().out)
    assert proposal["labels"] == {"car": 0, "roof": 4, "tree": 2}
    wanted = {"data.rows": "label", "data.list_column": "LabelName", "data.presence_column": "Confidence"}
    wanted["data.unlisted_labels"] = "unknown"
    assert {key: proposal["settings"][key] for key in wanted} == wanted
    validate.main([])
    assert "labels.csv: 12 rows joined to 4 images (data.rows: label).\n" in capsys.readouterr().out
    assert files.read_csv("data/manifest.csv")["labels"].tolist() == ['["roof", "tree"]', '["roof"]'] * 2


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        (b"a,b\n7,8\n", ["no column leads to the files in images", "'a' ('7')"]),
        (b"1.png,roof\n2.png,tree\n", ["the first line seems to be a row, not a header"]),
        (b"Id,vector\n1,\"[0, 1]\"\n2,\"[1, 1]\"\n", ["holds vectors of 0 and 1"]),
        (b"Id,title\n1,Up\n2,Her\n", ["it cannot be told which columns hold labels"]),
        (json.dumps({"images": [], "annotations": []}).encode(), ["COCO", "posterity import coco"]),
        (b"PK\x03\x04xl", ["a zip archive"]),
        (b"\x1f\x8b\x08\0", ["a gzip archive", "gzip -dc labels.csv > labels-utf8.csv"]),
        (codecs.BOM_UTF32_LE + "Id".encode("utf-32-le"), ["Got UTF-32"]),
    ],
)  # fmt: skip
def test_init_ends_with_1_and_the_reasons_where_it_cannot_tell(folder, content, reasons, capsys):
    folder.image("1.png", 1)
    folder.image("2.png", 2)
    folder.table(content)
    before = Path("params.yaml").read_bytes()
    with pytest.raises(SystemExit) as error:
        init("--yes")
    assert error.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    for reason in reasons:
        assert reason in message
    assert Path("params.yaml").read_bytes() == before


def test_sides_with_empty_cells_are_proposed_aloud(folder, capsys):
    for number in range(1, 7):
        folder.image(f"{number}.png", number)
    rows = "".join(f"{k},roof|tree,{side}\n" for k, side in enumerate(["train", "train", "val", "val", "", ""], 1))
    folder.table(f"Id,Genre,split\n{rows}".encode())
    init("--json", "--yes")
    proposal = json.loads(capsys.readouterr().out)
    assert proposal["settings"]["split.sides"] == {"": "leave_out", "train": "train", "val": "validation"}
    assert any("rows with an empty cell in 'split' are left out" in text for text in proposal["ambiguous"])


def test_init_without_params_or_with_broken_ones_is_a_clear_error(folder, capsys):
    folder.make(CASES["semicolons"])
    for content in (None, b"data: [1", b"data: \xff"):
        if content is None:
            Path("params.yaml").unlink()
        else:
            Path("params.yaml").write_bytes(content)
        with pytest.raises(SystemExit) as error:
            init("--yes")
        assert error.value.code == 1
        assert capsys.readouterr().err.startswith("error: params.yaml")


def test_nothing_is_written_without_a_confirmation(folder, capsys):
    folder.make(CASES["semicolons"])
    before = Path("params.yaml").read_bytes()
    init()
    shown = capsys.readouterr()
    assert Path("params.yaml").read_bytes() == before
    assert "data.delimiter: ',' -> ;" in shown.out
    assert "1.png: roof, tree" in shown.out
    assert "params.yaml is not changed." in shown.err


def test_comments_stay_and_a_second_run_changes_nothing(folder, capsys):
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    folder.make(CASES["CheXpert: uncertain and blank"])
    init("--yes")
    text = Path("params.yaml").read_text(encoding="utf-8")
    assert "  # Column with the id of the image.\n  id_column: Path\n" in text
    assert "  values: {'-1': unknown, '': unknown}\n" in text
    capsys.readouterr()
    init("--yes")
    assert "params.yaml has all these values already." in capsys.readouterr().err
    assert Path("params.yaml").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (b"Id,Genre\n1,roof tree\n2,roof\n3,tree\n", {}, "Set data.list_delimiter: \" \""),
        (b"Id,Genre\n1,\"roof, tree\"\n2,roof\n3,tree\n", {}, "Set data.list_delimiter: \",\""),
        (b"Id;Genre\n1;roof\n2;tree\n3;roof\n", {}, 'set data.delimiter: ";"'),
        (b"sep=;\nId;Genre\n1;roof\n2;tree\n3;roof\n", {}, 'Set data.delimiter: ";"'),
        (b"Id,Genre,is_new\n1,roof,1\n2,tree,0\n3,roof,0\n", {}, "Set data.label_columns: []"),
        (b"Id,roof\n1,1\n2,\n3,-1\n", {"data.list_column": None}, "say what their texts mean in data.values"),
        (b"Id,Genre\n1,roof\n1,tree\n2,roof\n3,tree\n", {}, "set data.rows: label if each row holds one label"),
        (b"Id,Genre\n1,\"[0, 1]\"\n2,\"[1, 0]\"\n3,\"[1, 1]\"\n", {}, "do not say what the labels are called"),
        (b"Id,Genre\nsub/1,roof\n2,tree\n3,roof\n", {}, "(there is '1.png'"),
        (b"Id,Genre\n/data/1,roof\n2,tree\n3,roof\n", {}, "must lead to a file inside data.images"),
        (b"Id,Genre\ns3://bucket/1.png,roof\n2,tree\n3,roof\n", {}, 'set data.image_pattern: "**/{name}"'),
        (b"Id,Genre\n~/1,roof\n2,tree\n3,roof\n", {}, "Neither ~ nor $NAME is replaced."),
    ],
)  # fmt: skip
def test_a_table_that_could_be_meant_otherwise_stops_with_the_setting(folder, content, settings, message):
    for number in range(1, 4):
        folder.image(f"{number}.png", number)
    folder.table(content)
    folder.set({"data.image_pattern": "{id}.png"} | settings)
    with pytest.raises(UserError) as error:
        validate.main([])
    assert message in str(error.value)


def test_names_that_look_like_a_slip_are_noted(folder, capsys):
    names = ["Cat", "cat", "caf\u00e9", "cafe\u0301", "nan", "5", "5.0", "N/A"]
    for number, _ in enumerate(names, 1):
        folder.image(f"{number}.png", number)
    lines = ["Id,Genre", *(f"{number},{name}" for number, name in enumerate(names, 1))]
    folder.table("\n".join(lines).encode())
    folder.set({"data.image_pattern": "{id}.png"})
    validate.main([])
    listed = files.read_csv("data/manifest_issues.csv")
    similar = listed[listed["kind"] == "similar_labels"]
    assert sorted(similar["id"]) == sorted(["cat", "caf\u00e9", "5.0"])
    assert listed[listed["kind"] == "null_label"]["id"].tolist() == ["nan"]
    assert "8 labels" in capsys.readouterr().out


def proposal_of(folder, table, files, capsys):
    for number, name in enumerate(files):
        folder.image(name, number)
    folder.table(table.encode())
    init("--json", "--yes")
    return json.loads(capsys.readouterr().out)


def test_labels_that_are_called_like_groups_and_sides_stay_labels(folder, capsys):
    rows = "".join(f"{k}.png,{k % 2},{k // 2 % 2},{k % 3 // 2}\n" for k in range(12))
    found = proposal_of(folder, f"image,person,train,animal\n{rows}", [f"{k}.png" for k in range(12)], capsys)
    assert list(found["labels"]) == ["person", "train", "animal"]
    assert found["settings"]["split.group_column"] is None


def test_a_group_is_said_aloud(folder, capsys):
    rows = "".join(f"{k}.png,roof|tree,p{k // 2}\n" for k in range(12))
    found = proposal_of(folder, f"image,labels,patient_id\n{rows}", [f"{k}.png" for k in range(12)], capsys)
    assert found["settings"]["split.group_column"] == "patient_id"
    assert any("rows with the same 'patient_id' are kept on one side" in text for text in found["ambiguous"])


@pytest.mark.parametrize(
    ("cell", "file", "pattern"),
    [
        ("{k}.png", "{k}.PNG", "{{stem}}.*"),
        ("data-v1/a/{k}.png", "a/{k}.png", "**/{{name}}"),
        ("https://x.org/{k}.png?w=300", "{k}.png", "**/{{name}}"),
        ("v1/a/{k}.png", "{part}/{k}.png", "{{id/1}}"),
    ],
)
def test_names_of_another_place(folder, capsys, cell, file, pattern):
    parts = ("a", "b") if "{part}" in file else ("a",)
    files = [file.format(k=k, part=part) for part in parts for k in range(6)]
    cells = [cell.format(k=k).replace("/a/", f"/{part}/") for part in parts for k in range(6)]
    table = "image,labels\n" + "".join(f"{text},{('roof', 'roof|tree')[n % 2]}\n" for n, text in enumerate(cells))
    found = proposal_of(folder, table, files, capsys)
    assert found["settings"]["data.image_pattern"] == pattern.format()
    validate.main([])
    assert f"{len(cells)} of {len(cells)} rows kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (
            "image,label,confidence\n0.png,roof,0.9\n0.png,tree,0.2\n1.png,roof,1\n1.png,tree,0\n",
            "seems to say whether",
        ),
        ("a/0.png,roof\na/1.png,tree\n", "the first line seems to be a row"),
        ("image,label1,label2\n0.png,roof,tree\n1.png,tree,\n", "drop the old ones"),
        (",labels\n0.png,roof\n1.png,tree\n", "has no name"),
    ],
)
def test_init_asks_rather_than_guesses(folder, capsys, table, reason):
    folder.image("0.png", 0)
    folder.image("1.png", 1)
    folder.table(table.encode())
    with pytest.raises(SystemExit):
        init("--yes")
    assert reason in capsys.readouterr().err


def test_lines_may_end_as_on_old_macs(folder, capsys):
    folder.make(CASES["delimited names"])
    content = Path("labels.csv").read_bytes()
    folder.table(content.replace(b"\r\n", b"\r"))
    init("--json", "--yes")
    assert json.loads(capsys.readouterr().out)["labels"] == {"roof": 20, "tree": 20}

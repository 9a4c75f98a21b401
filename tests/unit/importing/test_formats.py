"""A small export of every format, made after its documentation, through `posterity import` to the table."""

import csv
import importlib.util
import json
from pathlib import Path

import pytest

from posterity import cli
from posterity.errors import UserError
from posterity.importing import detection, folders, label_studio, tabular, workbooks
from posterity.importing.formats import FORMATS
from posterity.importing.imported import ImageNames, read_xml
from small_exports import write

NEEDS_EXTRA = pytest.mark.skipif(
    importlib.util.find_spec("openpyxl") is None or importlib.util.find_spec("pyarrow") is None,
    reason="needs pip install -e '.[import]'",
)


def convert(form: str, source: str, *options: str) -> list[list[str]]:
    cli.main(["import", form, source, "table.csv", *options])
    with Path("table.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def choice(*labels: str, **more: object) -> dict[str, object]:
    value = {"type": "choices", "from_name": "tags", "to_name": "image", "value": {"choices": list(labels)}}
    return {"id": 1, "result": [value] if labels else [], "was_cancelled": False, **more}


def test_label_studio_json(capsys):
    box = {"type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["car"]}}
    tasks = [
        {"id": 1, "data": {"image": "/data/upload/1/ab12-a.jpg"}, "annotations": [choice("roof", "tree")]},
        {
            "id": 2,
            "data": {"image": "s3://bucket/b.jpg"},
            "annotations": [choice("roof"), choice("tree"), choice("tree")],
        },
        {"id": 3, "data": {"image": "/data/local-files/?d=sub/c.jpg"}, "annotations": [{"result": [box]}]},
        {"id": 4, "data": {"image": "d.jpg"}, "annotations": [choice("roof", was_cancelled=True)]},
        {"id": 5, "data": {"image": "e.jpg"}, "annotations": [choice()]},
    ]
    write("export.json", tasks)
    assert convert("label-studio", "export.json") == [
        ["image", "labels"],
        ["ab12-a.jpg", '["roof", "tree"]'],
        ["b.jpg", '["tree"]'],
        ["sub/c.jpg", '["car"]'],
        ["e.jpg", "[]"],
    ]
    out = capsys.readouterr().out
    assert "3 labels: tree 2, roof 1, car 1." in out
    assert "1 images have several annotations, 1 of them different ones: a label counts if at least half" in out
    assert "Left out: 1:\n  'd.jpg': all annotations are cancelled" in out
    assert "  data.list_column: labels\n" in out


def test_label_studio_minimal_json():
    tasks = [
        {"image": "a.jpg", "id": 1, "choice": {"choices": ["roof", "tree"]}, "annotator": 1, "lead_time": 2.5},
        {"image": "b.jpg", "id": 2, "choice": "roof", "annotator": 1},
        {"image": "c.jpg", "id": 3, "box": [{"x": 1, "rectanglelabels": ["car"]}]},
    ]
    write("min.json", tasks)
    assert [row[1] for row in convert("label-studio", "min.json")[1:]] == ['["roof", "tree"]', '["roof"]', '["car"]']


def test_label_studio_csv():
    write(
        "export.csv",
        "annotation_id,annotator,choice,created_at,id,image,lead_time\n"
        '1,1,"{""choices"": [""roof"", ""tree|bush""]}",now,1,/data/upload/1/a.jpg,3\n'
        "2,1,tree|bush,now,2,/data/upload/1/b.jpg,3\n",
    )
    assert convert("label-studio", "export.csv")[1:] == [["a.jpg", '["roof", "tree|bush"]'], ["b.jpg", '["tree|bush"]']]


def test_cvat():
    write(
        "annotations.xml",
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta/>'
        '<image id="0" name="x/a.jpg" subset="Train" width="8" height="8"><tag label="roof" source="manual"/>'
        '<box label="tree" xtl="1" ytl="1" xbr="2" ybr="2"/></image>'
        '<image id="1" name="b.jpg" subset="Validation"/></annotations>',
    )
    assert convert("cvat", "annotations.xml") == [
        ["image", "labels", "side"],
        ["x/a.jpg", '["roof", "tree"]', "train"],
        ["b.jpg", "[]", "validation"],
    ]


def coco(**changes: object) -> dict[str, object]:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 1, 1]}],
        "categories": [{"id": 3, "name": "tree"}, {"id": 4, "name": "roof"}],
    }
    return content | changes


def test_coco(capsys):
    more = [{"image_id": 1, "category_id": 4}, {"image_id": 1, "category_id": 3}, {"image_id": 9, "category_id": 3}]
    write("instances.json", coco(annotations=more))
    assert convert("coco", "instances.json")[1:] == [["a.jpg", '["roof", "tree"]'], ["b.jpg", "[]"]]
    assert "Left out: 1:\n  annotations[2]: no image has the id 9" in capsys.readouterr().out


def test_voc():
    for stem, objects in (("a", ["tree", "roof", "tree"]), ("b", [])):
        found = "".join(f"<object><name>{name}</name><bndbox/></object>" for name in objects)
        write(f"VOC/Annotations/{stem}.xml", f"<annotation><filename>{stem}.jpg</filename>{found}</annotation>")
    write("VOC/ImageSets/Main/train.txt", "a\n")
    write("VOC/ImageSets/Main/val.txt", "b  1\n")
    assert convert("voc", "VOC")[1:] == [["a.jpg", '["tree", "roof"]', "train"], ["b.jpg", "[]", "validation"]]


def test_roboflow():
    write("export/train/_classes.csv", "filename, tree, roof\na.jpg, 1, 0\n")
    write("export/valid/_classes.csv", "filename, tree, roof\nb.jpg, 0, 1\n")
    assert convert("roboflow", "export") == [
        ["image", "tree", "roof", "side"],
        ["train/a.jpg", "1", "0", "train"],
        ["valid/b.jpg", "0", "1", "validation"],
    ]


def test_open_images(capsys):
    write(
        "labels.csv",
        "ImageID,Source,LabelName,Confidence\na,verification,/m/1,1\na,verification,/m/2,0\nb,machine,/m/1,0.7\n",
    )
    assert convert("open-images", "labels.csv") == [
        ["image", "label", "present"],
        ["a", "/m/1", "1"],
        ["a", "/m/2", "0"],
    ]
    out = capsys.readouterr().out
    assert "Left out: 1:\n  line 4: confidence '0.7', which nobody has verified" in out
    assert "  data.unlisted_labels: unknown\n" in out


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_huggingface(name):
    rows = {"metadata.csv": 'file_name,tags\na.jpg,"[""roof"", ""tree""]"\n',
            "metadata.jsonl": '{"file_name": "a.jpg", "tags": ["roof", "tree"]}\n'}  # fmt: skip
    write(f"data/train/{name}", rows[name])
    write(f"data/test/{name}", rows[name])
    assert convert("huggingface", "data") == [
        ["image", "tags", "side"],
        ["test/a.jpg", '["roof", "tree"]', "test"],
        ["train/a.jpg", '["roof", "tree"]', "train"],
    ]


def test_folders(capsys):
    for name in ("train/roof/a.jpg", "train/roof/._a.jpg", "val/tree/b.png", "val/stray.jpg", "notes.txt"):
        write(f"data/{name}", "x")
    assert convert("folders", "data")[1:] == [
        ["train/roof/a.jpg", '["roof"]', "train"],
        ["val/tree/b.png", '["tree"]', "validation"],
    ]
    assert "val/stray.jpg: is in no folder of a class" in capsys.readouterr().out
    for name in ("roof/a.jpg", "tree/b.jpg"):
        write(f"flat/{name}", "x")
    assert folders.folders(Path("flat")).columns == {
        "image": ["roof/a.jpg", "tree/b.jpg"], "labels": ['["roof"]', '["tree"]'],
    }  # fmt: skip


@NEEDS_EXTRA
def test_excel_and_parquet(capsys):
    import pandas as pd

    frame = pd.DataFrame({"Id": ["001", "2"], "roof": [1, 0], "tree": [1.0, None], "note": ["é", None]})
    with pd.ExcelWriter("t.xlsx", engine="openpyxl") as writer:
        frame.to_excel(writer, sheet_name="labels", index=False)
        frame.to_excel(writer, sheet_name="other", index=False)
    expected = [["Id", "roof", "tree", "note"], ["001", "1", "1", "é"], ["2", "0", "", ""]]
    assert convert("excel", "t.xlsx") == expected
    assert "the workbook has 2 sheets; the first one, 'labels', was read" in capsys.readouterr().out
    pd.DataFrame({"image": ["a.jpg"], "tags": [["roof", "tree"]], "content": [b"x"]}).to_parquet("t.parquet")
    assert convert("parquet", "t.parquet", "--force") == [["image", "tags"], ["a.jpg", '["roof", "tree"]']]
    assert "column 'content' holds bytes and is left out" in capsys.readouterr().out


def test_jsonl():
    write("t.jsonl", '{"Id": 1, "tags": ["roof"]}\n\n{"Id": 2, "extra": true}\n')
    assert convert("jsonl", "t.jsonl") == [["Id", "tags", "extra"], ["1", '["roof"]', ""], ["2", "", "true"]]


def test_an_existing_table_and_the_source_are_not_written_over():
    source = write("instances.json", coco())
    write("table.csv", "precious")
    with pytest.raises(SystemExit):
        cli.main(["import", "coco", "instances.json", "table.csv"])
    assert Path("table.csv").read_text() == "precious"
    with pytest.raises(SystemExit):
        cli.main(["import", "coco", "instances.json", "instances.json", "--force"])
    assert json.loads(source.read_text()) == coco()
    assert len(convert("coco", "instances.json", "--force")) == 3


def test_images_are_looked_up(capsys):
    write("instances.json", coco())
    write("images/sub/a.jpg", "x")
    write("images/b.jpg", "x")
    convert("coco", "instances.json", "--images", "images")
    assert "1 of 2 images are in images. Missing:\n  a.jpg (there is 'sub/a.jpg'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (detection.coco, [], "expected a key 'categories'. Got no mapping"),
        (detection.coco, {"a": 1}, "expected a key 'categories'. Got the keys 'a'"),
        (detection.coco, coco(images=[{"id": 1}]), r"images\[0\]: expected a key 'file_name'"),
        (detection.coco, coco(images=[{"id": 1, "file_name": 3}]), "expected text at 'file_name'. Got 3"),
        (detection.coco, coco(images=[{"id": 1, "file_name": "a"}] * 2), "the id 1 occurs twice"),
        (detection.coco, coco(images=[{"id": 1, "file_name": "/x/a.jpg"}, {"id": 2, "file_name": "/y/a.jpg"}]),
         "two images would both be called 'a.jpg': '/x/a.jpg' and '/y/a.jpg'"),
        (detection.coco, "{", "expected JSON"),
        (detection.coco, "[" * 100_000, "nested too deeply|expected JSON"),
        (detection.cvat, "<annotation/>", "expected <annotations> with <image> elements"),
        (detection.cvat, "<a", "expected XML"),
        (label_studio.label_studio, {}, "expected a list of tasks"),
        (label_studio.label_studio, [{"data": {"text": "x"}, "annotations": []}], "expected the address of an image"),
        (label_studio.label_studio, [{"data": {"image": "a.jpg"}, "annotations": 3}], "a list at 'annotations'"),
        (tabular.open_images, "Id,A\n1,2\n", "ImageID, LabelName, Confidence is missing"),
        (tabular.huggingface, "Id,A\n1,2\n", "expected a column 'file_name'"),
        (tabular.jsonl, "[1]", "line 1: expected a mapping"),
        (tabular.jsonl, "{", "line 1: expected JSON"),
        (tabular.jsonl, "\n", "expected a mapping on each line. Got nothing"),
        (detection.voc, "x", "expected a folder with Annotations"),
        (folders.folders, "x", "expected a folder with one folder per class"),
    ],
)  # fmt: skip
def test_what_is_no_such_export_is_a_clear_error(read, content, message):
    name = {"huggingface": "metadata.csv", "open_images": "t.csv"}.get(read.__name__, "export.json")
    with pytest.raises(UserError, match=message):
        read(write(name, content))


@NEEDS_EXTRA
@pytest.mark.parametrize("read", [workbooks.excel, workbooks.parquet])
def test_a_damaged_workbook_or_parquet_file(read):
    with pytest.raises(UserError, match="cannot be read as"):
        read(write("t.bin", "PK\x03\x04 nothing"))


def test_an_entity_bomb_is_refused():
    bomb = write("a.xml", '<!DOCTYPE a [<!ENTITY b "bb">]><annotations>&b;</annotations>')
    with pytest.raises(UserError, match="declares a document type or an entity"):
        read_xml(bomb)


def test_names_of_images():
    names = ImageNames("export")
    assert names.add("https://x.org/a%20b.jpg?size=1") == "a b.jpg"
    assert names.add("./c.jpg") == "c.jpg"
    assert names.notes() == [
        "2 addresses were shortened to file names, such as 'https://x.org/a%20b.jpg?size=1' to 'a b.jpg'"
    ]
    with pytest.raises(UserError, match="expected the name of an image"):
        names.add("")


def test_help_names_all_formats(capsys):
    with pytest.raises(SystemExit):
        cli.main(["import", "--help"])
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in FORMATS)

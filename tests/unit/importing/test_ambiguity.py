"""Exports that can be read in two ways, or of which something would be lost: nothing is guessed or lost in silence."""

import csv
import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from posterity import cli
from posterity.errors import UserError
from posterity.importing import detection, label_studio, tabular, workbooks
from posterity.importing.imported import read_text
from small_exports import write

NEEDS_OPENPYXL = pytest.mark.skipif(importlib.util.find_spec("openpyxl") is None, reason="needs the extra `import`")
NEEDS_PYARROW = pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs the extra `import`")


def refused(capsys, *argv: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["import", *argv])
    assert exit_.value.code == 2
    return str(capsys.readouterr().err)


class TestLabelStudio:
    HEADER = "annotation_id,annotator,choice,id,image,patient\n"

    def test_a_column_of_the_tasks_data_never_becomes_labels(self):
        source = write("export.csv", self.HEADER + "1,1,cat,1,a.jpg,P1\n2,1,dog,2,b.jpg,P2\n")
        with pytest.raises(UserError, match=r"cannot tell which columns .*'choice', 'patient'.*--label-column choice"):
            label_studio.label_studio(source)
        assert label_studio.label_studio(source, ["choice"]).columns["labels"] == ['["cat"]', '["dog"]']
        with pytest.raises(UserError, match="no column 'tags'. Got 'choice', 'patient' beside the image"):
            label_studio.label_studio(source, ["tags"])

    def test_the_option_reaches_the_reader(self, capsys):
        write("export.csv", self.HEADER + "1,1,cat,1,a.jpg,P1\n")
        cli.main(["import", "label-studio", "export.csv", "table.csv", "--label-column", "choice"])
        assert Path("table.csv").read_text() == 'image,labels\na.jpg,"[""cat""]"\n'
        capsys.readouterr()
        message = refused(capsys, "coco", "export.csv", "other.csv", "--label-column", "choice")
        assert "--label-column is for label-studio only. Got the format coco" in message

    def test_a_task_without_annotation_is_no_image_without_label(self):
        source = write("export.csv", "annotation_id,choice,id,image\n1,,1,a.jpg\n,,2,b.jpg\n")
        table = label_studio.label_studio(source)
        assert table.columns == {"image": ["a.jpg"], "labels": ["[]"]}
        assert table.left_out == ["'b.jpg': no annotation"]

    def test_regions_and_choices_that_open_a_bracket(self):
        regions = json.dumps([{"x": 1, "rectanglelabels": ["car"]}, {"x": 2, "rectanglelabels": ["bus"]}])
        with Path("export.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows(
                [["image", "box"], ["a.jpg", regions], ["b.jpg", "[sic] car"], ["c.jpg", "[3]"]]
            )
        table = label_studio.label_studio(Path("export.csv"))
        assert table.columns["labels"] == ['["car", "bus"]', '["[sic] car"]']
        assert table.left_out == ["'c.jpg': export.csv, line 4: expected choices or labelled regions, got 3"]

    @staticmethod
    def task(image: dict[str, str], **choices: list[str]) -> dict[str, object]:
        result = [{"from_name": name, "type": "choices", "value": {"choices": v}} for name, v in choices.items()]
        return {"data": image, "annotations": [{"result": result}]}

    def test_several_controls(self):
        image = {"image": "a.jpg"}
        source = write("export.json", [self.task(image, animal=["cat"], weather=["rain"])])
        table = label_studio.label_studio(source)
        assert table.columns["labels"] == ['["cat", "rain"]']
        assert "the labels of 2 controls are joined: animal, weather" in table.notes[0]
        assert label_studio.label_studio(source, ["weather"]).columns["labels"] == ['["rain"]']
        with pytest.raises(UserError, match="no label is of the control 'sky'. Got the controls none"):
            label_studio.label_studio(source, ["sky"])
        source = write("export.json", [self.task(image, blurred=["yes"], dark=["no"]), self.task(image, dark=["yes"])])
        with pytest.raises(UserError, match="the controls 'blurred' and 'dark' both have the label 'yes'"):
            label_studio.label_studio(source)

    def test_the_image_is_found_by_its_name(self):
        source = write(
            "export.json", [self.task({"ref": "v1.2", "scan": "/data/local-files/?d=x%20y/a.jpg"}, c=["cat"])]
        )
        assert label_studio.label_studio(source).columns["image"] == ["x y/a.jpg"]
        source = write("export.json", [self.task({"left": "a.jpg", "right": "b.jpg"}, c=["cat"])])
        with pytest.raises(UserError, match="several of its data may be the image: 'left', 'right'"):
            label_studio.label_studio(source)

    def test_several_annotations_of_one_image_are_named(self):
        tasks = [self.task({"image": "a.jpg"}, c=labels) for labels in (["cat"], ["cat", "dog"], ["cat"])]
        table = label_studio.label_studio(write("export.json", tasks))
        assert table.columns["labels"] == ['["cat"]']
        assert table.notes[0].endswith("(different: a.jpg)")


class TestTwoAnnotationsOfOneName:
    """The second one used to take the place of the first."""

    def test_cvat(self):
        images = "".join(
            f'<image id="0" task_id="{task}" name="1.jpg"><tag label="{label}"/></image>'
            for task, label in ((7, "cat"), (8, "dog"))
        )
        source = write("a.xml", f"<annotations>{images}</annotations>")
        with pytest.raises(
            UserError, match=r"image 0 of task 7 and image 0 of task 8 are both about the image '1\.jpg'"
        ):
            detection.cvat(source)

    def test_voc(self):
        for stem in ("a", "b"):
            write(f"V/Annotations/{stem}.xml", "<annotation><filename>x.jpg</filename></annotation>")
        with pytest.raises(UserError, match=r"a\.xml and b\.xml are both about the image 'x\.jpg'"):
            detection.voc(Path("V"))

    def test_coco(self):
        images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.jpg"}]
        source = write("c.json", {"images": images, "annotations": [], "categories": []})
        with pytest.raises(UserError, match=r"images\[0\] and images\[1\] are both about the image 'a\.jpg'"):
            detection.coco(source)


def test_coco_categories(capsys):
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 5}],
        "categories": [{"id": 3, "name": "tree"}],
    }
    with pytest.raises(UserError, match=r"annotations\[0\]: no category has the id 5"):
        detection.coco(write("c.json", content))
    content["annotations"] = []
    assert detection.coco(write("c.json", content)).notes == ["no image has tree, so that the table does not know it"]
    content["categories"] *= 2
    with pytest.raises(UserError, match=r"categories\[1\]: the id 3 occurs twice"):
        detection.coco(write("c.json", content))


def test_cvat_subset_of_a_task_and_a_video():
    meta = "<meta><task><subset>Test</subset><labels><label><name>cat</name></label></labels></task></meta>"
    table = detection.cvat(write("a.xml", f'<annotations>{meta}<image id="0" name="a.jpg"/></annotations>'))
    assert table.columns == {"image": ["a.jpg"], "labels": ["[]"], "side": ["test"]}
    assert table.notes == ["no image has cat, so that the table does not know it"]
    table = detection.cvat(write("a.xml", '<annotations><image id="0" name="a.jpg" subset="north"/></annotations>'))
    assert list(table.columns) == ["image", "labels"]
    assert table.notes == ["subsets that are called like no side: 'north'"]
    with pytest.raises(UserError, match="Got <annotations> with <track>, of a video"):
        detection.cvat(write("a.xml", "<annotations><track/></annotations>"))


def test_voc_sides():
    for stem in ("a", "b", "sub/c"):
        write(f"V/Annotations/{stem}.xml", f"<annotation><filename>{stem}.jpg</filename></annotation>")
    write("V/ImageSets/Main/train.txt", "a\nz\n")
    write("V/ImageSets/Main/trainval.txt", "a\nb\n")
    table = detection.voc(Path("V"))
    assert table.columns["image"] == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert table.columns["side"] == ["train", "train", ""]
    assert table.left_out == ["z: is in train.txt, but has no file in Annotations"]
    write("V/ImageSets/Main/val.txt", "a\n")
    with pytest.raises(UserError, match=r"'a' is in train\.txt and in val\.txt"):
        detection.voc(Path("V"))


def test_open_images_names(capsys):
    write("c/class-descriptions.csv", "/m/1,Cat\n/m/2,Dog\n/m/3,Dog\n")
    rows = "".join(f"a,verification,/m/{number},1\n" for number in (1, 2, 3, 4))
    table = tabular.open_images(write("c/labels.csv", "ImageID,Source,LabelName,Confidence\n" + rows))
    assert table.columns["label"] == ["Cat", "Dog (/m/2)", "Dog (/m/3)", "/m/4"]
    assert table.notes == ["codes of labels are replaced by the names in class-descriptions.csv"]
    write("labels.csv", "ImageID,Source,LabelName,Confidence\n" + rows)
    cli.main(["import", "open-images", "labels.csv", "table.csv"])
    out = capsys.readouterr().out
    assert "Note: labels are codes; put class-descriptions.csv of Open Images beside the source" in out
    assert "  data.unlisted_labels: unknown\n" in out


def test_columns_of_the_source_do_not_take_the_place_of_image_and_side():
    write("h/data/train/metadata.csv", "file_name,image,side\nx\\a.jpg,old,left\n")
    table = tabular.huggingface(Path("h"))
    assert table.columns == {
        "image": ["data/train/x/a.jpg"], "source_image": ["old"], "source_side": ["left"], "side": ["train"],
    }  # fmt: skip
    assert table.notes == ["columns of the source are renamed: source_image, source_side"]
    write("h/data/train/metadata.jsonl", '{"file_name": "a.jpg"}')
    with pytest.raises(UserError, match="expected one of metadata.csv, .* in a folder. Got several"):
        tabular.huggingface(Path("h"))
    with pytest.raises(UserError, match="a class is called 'side', as a column of the table"):
        tabular.roboflow(write("_classes.csv", "filename, side\na.jpg, 1\n"))


@NEEDS_OPENPYXL
class TestExcel:
    @staticmethod
    def book(*rows: list[object]) -> Path:
        import openpyxl

        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        for row in rows:
            sheet.append(row)
        book.save("t.xlsx")
        return Path("t.xlsx")

    def test_words_for_nothing_stay_words_and_ids_stay_ids(self):
        source = self.book(
            ["Id", "genre", "flag"], ["N/A", "None", True], ["007", "null", None], [123456789012345, "", 0]
        )
        assert workbooks.excel(source).columns == {
            "Id": ["N/A", "007", "123456789012345"], "genre": ["None", "null", ""], "flag": ["true", "", "0"],
        }  # fmt: skip

    def test_empty_rows_and_columns_are_no_data(self):
        source = self.book([None, None, None], ["Id", "cat", None], [None, None, None], ["a", 1, None])
        assert workbooks.excel(source).columns == {"Id": ["a"], "cat": ["1"]}

    def test_columns_need_names_of_their_own(self):
        with pytest.raises(
            UserError, match="sheet 'Sheet', row 1: every column needs a name of its own. Got 'cat' 2 times"
        ):
            workbooks.excel(self.book(["Id", "cat", "cat"], ["a", 1, 0]))
        with pytest.raises(UserError, match="Got '' 1 times"):
            workbooks.excel(self.book(["Id", None], ["a", 1]))

    def test_a_formula_without_its_result_is_no_empty_cell(self):
        with pytest.raises(UserError, match=r"row 2, column 2: the file holds the formula '=1\+0' without its result"):
            workbooks.excel(self.book(["Id", "cat"], ["a", "=1+0"]))

    def test_an_empty_workbook(self):
        with pytest.raises(UserError, match="Got an empty workbook"):
            workbooks.excel(self.book())


@NEEDS_PYARROW
class TestParquet:
    def test_long_ids_beside_an_empty_cell_keep_their_digits(self):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"id": pa.array([12345678901234567, None], pa.int64())}), "t.parquet")
        assert workbooks.parquet(Path("t.parquet")).columns == {"id": ["12345678901234567", ""]}

    def test_what_hugging_face_writes(self):
        import pyarrow as pa
        import pyarrow.parquet as pq

        classes = {"names": ["cat", "dog"], "_type": "ClassLabel"}
        features = {"image": {"_type": "Image"}, "label": classes, "tags": {"feature": classes, "_type": "List"}}
        columns = {
            "image": pa.array([{"bytes": b"x", "path": "a.jpg"}, {"bytes": b"y", "path": None}]),
            "label": pa.array([1, -1]),
            "tags": pa.array([[1, 0], []]),
            "thumbnail": pa.array([b"x", b"y"]),
        }
        metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), "t.parquet")
        table = workbooks.parquet(Path("t.parquet"))
        assert table.columns == {"image": ["a.jpg", ""], "label": ["dog", ""], "tags": ['["dog", "cat"]', "[]"]}
        assert [note.split(":")[0] for note in table.notes] == [
            "column 'image' holds images and their paths",
            "column 'label'",
            "column 'tags'",
            "column 'thumbnail' holds bytes and is left out",
        ]
        columns["label"] = pa.array([5, 0])
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), "t.parquet")
        with pytest.raises(UserError, match="column 'label': expected the number of one of 2 classes. Got 5"):
            workbooks.parquet(Path("t.parquet"))


def test_a_file_in_the_source_folder_is_not_written_over(capsys):
    source = write("h/metadata.csv", "file_name,tags\na.jpg,cat\n")
    message = refused(capsys, "huggingface", "h", "h/metadata.csv", "--force")
    assert "h/metadata.csv: exists and is in the source, h, which stays as it is" in message
    assert source.read_text() == "file_name,tags\na.jpg,cat\n"
    cli.main(["import", "huggingface", "h", "h/table.csv"])  # a new file there harms nothing
    assert Path("h/table.csv").is_file()


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are UTF-8 there")
def test_a_file_name_that_is_not_utf8_is_named(capsys):
    Path("images/roof").mkdir(parents=True)
    Path(os.fsdecode(b"images/roof/a\xff.jpg")).touch()
    message = refused(capsys, "folders", "images", "table.csv")
    assert "table.csv: expected names that UTF-8 can write. Got 'image,labels\\nroof/a\\udcff.jpg" in message
    assert not Path("table.csv").exists()


def test_half_a_character_in_a_label(capsys):
    images = [{"id": 1, "file_name": "a.jpg"}]
    content = {"images": images, "annotations": [{"image_id": 1, "category_id": 1}]}
    write("c.json", content | {"categories": [{"id": 1, "name": "\ud83d"}]})
    assert "expected names that UTF-8 can write" in refused(capsys, "coco", "c.json", "table.csv")


def test_packed_exports_and_folders_that_are_none(capsys):
    Path("export.zip").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(UserError, match="is a packed file .* Unpack it"):
        read_text(Path("export.zip"))
    write("c.json", {})
    assert "--images nowhere: expected a folder" in refused(capsys, "coco", "c.json", "t.csv", "--images", "nowhere")

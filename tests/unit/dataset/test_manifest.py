import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from posterity import files
from posterity.choices import POLICIES
from posterity.dataset import issues, manifest
from posterity.dataset.issues import Issue
from posterity.dataset.options import Policies, Reading, TableForm
from posterity.errors import UserError
from posterity.workers.threads import threads
from time_limit import time_limit

KEEP = {kind: "keep" if "keep" in policies else "fail" for kind, policies in POLICIES.items()}
DROP = {kind: "drop" if "drop" in policies else "keep" for kind, policies in POLICIES.items()}
POSTERS = Path(__file__).parents[4] / "shared" / "posters-1k"


def build(labels_csv, images_folder, on_problem, *, min_positives=0, **options):
    form, reading = (
        {key: options[key] for key in options if key in cls.__annotations__} for cls in (TableForm, Reading)
    )
    assert len(form) + len(reading) == len(options)
    policies = Policies(on_problem, min_positives)
    return manifest.build(labels_csv, images_folder, TableForm(**form), policies, Reading(**reading))


class DataSet:
    """A folder of tiny images and a labels CSV."""

    def __init__(self, root: Path) -> None:
        self.folder, self.csv = root / "images", root / "labels.csv"
        self.folder.mkdir()

    def image(self, name, shade, size=(3, 4)):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (shade, 0, 0)).save(path, format="PNG")
        return path

    def images(self, *names):
        for shade, name in enumerate(names):
            self.image(name, shade)

    def rows(self, *lines):
        self.csv.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def build(self, policies=KEEP, **options):
        defaults = {"id_column": "Id", "image_pattern": "{id}.png", "max_pixels": 10**8, "mapper": threads(2)}
        return build(self.csv, self.folder, policies, **(defaults | options))

    def issues(self, kind, **options):
        return [issue for issue in issues.in_order(self.build(**options).issues) if issue.kind == kind]


@pytest.fixture
def data(tmp_path):
    return DataSet(tmp_path)


def test_a_clean_data_set(data):
    path = data.image("x.png", 1, size=(3, 4))
    data.image("sub/y.png", 2, size=(5, 2))
    data.rows("Id,Drama,N/A", "sub/y,1,1", "x,0,1")
    built = data.build()
    assert (built.issues, built.vocabulary, built.num_rows) == ([], ["Drama", "N/A"], 2)
    assert list(built.table.columns) == manifest.COLUMNS
    assert built.table.iloc[1].to_dict() == {
        "line": 3,
        "id": "x",
        "path": path.as_posix(),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "width": 3,
        "height": 4,
        "labels": '["N/A"]',
    }
    assert built.table["path"][0] == (data.folder / "sub/y.png").as_posix()
    assert built.table["labels"][0] == '["Drama", "N/A"]'
    assert built.table[["width", "height"]].iloc[0].tolist() == [5, 2]


def test_paths_are_relative_where_the_folder_is(data, monkeypatch):
    monkeypatch.chdir(data.folder.parent)
    data.images("x.png")
    data.rows("Id,A", "x,1")
    built = build("labels.csv", "images", KEEP, id_column="Id", image_pattern="{id}.png", max_pixels=10**8)
    assert built.table["path"][0] == "images/x.png"


def test_a_manifest_survives_its_file(data, tmp_path):
    data.images("x.png", "007.png", "N/A.png")
    data.rows("Id,Été,N/A", "x,1,0", "007,0,0", "N/A,0,1")
    built = data.build()
    files.write_csv(tmp_path / "manifest.csv", built.table)
    table = manifest.read_manifest(tmp_path / "manifest.csv")
    assert table["id"].tolist() == ["x", "007", "N/A"]
    assert {name: str(table[name].dtype) for name in manifest.NUMBERS} == manifest.NUMBERS
    assert table.to_dict("list") == built.table.to_dict("list")
    targets = manifest.targets(table, built.vocabulary)
    assert targets.dtype == np.uint8
    assert targets.tolist() == [[1, 0], [0, 0], [0, 1]]


def test_the_number_of_threads_changes_nothing(data):
    data.images(*(f"{i}.png" for i in range(40)))
    data.rows("Id,A", *(f"{i},1" for i in range(45)))
    one, many = data.build(mapper=threads(1)), data.build(mapper=threads(8))
    assert one.table.equals(many.table)
    assert one.issues == many.issues


def test_a_column_can_name_the_file(data):
    data.images("a b.png", "sub/y.gif")
    data.rows("Id,File,A", "x, a b.png,1", "y,./sub/../sub/y.gif,1", "z,,1")
    built = data.build(image_column="File")
    assert [Path(path).name for path in built.table["path"]] == ["a b.png", "y.gif"]
    assert built.issues == [Issue("missing_image", 4, "z", "the cell for the image is empty")]


def test_missing_images_name_the_path_and_one_that_is_similar(data):
    data.images("A.png", "b.jpeg")
    data.rows("Id,A", "a,1", "b,1", "c,1")
    folder = data.folder.as_posix()
    assert data.issues("missing_image") == [
        Issue(
            "missing_image",
            2,
            "a",
            f"{folder}/a.png: no such file (there is 'A.png'; the names differ in upper and lower case: rename the "
            "file or correct the id)",
        ),
        Issue(
            "missing_image",
            3,
            "b",
            f"{folder}/b.png: no such file (there is 'b.jpeg'; set data.image_pattern: \"{{id}}.*\")",
        ),
        Issue("missing_image", 4, "c", f"{folder}/c.png: no such file"),
    ]


def test_every_row_of_a_missing_image_is_listed(data):
    data.images("x.png")
    data.rows("Id,A", "x,1", "y,1", "y,1")
    assert [issue.line for issue in data.issues("missing_image")] == [3, 4]


def test_unreadable_images(data):
    data.images("x.png")
    (data.folder / "empty.png").touch()
    (data.folder / "text.png").write_text("this is no image")
    (data.folder / "folder.png").mkdir()
    data.rows("Id,A", "x,1", "empty,1", "text,1", "folder,1")
    found = data.issues("unreadable_image")
    assert [issue.id for issue in found] == ["empty", "text", "folder"]
    assert found[0].detail == f"{data.folder.as_posix()}/empty.png: is empty (0 bytes)"
    assert found[1].detail.endswith("text.png: is not an image that Pillow can read")
    assert data.build(DROP).table["id"].tolist() == ["x"]


def test_oversized_images(data):
    data.image("small.png", 1, size=(10, 10))
    data.image("large.png", 1, size=(10, 11))
    data.rows("Id,A", "small,1", "large,1")
    (found,) = data.issues("oversized_image", max_pixels=100)
    assert (found.line, found.id) == (3, "large")
    assert "10 x 11 = 110 pixels, over image.max_pixels = 100" in found.detail


def test_a_symbolic_link_inside_the_folder_is_as_good_as_a_file(data):
    (data.folder / "x.png").symlink_to(data.image("y.png", 1))
    data.rows("Id,A", "x,1")
    assert [issue.kind for issue in data.build().issues] == ["unlisted_image"]  # y.png, which no row names


def test_links_that_lead_out_of_the_folder(data, tmp_path):
    elsewhere = data.image("../elsewhere/x.png", 1)
    (data.folder / "x.png").symlink_to(elsewhere)
    (data.folder / "folder").symlink_to(elsewhere.parent)
    data.image("y.png", 2)
    data.rows("Id,A", "x,1", "folder/x,1", "y,1", "folder/gone,1")
    built = data.build()
    found = [issue for issue in built.issues if issue.kind == "outside_link"]
    assert [(issue.line, issue.id) for issue in found] == [(2, "x"), (3, "folder/x")]
    assert found[1].detail == f"folder/x.png: a link leads out of data.images, to {elsewhere.resolve()}"
    assert data.build(DROP).table["id"].tolist() == ["y"]


def test_links_into_the_cache_of_dvc_are_its_own(data):
    # `dvc config cache.type symlink`: the file itself lies in the cache, under its MD5.
    cached = data.image("../.dvc/cache/files/md5/0a/" + 15 * "1f", 1)
    (data.folder / "x.png").symlink_to(cached)
    data.rows("Id,A", "x,1")
    assert data.build().issues == []


def test_what_is_no_image_though_it_is_named_like_one(data):
    data.images("x.png", "._x.png", ".hidden.png", "__MACOSX/x.png", ".thumbnails/x.png")
    (data.folder / "dead.png").symlink_to(data.folder / "none")
    (data.folder / "folder.png").mkdir()
    os.mkfifo(data.folder / "pipe.png")
    os.close(os.open(os.fsencode(data.folder) + b"/\xff.png", os.O_CREAT))
    data.rows("Id,A", "x,1")
    found = {issue.id: issue.detail for issue in data.issues("unlisted_image")}
    stops = "; `dvc repro` cannot pass it: remove or rename it"
    assert found == {
        "dead.png": f"image file without a row: a link to {data.folder}/none, which does not exist{stops}",
        "folder.png": "image file without a row: a folder, although named like an image",
        "pipe.png": f"image file without a row: a named pipe (FIFO){stops}",
        "\\udcff.png": f"image file without a row: its name is not UTF-8{stops}",
    }


def test_rows_that_name_no_file(data):
    data.images("x.png")
    (data.folder / "dead.png").symlink_to("none")
    (data.folder / "folder.png").mkdir()
    os.mkfifo(data.folder / "pipe.png")
    (data.folder / "device.png").symlink_to("/dev/zero")
    data.rows("Id,A", "x,1", "dead,1", "folder,1", "pipe,1", "device,1")
    with time_limit(20):
        found = [(issue.kind, issue.id, issue.detail.partition(": ")[2]) for issue in data.build().issues]
    assert found == [
        ("missing_image", "dead", "no such file: it is a link to none, which does not exist"),
        ("unreadable_image", "folder", "is a folder, not an image file"),
        ("unreadable_image", "pipe", "is a named pipe (FIFO), not an image file"),
        ("unreadable_image", "device", "is a device, not an image file"),
    ]


def test_an_image_that_is_rotated_by_its_camera_has_its_displayed_size(data):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 40)).save(data.folder / "x.jpg", exif=exif)
    data.rows("Id,A", "x,1")
    table = data.build(image_pattern="{id}.jpg").table
    assert table[["width", "height"]].iloc[0].tolist() == [40, 30]


def test_duplicates_and_conflicts(data):
    data.images("x.png", "y.png")
    data.rows("Id,A,B", "x,1,0", "y,1,0", "x,1,0", "y,0,1")
    assert data.issues("duplicate_id") == [Issue("duplicate_id", 4, "x", "same id as line 2")]
    assert data.issues("conflicting_duplicate") == [
        Issue("conflicting_duplicate", 3, "y", '["A"] here, ["B"] in line 5'),
        Issue("conflicting_duplicate", 5, "y", '["B"] here, ["A"] in line 3'),
    ]
    assert data.issues("identical_image") == []
    assert data.build().table["line"].tolist() == [2, 3, 4, 5]
    assert data.build(KEEP | {"duplicate_id": "drop"}).table["line"].tolist() == [2, 3, 5]
    assert data.build(KEEP | {"conflicting_duplicate": "drop"}).table["line"].tolist() == [2, 4]


def test_identical_images(data):
    for name in ("x.png", "y.png", "z.png"):
        data.image(name, 7)
    data.image("other.png", 8)
    data.rows("Id,A,B", "x,1,0", "other,1,0", "y,1,0", "z,1,1")
    assert data.issues("identical_image") == [
        Issue("identical_image", 4, "y", "same bytes as 'x' in line 2"),
        Issue("identical_image", 5, "z", 'same bytes as \'x\' in line 2: ["A", "B"] here, ["A"] there'),
    ]
    assert data.build(KEEP | {"identical_image": "drop"}).table["id"].tolist() == ["x", "other"]


def test_two_ids_with_one_file_are_identical_images(data):
    data.images("f.png")
    data.rows("Id,File,A", "x,f.png,1", "y,./f.png,1")
    assert [issue.line for issue in data.issues("identical_image", image_column="File")] == [3]


def test_rows_without_a_label_are_kept_or_dropped(data):
    data.images("x.png", "y.png")
    data.rows("Id,A", "x,0", "y,1")
    assert data.issues("no_label") == [Issue("no_label", 2, "x", "no label")]
    assert manifest.targets(data.build().table, ["A"]).tolist() == [[0], [1]]
    assert data.build(KEEP | {"no_label": "drop"}).table["id"].tolist() == ["y"]


def test_a_row_whose_labels_are_in_doubt_is_not_called_unlabelled(data):
    data.images("x.png", "y.png", "z.png")
    data.rows("Id,Genre,A", "x,,2", "y,A,0", "z,A,1")
    built = data.build(DROP, list_column="Genre")
    assert [(issue.kind, issue.line) for issue in built.issues] == [("bad_label_cell", 2), ("labels_disagree", 3)]
    assert built.table["id"].tolist() == ["z"]


def test_rare_labels(data):
    data.images(*(f"{name}.png" for name in "wxyz"))
    data.rows("Id,A,B,C,D", "w,1,0,0,0", "x,1,0,1,0", "y,1,0,1,1", "z,0,0,1,0")
    assert data.issues("rare_label", min_positives=3) == [
        Issue("rare_label", None, "B", "no positive row"),
        Issue("rare_label", None, "D", "1 positive row, fewer than data.min_positives = 3"),
    ]
    assert [issue.id for issue in data.issues("rare_label", min_positives=0)] == ["B"]
    assert [issue.id for issue in data.issues("rare_label", min_positives=4)] == ["A", "B", "C", "D"]
    assert data.build(min_positives=3).vocabulary == ["A", "B", "C", "D"]


def test_a_rare_label_that_is_dropped_leaves_its_rows_and_says_so(data):
    data.images("x.png", "y.png", "z.png")
    data.rows("Id,A,Rare,B", "x,1,0,1", "y,0,1,0", "z,1,1,1")
    policies = KEEP | {"rare_label": "drop"}
    built = data.build(policies, min_positives=2)
    assert built.vocabulary == ["A", "Rare", "B"]
    data.rows("Id,A,Rare,B", "x,1,0,1", "y,0,1,0", "z,1,0,1")
    built = data.build(policies, min_positives=2)
    assert built.vocabulary == ["A", "B"]
    assert Issue("no_label", 3, "y", "no label is left: Rare dropped as rare") in built.issues
    assert manifest.targets(built.table, built.vocabulary).tolist() == [[1, 1], [0, 0], [1, 1]]
    built = data.build(policies | {"no_label": "drop"}, min_positives=2)
    assert manifest.targets(built.table, built.vocabulary).tolist() == [[1, 1], [1, 1]]


def test_rare_labels_are_counted_on_the_rows_that_stay(data):
    data.images("x.png", "y.png")
    data.rows("Id,A,B", "x,1,1", "y,1,0", "gone,1,1")
    built = data.build(KEEP | {"missing_image": "drop"}, min_positives=2)
    assert [issue.id for issue in built.issues if issue.kind == "rare_label"] == ["B"]


def test_image_files_without_a_row(data):
    data.images("x.png", "a/b/c.PNG", "B.jpg", "A.webp")
    (data.folder / "notes.txt").write_text("no image by its name")
    data.rows("Id,A", "x,1")
    assert data.issues("unlisted_image") == [
        Issue("unlisted_image", None, name, "image file without a row") for name in ("A.webp", "B.jpg", "a/b/c.PNG")
    ]


def test_a_file_name_that_is_no_unicode_can_be_listed(data, tmp_path):
    data.images("x.png")
    try:
        (Path(os.fsdecode(os.fsencode(data.folder) + b"/caf\xe9.png"))).touch()
    except OSError:
        pytest.skip("this file system allows Unicode names only")
    data.rows("Id,A", "x,1")
    files.write_csv(tmp_path / "issues.csv", issues.to_table(data.build().issues))
    assert "caf\\udce9.png" in (tmp_path / "issues.csv").read_text(encoding="utf-8")


def test_everything_is_found_in_one_pass(data):
    data.images("ok.png", "twin.png", "two.png", "none.png", "odd.png", "stray.png")
    data.image("same.png", 0)
    (data.folder / "empty.png").touch()
    data.image("big.png", 9, size=(50, 50))
    (data.folder / "link.png").symlink_to(data.image("../elsewhere.png", 10))
    data.rows(
        "Id,Genre,A,B,Rare", "ok,A,1,0,0", "twin,A,1,0,0", "twin,A,1,0,0", "two,A,1,0,0", "two,B,0,1,0", "none,,0,0,0",
        "odd,A,0,1,0", "same,A|B,1,1,0", "link,A,1,0,0", "empty,A,1,0,0", "big,A,1,0,0", "gone,A,1,0,0",
        "ok2,A,yes,0,0",
    )  # fmt: skip
    numbers = issues.count_by_kind(data.build(list_column="Genre", max_pixels=1000, min_positives=1).issues)
    found_elsewhere = {"ambiguous_image", "unsplit_label", "similar_labels", "null_label", "metadata_column"}
    found_elsewhere |= {"near_duplicate", "constant_image", "grey_levels"}  # by stage preprocess
    expected = dict.fromkeys(POLICIES, 1) | dict.fromkeys(found_elsewhere, 0)
    assert numbers == expected | {"missing_image": 2, "conflicting_duplicate": 2}


def test_one_row_is_enough_here(data):
    data.images("x.png")
    data.rows("Id,A", "x,1")
    assert len(data.build().table) == 1


def test_blank_ids_are_refused(data):
    data.images("x.png")
    data.rows("Id,A", "x,1", ",1", " ,1")
    with pytest.raises(
        UserError, match=r"column 'Id' must hold an id in every row. Got an empty cell in line 3, line 4"
    ):
        data.build()


@pytest.mark.parametrize("id_", ["../x", "/etc/passwd", "a/../../x", "..//x"])
def test_ids_that_leave_the_folder_are_refused(data, id_):
    data.images("x.png")
    data.image("../x.png", 1)
    data.rows("Id,A", "x,1", f"{id_},1")
    with pytest.raises(UserError) as error:
        data.build(DROP)
    assert str(error.value) == (
        f"{data.csv}: column 'Id' must lead to a file inside data.images = {data.folder} (data.image_pattern: "
        f"'{{id}}.png'). Got a path that does not: line 3 '{id_}'. Write it relative to that folder, without '..'."
    )


def test_five_bad_paths_are_shown_and_all_are_counted(data):
    data.images("x.png")
    data.rows("Id,File,A", *(f"x{i},../{i}.png,1" for i in range(6)), "y,.,1")
    with pytest.raises(UserError, match=r"column 'File' must.* line 6 '../4.png', \.\.\. \(7 in all\)"):
        data.build(image_column="File")


def test_a_missing_and_an_empty_folder_are_refused(data):
    data.rows("Id,A", "x,1")
    with pytest.raises(UserError, match=r"images is empty. Expected the image files. Set data.images in params.yaml."):
        data.build()
    (data.folder / ".gitignore").touch()
    with pytest.raises(UserError, match="images is empty"):
        data.build()
    with pytest.raises(UserError, match=r"none does not exist. Expected the folder of the images. Set data.images"):
        build(data.csv, data.folder / "none", KEEP, id_column="Id", max_pixels=1)
    with pytest.raises(UserError, match=r"labels.csv is not a folder"):
        build(data.csv, data.csv, KEEP, id_column="Id", max_pixels=1)


@pytest.mark.skipif(not POSTERS.is_dir(), reason="needs ../shared/posters-1k")
def test_real_posters_pass_with_all_rows():
    policies = KEEP | {"conflicting_duplicate": "fail"}
    form = {"id_column": "Id", "list_column": "Genre", "max_pixels": 10**8}
    built = build(POSTERS / "train.csv", POSTERS / "Images", policies, min_positives=2, **form)
    assert len(built.table) == built.num_rows == 1022
    found = {kind: number for kind, number in issues.count_by_kind(built.issues).items() if number}
    assert found == {"duplicate_id": 4, "identical_image": 1}
    targets = manifest.targets(built.table, built.vocabulary)
    assert targets.shape == (1022, 25)
    assert targets[:, built.vocabulary.index("N/A")].sum() == 6
    assert json.loads(built.table["labels"][0]) == ["Drama", "Musical", "Romance"]


def test_the_columns_for_the_split_are_no_labels_and_follow_the_rows(data):
    data.images("a.png", "b.png", "c.png")
    data.rows("Id,patient,Drama,fold", "a, P1 ,1,train", "gone,P1,1,test", "b,,0,", "c,N/A,1,Val")
    built = data.build(DROP | {"no_label": "keep"}, group_column="patient", side_column="fold")
    assert built.vocabulary == ["Drama"]
    assert list(built.table.columns) == [*manifest.COLUMNS, "group", "side"]
    assert built.table["group"].tolist() == ["P1", "", "N/A"]
    assert built.table["side"].tolist() == ["train", "", "Val"]
    with pytest.raises(UserError, match=r"no column 'set' \(split\.side_column\)"):
        data.build(side_column="set")
    with pytest.raises(UserError, match=r"data\.label_columns names 'fold', the split\.side_column"):
        data.build(label_columns=["Drama", "fold"], side_column="fold")


def test_a_link_to_itself_is_listed(data):
    data.images("x.png")
    (data.folder / "loop.png").symlink_to("loop.png")
    data.rows("Id,A", "x,1")
    (found,) = data.issues("unlisted_image")
    assert (found.id, "which cannot be followed" in found.detail) == ("loop.png", True)

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import preprocess
import split
import validate
from posterity import files
from posterity.cache import reuse
from posterity.cache import rows as cached_rows
from posterity.cache.tensors import TensorCache
from posterity.dataset.caching import cache_images
from posterity.errors import UserError
from posterity.pixels.decode import ImageProblem, decode
from posterity.pixels.spec import ImageSpec
from posterity.workers.threads import threads
from small_project import LABELS, SmallProject
from unit.pixels.pictures import blobs

DROP_UNREADABLE = {"data.on_problem.unreadable_image": "drop", "data.max_dropped_fraction": 0.1}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = SmallProject(tmp_path)
    project.params({"machine.reuse_folder": None})
    return project


def run_stages():
    validate.main([])
    preprocess.main([])
    return TensorCache("data/tensors")


def rows():
    return cached_rows.read("data/rows")


def cache_bytes():
    folders = Path("data/tensors"), Path("data/rows")
    return {path.name: path.read_bytes() for folder in folders for path in folder.iterdir()}


def positives(*rows):
    return [{"label": label, "rows": number} for label, number in zip(LABELS, rows, strict=True)]


def test_the_cache_holds_the_decoded_images_in_manifest_order(project, capsys):
    cache = run_stages()
    assert cache.spec == ImageSpec(64, 48)
    assert rows().index["id"].tolist() == project.ids
    assert sorted(path.name for path in Path("data/tensors").glob("images-*")) == [
        f"images-0000{shard}.npy" for shard in range(3)
    ]  # 24 rows in shards of 10
    expected = np.stack([decode(project.image(id_), ImageSpec(64, 48)) for id_ in project.ids])
    np.testing.assert_array_equal(cache.images(range(24)), expected)
    assert rows().label_names == list(LABELS)
    assert rows().targets[:4].tolist() == [[0, 1, 1], [0, 1, 0], [1, 1, 0], [1, 1, 1]]
    assert capsys.readouterr().out.endswith("24 images cached as 64 x 48, 0 rows left out.\n")


def test_the_counts(project):
    project.edit("i04,N/A,0,1,0", "i04,,0,0,0")
    run_stages()
    metrics = files.read_json("metrics/data.json")
    issues = {item["kind"]: item["found"] for item in metrics.pop("issues")}
    assert metrics == {
        "rows_in_csv": 24,
        "rows_cached": 24,
        "rows_dropped": 0,
        "labels": 3,
        # k // 2 odd for k in 0..21: 2, 3, 6, 7, ..., 18, 19; k divisible by 3: 0, 3, ..., 21; N/A: all but i04
        "positives": positives(10, 23, 8),
        # of 0..21 both hold for 3, 6, 15, 18, so 10 + 8 - 2 * 4 rows have one of the two beside N/A
        "rows_by_number_of_labels": [1, 9, 10, 4],
    }
    assert {kind: number for kind, number in issues.items() if number} == {"identical_image": 1, "no_label": 1}
    assert files.read_csv("data/issues.csv")["kind"].tolist() == ["no_label", "identical_image"]


def test_settings_reach_the_images(project):
    project.params({"image.height": 8, "image.width": 40, "image.resampling": "nearest", "image.fit": "pad"})
    cache = run_stages()
    assert cache.spec == ImageSpec(8, 40, "nearest", "pad")
    image = cache.images([2])[0]
    # 24 x 32 fits into 40 x 8 as 6 x 8, in the middle.
    assert not image[:, :17].any()
    assert not image[:, 23:].any()
    assert image[:, 17:23].any(axis=2).all()


def test_the_same_input_gives_the_same_bytes_with_any_number_of_workers(project):
    project.params({"machine.workers.threads": 1})
    run_stages()
    first = cache_bytes(), Path("metrics/data.json").read_bytes(), Path("data/issues.csv").read_bytes()
    project.params({"machine.workers.threads": 5})
    run_stages()
    assert (cache_bytes(), Path("metrics/data.json").read_bytes(), Path("data/issues.csv").read_bytes()) == first


def test_a_second_run_replaces_the_cache(project):
    run_stages()
    project.params({"image.height": 16, "image.rows_per_shard": 100})
    assert run_stages().images([0]).shape == (1, 16, 48, 3)
    assert sorted(cache_bytes()) == ["images-00000.npy", "index.csv", "labels.json", "meta.json", "targets.npy"]


def test_a_truncated_image_that_is_dropped_is_counted_and_listed(project, capsys):
    project.truncate("i03")
    project.params(DROP_UNREADABLE)
    cache = run_stages()
    left = [id_ for id_ in project.ids if id_ != "i03"]
    assert rows().index["id"].tolist() == left
    np.testing.assert_array_equal(
        cache.images(range(23)), np.stack([decode(project.image(id_), ImageSpec(64, 48)) for id_ in left])
    )
    assert rows().targets[3].tolist() == [0, 1, 0]  # that of i04
    metrics = files.read_json("metrics/data.json")
    assert (metrics["rows_in_csv"], metrics["rows_cached"], metrics["rows_dropped"]) == (24, 23, 1)
    assert {"kind": "unreadable_image", "found": 1} in metrics["issues"]
    assert metrics["positives"] == positives(9, 23, 7)
    kind, line, id_, detail = files.read_csv("data/issues.csv").iloc[0]
    assert (kind, line, id_) == ("unreadable_image", "5", "i03")
    assert detail.startswith("images/i03.jpg: cannot be decoded: image file is truncated")
    assert capsys.readouterr().out.endswith("23 images cached as 64 x 48, 1 rows left out.\n")


def test_rows_that_validate_dropped_count_towards_the_budget(project):
    project.image("i10").unlink()
    project.truncate("i03")
    project.params({**DROP_UNREADABLE, "data.on_problem.missing_image": "drop"})
    assert len(run_stages()) == 22
    metrics = files.read_json("metrics/data.json")
    assert (metrics["rows_in_csv"], metrics["rows_cached"], metrics["rows_dropped"]) == (24, 22, 2)
    assert files.read_csv("data/issues.csv")["line"].tolist() == ["5", "12", "25"]

    project.params({"data.max_dropped_fraction": 0.05})  # one of 24 would do, two do not
    validate.main([])
    message = (
        r"2 of 24 rows would be dropped, 8.33%; .* Reasons: unreadable_image 1, missing_image 1; all in data/issues"
    )
    with pytest.raises(UserError, match=message):
        preprocess.main([])


def test_a_damaged_image_stops_the_run_by_default(project):
    project.truncate("i03")
    project.truncate("i07")
    validate.main([])
    before = project.outputs()
    with pytest.raises(UserError) as error:
        preprocess.main([])
    lines = str(error.value).splitlines()
    assert lines[:2] == [
        "labels.csv: 1 kind of problem stops the run. data/issues.csv lists every problem.",
        "  unreadable_image: 2 rows",
    ]
    assert lines[2].startswith("    line 5, 'i03': images/i03.jpg: cannot be decoded: image file is truncated")
    assert lines[4] == "    Replace the files, or set data.on_problem.unreadable_image: drop in params.yaml."
    assert project.outputs() == sorted([*before, "data/issues.csv"])
    assert files.read_csv("data/issues.csv")["id"].tolist() == ["i03", "i07", "i23"]


def test_a_run_that_stops_leaves_the_old_cache(project):
    run_stages()
    before = cache_bytes()
    project.truncate("i03")
    validate.main([])
    with pytest.raises(UserError, match="unreadable_image: 1 row"):
        preprocess.main([])
    assert cache_bytes() == before


def test_no_image_may_be_left(project):
    for id_ in project.ids:
        project.truncate(id_)
    project.params({**DROP_UNREADABLE, "data.max_dropped_fraction": 1.0})
    validate.main([])
    with pytest.raises(UserError, match=r"no row is left of 24. data/issues.csv gives the reasons"):
        preprocess.main([])


def test_a_file_that_vanished_since_is_missing(project):
    validate.main([])
    project.image("i05").unlink()
    with pytest.raises(UserError, match=r"missing_image: 1 row\n    line 7, 'i05': images/i05.jpg: no such file"):
        preprocess.main([])


def test_a_file_that_changed_since_is_no_part_of_the_cache(project):
    # It would be kept for reuse as what the old file looks like.
    project.params({"machine.reuse_folder": "kept"})
    validate.main([])
    project.image("i05").write_bytes(project.image("i06").read_bytes())
    with pytest.raises(UserError, match=r"images/i05.jpg: has changed since stage validate read it. Run `dvc repro`"):
        preprocess.main([])
    assert not Path("kept/tensors").exists()


def test_decoding_appends_the_good_and_lists_the_others(project):
    project.truncate("i01")
    project.image("i02").unlink()
    table = pd.DataFrame({"line": [2, 3, 4, 9], "id": ["i00", "i01", "i02", "x"]})
    table["path"] = ["images/i00.jpg", "images/i01.jpg", "images/i02.jpg", "images/i00.jpg"]
    digests = {
        path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in table["path"] if Path(path).exists()
    }
    table["sha256"] = table["path"].map(digests).fillna("0")
    nothing = reuse.EarlierBuild(None, ImageSpec(4, 4))
    found, _, _ = cache_images(table, Path("cache"), ImageSpec(4, 4), 8, earlier=nothing, mapper=threads(2))
    assert len(TensorCache("cache")) == 2
    assert [(issue.kind, issue.line, issue.id) for issue in found] == [
        ("unreadable_image", 3, "i01"),
        ("missing_image", 4, "i02"),
    ]
    with pytest.raises(ImageProblem, match="truncated"):
        decode(project.image("i01"), ImageSpec(4, 4))


def test_a_label_that_loses_its_last_image_is_rare(project):
    project.rows(["Id,A,B", "i00,1,0", "i01,1,0", "i03,1,1", "i05,1,0"])
    project.truncate("i03")
    settings = {"data.list_column": None, "data.min_positives": 1, "data.max_dropped_fraction": 0.5}
    project.params(DROP_UNREADABLE | settings)
    run_stages()
    metrics = files.read_json("metrics/data.json")
    assert metrics["positives"] == [{"label": "A", "rows": 3}, {"label": "B", "rows": 0}]
    assert ["rare_label", "", "B", "no positive row"] in files.read_csv("data/issues.csv").to_numpy().tolist()

    project.params({"data.on_problem.rare_label": "drop"})
    run_stages()
    assert rows().label_names == ["A"]

    project.params({"data.on_problem.rare_label": "fail"})
    with pytest.raises(UserError, match="rare_label: 1 label"):
        run_stages()


def test_if_validate_stops_the_list_of_all_issues_is_not_an_old_one(project):
    run_stages()
    assert files.read_csv("data/issues.csv")["kind"].tolist().count("missing_image") == 0
    project.image("i03").unlink()
    with pytest.raises(UserError, match="data/issues.csv lists every problem"):
        run_stages()
    assert files.read_csv("data/issues.csv")["kind"].tolist().count("missing_image") == 1


def test_a_second_run_decodes_what_is_new(project, capsys):
    project.params({"machine.reuse_folder": "kept"})
    run_stages()
    out = capsys.readouterr().out.splitlines()
    assert out[2] == "0 rows reused, 24 decoded; kept/tensors/note.json does not exist."
    project.edit("i05,", "i04,")  # the next run has no i05, and i04 twice
    project.image("i07").write_bytes(project.image("i07").read_bytes() + b"\0")
    project.params({"data.on_problem.conflicting_duplicate": "keep"})
    run_stages()
    assert capsys.readouterr().out.splitlines()[2] == "23 rows reused, 1 decoded."
    reused = cache_bytes(), files.read_json("metrics/data.json")
    project.params({"machine.reuse_folder": None})
    run_stages()
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert (cache_bytes(), files.read_json("metrics/data.json")) == reused


# Four rows: i03 is damaged, and with it label B has one row left, i05, that has no other label.
ONE_ROW_LOSES_ITS_LABEL = ["Id,A,B", "i00,1,0", "i01,1,0", "i03,1,1", "i05,0,1"]


def lose_a_label(project, **on_problem):
    project.rows(ONE_ROW_LOSES_ITS_LABEL)
    project.truncate("i03")
    policies = {f"data.on_problem.{kind}": policy for kind, policy in on_problem.items()}
    settings = {"data.list_column": None, "data.min_positives": 2, "data.max_dropped_fraction": 0.5}
    project.params(DROP_UNREADABLE | settings | {"data.on_problem.rare_label": "drop"} | policies)
    return run_stages()


def test_a_row_whose_last_label_a_damaged_image_makes_rare_is_listed(project):
    assert len(lose_a_label(project)) == 3
    assert rows().label_names == ["A"]
    assert rows().targets.tolist() == [[1], [1], [0]]
    issues = files.read_csv("data/issues.csv").to_numpy().tolist()
    assert ["no_label", "5", "i05", "no label is left: B dropped as rare"] in issues


def test_such_a_row_stops_the_run_if_every_row_needs_a_label(project):
    with pytest.raises(UserError, match=r"no_label: 1 row\n    line 5, 'i05': no label is left: B dropped as rare"):
        lose_a_label(project, no_label="fail")


def test_such_a_row_leaves_the_cache_if_rows_without_a_label_do(project):
    cache = lose_a_label(project, no_label="drop")
    assert rows().index["id"].tolist() == ["i00", "i01"]
    assert rows().targets.tolist() == [[1], [1]]
    expected = np.stack([decode(project.image(id_), ImageSpec(64, 48)) for id_ in ("i00", "i01")])
    np.testing.assert_array_equal(cache.images(range(len(cache))), expected)
    metrics = files.read_json("metrics/data.json")
    assert (metrics["rows_in_csv"], metrics["rows_cached"], metrics["rows_dropped"]) == (4, 2, 2)


def look_alikes(project):
    """Make i05 a smaller copy of i01, i09 a crop of it, and i01 itself a picture that has more to it than noise."""
    picture = Image.fromarray(blobs(3, 400))
    picture.save(project.image("i01"))
    picture.resize((200, 240)).save(project.image("i05"), quality=50)
    picture.crop((12, 8, 390, 400)).save(project.image("i09"), quality=80)


def near_duplicates():
    issues = files.read_csv("data/issues.csv")
    return issues.loc[issues["kind"] == "near_duplicate", ["line", "id"]].to_numpy().tolist()


def test_images_that_look_alike_are_listed_and_share_a_look(project, capsys):
    look_alikes(project)
    assert len(run_stages()) == 24
    assert near_duplicates() == [["7", "i05"], ["11", "i09"]]
    assert rows().index["look"].tolist() == ["0" if id_ in ("i01", "i05", "i09") else "" for id_ in project.ids]
    assert {"kind": "near_duplicate", "found": 2} in files.read_json("metrics/data.json")["issues"]
    assert "Odd but sound: near_duplicate 2 (listed in data/issues.csv).\n" in capsys.readouterr().out

    for seed in range(10):
        project.params({"seed": seed})
        split.main([])
        sides = files.read_csv("data/split.csv").set_index("id")["side"]
        assert sides["i01"] == sides["i05"] == sides["i09"]


def test_the_same_look_alikes_are_found_among_images_that_are_reused(project, capsys):
    look_alikes(project)
    project.params({"machine.reuse_folder": "kept"})
    run_stages()
    first = cache_bytes(), Path("data/issues.csv").read_bytes(), Path("metrics/data.json").read_bytes()
    capsys.readouterr()
    run_stages()
    assert "24 rows reused, 0 decoded." in capsys.readouterr().out
    assert (cache_bytes(), Path("data/issues.csv").read_bytes(), Path("metrics/data.json").read_bytes()) == first


def test_near_duplicates_that_are_dropped_leave_the_cache_but_for_the_first(project):
    look_alikes(project)
    run_stages()
    images = TensorCache("data/tensors").images(range(24))
    project.params({"data.on_problem.near_duplicate": "drop", "data.max_dropped_fraction": 0.1})
    cache = run_stages()
    left = [id_ for id_ in project.ids if id_ not in ("i05", "i09")]
    assert rows().index["id"].tolist() == left
    np.testing.assert_array_equal(cache.images(range(22)), np.delete(images, [5, 9], axis=0))
    shards = sorted(path.name for path in Path("data/tensors").iterdir())
    assert shards == ["images-00000.npy", "images-00001.npy", "images-00002.npy", "meta.json"]
    assert files.read_json("metrics/data.json")["rows_dropped"] == 2


def test_near_duplicates_can_stop_the_run_or_not_be_looked_for(project):
    look_alikes(project)
    project.params({"data.on_problem.near_duplicate": "fail"})
    message = (
        r"near_duplicate: 2 rows\n    line 7, 'i05': looks like 'i01' in line 3 \(similarity [01].\d\d\)\n.*\n"
        r"    Leave one row per picture, raise data.near_duplicate_similarity, or set data.on_problem.near_duplicate: "
        r"keep or data.on_problem.near_duplicate: drop in params.yaml."
    )
    with pytest.raises(UserError, match=message):
        run_stages()
    project.params({"data.near_duplicate_similarity": None})
    run_stages()
    assert near_duplicates() == []
    assert "look" not in rows().index


def test_without_look_alikes_the_index_has_no_column_for_them(project):
    run_stages()
    assert Path("data/rows/index.csv").read_text().splitlines()[0] == "line,id,sha256"


def odd_pictures(project):
    """Row i03 transparent everywhere, i05 with 12 of 16 bits, as PNG files under the names of the rows."""
    Image.new("RGBA", (24, 32), (9, 9, 9, 0)).save(project.image("i03"), "PNG")
    levels = np.arange(768, dtype=np.uint16).reshape(32, 24)
    Image.fromarray(levels).save(project.image("i05"), "PNG")


def listed(*kinds):
    table = files.read_csv("data/issues.csv")
    return table[table["kind"].isin(kinds)].to_numpy().tolist()


ODD = [
    ["constant_image", "5", "i03", "images/i03.jpg: comes out as one colour, (255, 255, 255)"],
    ["grey_levels", "7", "i05", "images/i05.jpg: grey levels up to 767 of 65,535 only, so that it is nearly black; "
     "image.grey_range: 1023 would spread them"],
]  # fmt: skip


def test_odd_pictures_are_listed_alike_whether_decoded_or_reused(project, capsys):
    odd_pictures(project)
    project.params({"machine.reuse_folder": "kept"})
    for reused in (0, 24, 24):
        assert len(run_stages()) == 24
        out = capsys.readouterr().out
        assert f"{reused} rows reused, {24 - reused} decoded" in out
        assert "Odd but sound: constant_image 1, grey_levels 1 (listed in data/issues.csv).\n" in out
        assert listed("constant_image", "grey_levels") == ODD
    counts = {item["kind"]: item["found"] for item in files.read_json("metrics/data.json")["issues"]}
    assert (counts["constant_image"], counts["grey_levels"]) == (1, 1)


@pytest.mark.parametrize("first", ["keep", "drop"])
def test_odd_pictures_can_be_dropped_whether_decoded_or_reused(project, first):
    odd_pictures(project)
    project.params({"machine.reuse_folder": "kept", "data.max_dropped_fraction": 0.2})
    for policy in (first, "drop", "keep", "drop"):
        project.params({"data.on_problem.constant_image": policy, "data.on_problem.grey_levels": policy})
        cache = run_stages()
        left = [id_ for id_ in project.ids if policy == "keep" or id_ not in ("i03", "i05")]
        assert rows().index["id"].tolist() == left
        expected = np.stack([decode(project.image(id_), ImageSpec(64, 48)) for id_ in left])
        np.testing.assert_array_equal(cache.images(range(len(left))), expected)
        assert listed("constant_image", "grey_levels") == ODD


def test_odd_pictures_can_stop_the_run(project):
    odd_pictures(project)
    project.params({"data.on_problem.grey_levels": "fail"})
    with pytest.raises(UserError) as error:
        run_stages()
    assert str(error.value).splitlines()[1:] == [
        "  grey_levels: 1 row",
        f"    line 7, 'i05': {ODD[1][3]}",
        "    Set image.grey_range to the highest level of the files, or set data.on_problem.grey_levels: keep or "
        "data.on_problem.grey_levels: drop in params.yaml.",
    ]
    project.params({"image.grey_range": 767})  # as it says
    image = run_stages().images([5])[0]
    assert (image.min(), image.max()) == (0, 255)


def test_a_cache_with_default_settings_says_no_more_than_it_did(project):
    run_stages()
    assert files.read_json("data/tensors/meta.json")["image"] == {
        "height": 64, "width": 48, "resampling": "area", "fit": "stretch", "max_pixels": 89478485,
    }  # fmt: skip
    project.params({"image.max_side": 4000, "image.formats": ["jpeg"]})
    assert run_stages().spec == ImageSpec(64, 48, formats=("jpeg",), max_side=4000)

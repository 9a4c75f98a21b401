"""The sample is drawn where its description is and its images are not, and nowhere else."""

import json
from pathlib import Path

import pytest

from posterity.errors import UserError
from posterity.synthetic import dataset
from posterity.synthetic.on_demand import draw_missing


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    dataset.write_sample(tmp_path / "sample", count=3, seed=5)
    return tmp_path / "sample"


def remove_images(sample: Path) -> None:
    for image in (sample / "images").glob("*.jpg"):
        image.unlink()


def test_missing_images_come_back_as_they_were(sample: Path) -> None:
    before = contents(sample)
    assert sorted(before) == [
        "README.txt", "images/.gitignore", "images/sample-0001.jpg", "images/sample-0002.jpg", "images/sample-0003.jpg",
        "labels.csv", "sample.json",
    ]  # fmt: skip
    remove_images(sample)
    assert draw_missing(sample / "images") == 3
    assert contents(sample) == before
    assert draw_missing(sample / "images") == 0


def test_an_edited_table_and_a_removed_image_stay_as_they_are(sample: Path) -> None:
    (sample / "labels.csv").write_text("mine")
    (sample / "images/sample-0002.jpg").unlink()
    assert draw_missing(sample / "images") == 0
    remove_images(sample)
    assert draw_missing(sample / "images") == 3
    assert (sample / "labels.csv").read_text() == "mine"


def test_other_folders_of_images_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    assert draw_missing(tmp_path / "images") == 0
    assert draw_missing(tmp_path / "none") == 0
    assert contents(tmp_path) == {}


def test_files_of_somebodys_own_are_not_replaced(sample: Path) -> None:
    remove_images(sample)
    (sample / "images/mine.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"mine\.png"):
        draw_missing(sample / "images")
    assert (sample / "images/mine.png").read_bytes() == b"x"


@pytest.mark.parametrize("content", [[], {"count": 3}, {"count": "3", "seed": 1}, {"count": 3, "seed": 1, "more": 2}])
def test_a_description_that_says_something_else(sample: Path, content: object) -> None:
    remove_images(sample)
    (sample / "sample.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"sample\.json: expected the number of images and the seed"):
        draw_missing(sample / "images")

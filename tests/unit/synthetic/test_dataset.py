"""The sample data set: reproducible, in the promised form, and written whole or not at all."""

import ast
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from posterity.errors import UserError
from posterity.files import read_csv
from posterity.synthetic import dataset
from posterity.synthetic.motifs import MOTIFS, place
from posterity.synthetic.scene import TEXTURES, TONES, colour

SCRIPT = Path(__file__).parents[3] / "src" / "sample.py"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def decode(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_same_seed_same_bytes_other_seed_other_bytes():
    assert dataset.draw_image(7, 3) == dataset.draw_image(7, 3)
    assert dataset.draw_image(7, 3) != dataset.draw_image(8, 3)
    assert dataset.draw_image(7, 3) != dataset.draw_image(7, 4)


def test_a_larger_sample_begins_with_the_smaller_one_however_many_workers_draw(tmp_path):
    dataset.write_sample(tmp_path / "small", count=3, seed=7, workers=1)
    dataset.write_sample(tmp_path / "large", count=5, seed=7, workers=4)
    small, large = contents(tmp_path / "small"), contents(tmp_path / "large")
    assert sorted(set(large) - set(small)) == ["images/sample-0004.jpg", "images/sample-0005.jpg"]
    assert sorted(small) == [
        "README.txt",
        "images/.gitignore",
        "images/sample-0001.jpg",
        "images/sample-0002.jpg",
        "images/sample-0003.jpg",
        "labels.csv",
        "sample.json",
    ]
    assert all(large[name] == small[name] for name in small if name.endswith(".jpg"))
    assert large["labels.csv"].startswith(small["labels.csv"])


def test_images_are_rgb_jpeg_of_varying_size_without_metadata():
    posters = [decode(dataset.draw_image(1, index)) for index in range(12)]
    assert {(poster.format, poster.mode) for poster in posters} == {("JPEG", "RGB")}
    assert all(260 <= poster.width <= 300 and 380 <= poster.height <= 460 for poster in posters)
    assert len({poster.size for poster in posters}) > 6
    assert not any(poster.getexif() for poster in posters)


def test_no_image_is_blank():
    # The flattest possible poster still has a title in an ink unlike its background.
    for index in range(12):
        assert np.asarray(decode(dataset.draw_image(1, index)).convert("L")).std() > 5


def test_list_and_one_hot_columns_agree_and_every_image_has_one_to_three_labels():
    table = dataset.labels_table(7, 200)
    assert list(table.columns) == ["Id", "Genre", *dataset.NAMES]
    assert table["Id"].tolist()[:2] == ["sample-0001", "sample-0002"]
    assert table["Id"].is_unique
    for index, row in enumerate(table.to_dict("records")):
        listed = ast.literal_eval(row["Genre"])
        assert listed == [name for name in dataset.NAMES if row[name] == 1]
        assert tuple(listed) == dataset.draw_labels(7, index)
        assert 1 <= len(listed) <= 3
        assert {row[name] for name in dataset.NAMES} <= {0, 1}


@pytest.mark.parametrize("seed", [0, 7])
def test_label_frequencies_are_uneven_as_stated(seed):
    stated = {
        "Drama": 0.45, "Comedy": 0.36, "Action": 0.25, "Thriller": 0.19, "Romance": 0.16, "Crime": 0.13,
        "Adventure": 0.11, "Horror": 0.09, "Sci-Fi": 0.075, "Animation": 0.06, "Western": 0.045, "N/A": 0.035,
    }  # fmt: skip
    frequency = dataset.labels_table(seed, 1000)[list(dataset.NAMES)].mean()
    assert set(stated) == set(dataset.NAMES)
    for name, expected in stated.items():
        # Four standard errors: a right weight fails in less than one of ten thousand draws, a doubled one always.
        assert frequency[name] == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 1000) ** 0.5), name


def test_shares_of_one_two_and_three_labels():
    sizes = np.bincount([len(dataset.draw_labels(3, index)) for index in range(1000)], minlength=4)
    assert sizes.sum() == 1000
    assert sizes[0] == 0
    assert sizes[1:] / 1000 == pytest.approx(dataset.LABELS_PER_IMAGE, abs=0.065)  # four standard errors
    assert sum(dataset.LABELS_PER_IMAGE) == pytest.approx(1)


def test_labels_do_not_share_a_motif_and_name_things_that_exist():
    looks = [label.look for label in dataset.LABELS]
    assert sorted(look.motif for look in looks) == sorted(MOTIFS)
    assert {look.texture for look in looks} <= set(TEXTURES)
    assert {look.tone for look in looks} <= set(TONES)


def test_not_available_survives_writing_and_reading(tmp_path):
    index = next(k for k in range(1000) if "N/A" in dataset.draw_labels(7, k))
    dataset.write_sample(tmp_path / "sample", count=index + 1, seed=7)
    table = read_csv(tmp_path / "sample" / "labels.csv")
    assert table["N/A"].iloc[index] == "1"
    assert "N/A" in ast.literal_eval(table["Genre"].iloc[index])


def test_readme_says_that_the_images_are_synthetic(tmp_path):
    dataset.write_sample(tmp_path / "sample", count=1, seed=5)
    text = (tmp_path / "sample" / "README.txt").read_text(encoding="utf-8")
    assert text.startswith("Synthetic sample posters\n")
    assert "python src/sample.py --count 1 --seed 5" in text


def test_an_earlier_sample_is_replaced(tmp_path):
    dataset.write_sample(tmp_path / "sample", count=2, seed=7)
    dataset.write_sample(tmp_path / "sample", count=1, seed=7)
    assert [path.name for path in (tmp_path / "sample" / "images").glob("*.jpg")] == ["sample-0001.jpg"]


def test_a_folder_of_the_users_own_is_left_alone(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"data exists and is not a sample that this script wrote.*name another folder"):
        dataset.write_sample(tmp_path / "data", count=1, seed=7)
    assert contents(tmp_path) == {"data/precious.jpg": b"mine"}


@pytest.mark.parametrize("name", ["notes.txt", "images/mine.jpg", "images/sample-mine/a.jpg"])
def test_what_the_user_adds_to_a_sample_is_not_deleted_with_it(tmp_path, name):
    dataset.write_sample(tmp_path / "sample", count=1, seed=7)
    (tmp_path / "sample" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "sample" / name).write_bytes(b"mine")
    before = contents(tmp_path)
    shown = name.removesuffix("/a.jpg")
    with pytest.raises(UserError, match=rf"sample would be replaced as a whole.*also holds {shown}\. Nothing was"):
        dataset.write_sample(tmp_path / "sample", count=2, seed=7)
    assert contents(tmp_path) == before


def test_an_interrupted_run_leaves_the_earlier_sample(tmp_path):
    dataset.write_sample(tmp_path / "sample", count=1, seed=7)
    before = contents(tmp_path)

    def interrupt(done):
        yield next(iter(done))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.write_sample(tmp_path / "sample", count=5, seed=8, progress=interrupt)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0, "seed": 7}, "count must be an integer >= 1. Got 0."),
        ({"count": 1, "seed": -1}, "seed must be an integer >= 0. Got -1."),
        ({"count": 1, "seed": 7, "workers": 0}, "workers must be an integer >= 1. Got 0."),
    ],
)
def test_bad_numbers_are_reported(tmp_path, arguments, message):
    with pytest.raises(UserError) as caught:
        dataset.write_sample(tmp_path / "sample", **arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("lightness", "chroma", "hue", "expected"),
    [
        # The primaries of sRGB in OKLCH, to three digits, as given by the CSS Color 4 conversion.
        (0.628, 0.258, 29.2, (255, 0, 0)),
        (0.866, 0.295, 142.5, (0, 255, 0)),
        (0.452, 0.313, 264.1, (0, 0, 255)),
        (1.0, 0.0, 0.0, (255, 255, 255)),
        (0.0, 0.0, 0.0, (0, 0, 0)),
    ],
)
def test_colour_is_oklch(lightness, chroma, hue, expected):
    assert colour(lightness, chroma, hue) == pytest.approx(expected, abs=3)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_motifs_get_places_with_their_centres_on_the_stage(count):
    spots = place(count, (0.0, 50.0, 280.0, 400.0), np.random.default_rng(1))
    assert len(spots) == count
    assert all(0 < x < 280 and 50 < y < 400 and 40 < radius < 130 for x, y, radius in spots)


def test_script_writes_the_folder_and_says_so(tmp_path):
    command = [sys.executable, str(SCRIPT), "--output", str(tmp_path / "sample"), "--count", "2", "--seed", "9"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'sample'}: 2 synthetic posters in images/, their 12 labels in labels.csv\n"
    assert (tmp_path / "sample" / "images" / "sample-0002.jpg").read_bytes() == dataset.draw_image(9, 1)


def test_script_reports_a_mistake_without_a_traceback(tmp_path):
    command = [sys.executable, str(SCRIPT), "--output", str(tmp_path / "sample"), "--count", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: count must be an integer >= 1. Got 0.\n")


def test_help_teaches_and_does_not_import_tensorflow():
    code = (
        "import atexit, sys; sys.path.insert(0, sys.argv[1]); "
        "atexit.register(lambda: print('HEAVY', sorted({'tensorflow', 'keras', 'pandas'} & set(sys.modules)))); "
        "import sample; sample.main(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(SCRIPT.parent)], capture_output=True, text=True, check=True)
    assert "python src/sample.py --output data/sample --count 1000 --seed 7" in done.stdout
    assert done.stdout.endswith("HEAVY []\n")


def test_the_box_of_a_motif_is_what_is_drawn_of_it(monkeypatch):
    drawn = {}

    def record(name):
        def square(draw, x, y, radius, ink, rng):
            left, top, side = round(x - radius), round(y - radius), round(2 * radius)
            draw.rectangle((left, top, left + side - 1, top + side - 1), fill=(255, 0, 16 * list(MOTIFS).index(name)))
            drawn.setdefault(name, (left, top, left + side, top + side))  # the first one: a stray motif comes later

        return square

    for name in MOTIFS:
        monkeypatch.setitem(MOTIFS, name, record(name))
    motif_of = {label.name: label.look.motif for label in dataset.LABELS}
    number = 0
    for index in range(20):
        drawn.clear()
        boxes = dataset.motif_boxes(7, index)
        width, height = decode(dataset.draw_image(7, index)).size
        for name, box in boxes.items():
            expected = drawn[motif_of[name]]
            sides = np.array([width, height, width, height])  # what is drawn beyond them is cut off
            np.testing.assert_allclose(np.multiply(box, sides), np.clip(expected, 0, sides))
            number += 1
    assert number > 25


def test_one_motif_in_twenty_is_left_out_and_other_labels_have_none():
    boxes = [dataset.motif_boxes(7, index) for index in range(200)]
    names = [dataset.draw_labels(7, index) for index in range(200)]
    assert all(set(some) <= set(all_) for some, all_ in zip(boxes, names, strict=True))
    missing = 1 - sum(map(len, boxes)) / sum(map(len, names))
    assert 0.02 < missing < 0.09


def test_boxes_of_motifs_that_lie_side_by_side_hardly_overlap():
    for index in range(40):
        boxes = list(dataset.motif_boxes(7, index).values())
        for k, (left, top, right, bottom) in enumerate(boxes):
            for other in boxes[:k]:
                width = min(right, other[2]) - max(left, other[0])
                height = min(bottom, other[3]) - max(top, other[1])
                shared = max(width, 0) * max(height, 0)
                assert shared < 0.3 * (right - left) * (bottom - top)

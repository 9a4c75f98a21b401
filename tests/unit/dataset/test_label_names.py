import numpy as np
import pytest

from posterity.dataset import label_names

POSTERS = [
    "Action",
    "Adventure",
    "Animation",
    "Biography",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Family",
    "Fantasy",
    "History",
    "Horror",
    "Music",
    "Musical",
    "Mystery",
    "N/A",
    "News",
    "Reality-TV",
    "Romance",
    "Sci-Fi",
    "Short",
    "Sport",
    "Thriller",
    "War",
    "Western",
]
CHEXPERT = [
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
]  # fmt: skip
COCO = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
]


@pytest.mark.parametrize("names", [POSTERS, CHEXPERT, COCO])
def test_no_name_of_public_data_sets_is_taken_for_a_list(names):
    assert len(set(names)) in (25, 14, 80)
    assert label_names.unsplit_labels(names, "|") == []


@pytest.mark.parametrize("delimiter", [",", ";", "/", "#", "&", "+", " ", ", ", " & "])
def test_a_wrong_delimiter_is_found_and_named(delimiter):
    names = ["roof", "tree", "car", f"roof{delimiter}tree", f"car{delimiter}roof"]
    found = label_names.unsplit_labels(names, "|")
    assert [issue.id for issue in found] == names[3:]
    assert "split by it, the 5 labels have 3 different names" in found[0].detail
    assert f'Set data.list_delimiter: "{delimiter.strip() or " "}"' in found[0].detail


def test_cells_of_two_delimiters_are_to_be_written_alike():
    (found,) = label_names.unsplit_labels(["roof", "tree", "roof tree"], "|", is_used=True)
    assert found.detail.endswith("Other cells are separated by '|': write these alike")


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        ("Cat", "cat", "upper and lower case"),
        ("caf\u00e9", "cafe\u0301", "the form of its Unicode (NFC and NFD)"),
        ("a  b", "a b", "spaces"),
        ("5", "5.0", "how the number is written"),
        ("Caf\u00e9", "cafe\u0301", "case, spaces or the form of its Unicode"),
    ],
)
def test_look_alikes(first, second, difference):
    (found,) = label_names.similar_labels([first, "other", second])
    assert (found.kind, found.id) == ("similar_labels", second)
    assert found.detail == f"differs from {first!r} in {difference} only"


def test_names_that_only_resemble_are_no_look_alikes():
    assert label_names.similar_labels(["Music", "Musical", "5", "50", "5.1", "v1.0", "v1"]) == []


def test_null_labels():
    assert [issue.id for issue in label_names.null_labels(["nan", "None", "NULL", "N/A", "NA", "Nan"])] == [
        "nan", "None", "NULL", "Nan",
    ]  # fmt: skip


def test_metadata_columns():
    columns = ["is_train", "fold", "Split", "cat", "kfold", "Age", "valid", "Family", "Isle"]
    found = [issue.id for issue in label_names.metadata_columns(columns)]
    assert found == ["is_train", "fold", "Split", "kfold", "Age", "valid"]


def test_counts_show_30_labels():
    targets = np.ones((2, 31), np.uint8)
    text = label_names.label_counts(targets, [f"l{k}" for k in range(31)])
    assert text.startswith("31 labels: l0 2, l1 2,")
    assert text.endswith("l29 2, ... (31 in all)")

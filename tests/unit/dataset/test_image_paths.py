from pathlib import Path

import pytest

from posterity.config.image_pattern import Pattern
from posterity.dataset.csv_table import TextTable
from posterity.dataset.image_paths import FolderIndex, image_paths
from posterity.errors import UserError


def find(ids, listing, pattern="{id}.jpg", image_column=None):
    table = TextTable(Path("t.csv"), {"Id": list(ids)}, list(range(2, 2 + len(ids))))
    column = "Id" if image_column else None
    return image_paths(
        table, Path("images"), FolderIndex(listing), id_column="Id", image_pattern=pattern, image_column=column
    )


def test_any_suffix_and_only_of_images():
    paths, ambiguous = find(["1", "2", "3"], ["1.JPG", "2.png", "2.txt", "3.jpeg", "3.json"], "{id}.*")
    assert (paths, ambiguous) == (["1.JPG", "2.png", "3.jpeg"], {})


def test_two_files_for_a_row_are_a_problem():
    paths, ambiguous = find(["1", "2"], ["1.jpg", "1.png", "2.jpg"], "{id}.*")
    assert paths == ["1.jpg", "2.jpg"]
    assert ambiguous == {0: "2 files match: '1.jpg', '1.png'"}


def test_a_list_of_patterns():
    paths, ambiguous = find(["1", "2"], ["a/1.jpg", "b/2.png"], ["a/{id}.jpg", "b/{id}.png"])
    assert (paths, ambiguous) == (["a/1.jpg", "b/2.png"], {})
    assert find(["1"], ["a/1.jpg", "b/1.png"], ["a/{id}.jpg", "b/{id}.png"])[1] == {
        0: "2 files match: 'a/1.jpg', 'b/1.png'"
    }


def test_any_folder():
    listing = ["x/1.png", "x/y/2.png", "3.png", "z/a/4.png", "z/b/4.png"]
    paths, ambiguous = find(["1.png", "2.png", "3.png", "b/4.png"], listing, "**/{id}")
    assert (paths, ambiguous) == (["x/1.png", "x/y/2.png", "3.png", "z/b/4.png"], {})
    assert list(find(["4.png"], listing, "**/{id}")[1]) == [0]


def test_zeros_and_the_last_part_of_a_path():
    assert find(["7", "12"], [], "{id:04d}.png")[0] == ["0007.png", "0012.png"]
    assert find(["/data/a/7.png", "C:\\x\\8.png"], ["a/7.png", "b/8.png"], "**/{name}")[0] == ["a/7.png", "b/8.png"]


def test_white_space_and_backslashes():
    assert find([" a\\1 "], ["a/1.jpg"])[0] == ["a/1.jpg"]
    assert find(["a\\1"], ["a\\1.jpg"])[0] == ["a\\1.jpg"]  # a name on Linux may hold one


def test_composed_and_decomposed_names_are_alike_where_the_folder_is_searched():
    assert find(["caf\u00e9"], ["cafe\u0301.jpg"], "{id}.*")[0] == ["cafe\u0301.jpg"]


@pytest.mark.parametrize(
    ("id_", "listing", "pattern", "hint"),
    [
        ("1", ["1.JPG"], "{id}.jpg", " (there is '1.JPG'; set data.image_pattern: \"{id}.*\")"),
        ("1", ["sub/1.jpg"], "{id}.jpg", " (there is 'sub/1.jpg'; set data.image_pattern: \"**/{id}.jpg\")"),
        ("1.jpg", ["1.jpg"], "{id}.jpg", " (there is '1.jpg'; set data.image_pattern: \"{id}\")"),
        ("1.jpg", ["s/1.jpg"], "{id}", " (there is 's/1.jpg'; set data.image_pattern: \"**/{id}\")"),
        ("7", ["0007.png"], "{id}.png", " (there is '0007.png'; set data.image_pattern: \"{id:04d}.png\")"),
        (
            "caf\u00e9",
            ["cafe\u0301.jpg"],
            "{id}.jpg",
            " (there is 'cafe\u0301.jpg'; set data.image_pattern: \"{id}.*\")",
        ),
        ("a", ["b.jpg"], "{id}.jpg", ""),
    ],
)
def test_hints_name_the_setting_and_it_works(id_, listing, pattern, hint):
    index = FolderIndex(listing)
    path = Pattern(pattern).name_of(id_)
    assert index.hint(path, id_, None) == hint
    if hint:
        advised = hint.split('"')[1]
        assert index.matches(Pattern(advised), id_) == listing


def test_a_file_column_is_answered_by_a_pattern():
    hint = FolderIndex(["s/1.jpg"]).hint("1.jpg", "1.jpg", "File")
    assert hint.endswith(
        'set data.id_column: File, data.image_column: null, data.image_pattern: "**/{name}", and name the labels in '
        "data.label_columns)"
    )


@pytest.mark.parametrize("cell", ["/mnt/x/1.jpg", "C:\\x\\1.jpg", "~/1.jpg", "$HOME/1.jpg", "s3://b/1.jpg", "../1.jpg"])
def test_paths_of_elsewhere_are_found_by_their_names(cell):
    with pytest.raises(UserError, match=r'found in the folder for 1 of 1 rows: set data.image_pattern: "\*\*/{name}"'):
        find([cell], ["a/1.jpg"], "{id}")
    with pytest.raises(UserError, match=r"Write it relative to that folder, without '..'"):
        find([cell], ["a/2.jpg"], "{id}")


@pytest.mark.parametrize("text", ["x.jpg", "{id}/*.jpg", "*{id}", "{id:5}", "{}", "**/x", ".*"])
def test_patterns_that_are_refused(text):
    with pytest.raises(ValueError, match=r"must contain {id}, {id:06d}, {name} or {stem}"):
        Pattern(text)

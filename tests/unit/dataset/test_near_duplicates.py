"""Groups of pictures that look alike, and how they are listed."""

import numpy as np
import pandas as pd
import pytest

from posterity.cache.tensor_writer import CacheWriter
from posterity.dataset.issues import Issue
from posterity.dataset.near_duplicates import add_looks, find_looks
from posterity.pixels.perceptual_hash import thumbnail
from posterity.pixels.resize import resize_by_area
from posterity.pixels.spec import ImageSpec
from unit.pixels.pictures import blobs

SIDE = 200


def cropped(image, top, bottom):
    return resize_by_area(image[top : SIDE - bottom], SIDE, SIDE)


def looks(*pictures):
    return find_looks(np.stack([thumbnail(picture) for picture in pictures]), 0.9)


def test_copies_share_a_look_and_the_others_have_none():
    one, other = blobs(1, SIDE), blobs(2, SIDE)
    found = looks(blobs(0, SIDE), other, one, cropped(one, 5, 8), other + 9, blobs(3, SIDE), one)
    assert found.look.tolist() == [-1, 0, 1, 1, 0, -1, 1]
    assert found.model.tolist()[0] == -1
    assert set(found.model[[2, 3, 6]].tolist()) == {2}
    assert found.similarity[[1, 4, 2, 3, 6]].min() > 0.9
    assert found.similarity[[0, 5]].tolist() == [0, 0]


def test_blank_pictures_share_no_look():
    noise = np.random.default_rng(0).integers(0, 3, (6, SIDE, SIDE, 3)).astype(np.uint8)
    assert looks(*noise, *(250 + noise)).look.tolist() == [-1] * 12


def test_two_crops_meet_in_the_picture_they_are_of():
    image = blobs(5, SIDE)
    assert looks(cropped(image, 10, 0), cropped(image, 0, 10), image).look.tolist() == [0, 0, 0]


def test_a_chain_is_no_group():
    # A window moves over a strip by 2 % of its width: a picture looks like the next ones, and not like the last one.
    strip = np.concatenate([blobs(seed, SIDE) for seed in range(3)], axis=1)
    frames = [np.ascontiguousarray(strip[:, start : start + SIDE]) for start in range(0, 2 * SIDE, 4)]
    found = looks(*frames)
    assert (found.look[:-1] == found.look[1:]).mean() > 0.5
    assert found.look[0] != found.look[-1]
    assert np.bincount(found.look[found.look >= 0]).max() < len(frames) / 4


class Cached:
    """Rows with pictures, by the number of the picture or the picture itself; equal ones have equal bytes."""

    def __init__(self, folder, pictures, ids=None):
        writer = CacheWriter(folder / "tensors", ImageSpec(SIDE, SIDE), 4)
        for picture in pictures:
            writer.append(picture)
        writer.close()
        self.folder = folder / "tensors"
        digests = [str(hash(picture.tobytes())) for picture in pictures]
        names = ids or [f"i{row}" for row in range(len(pictures))]
        self.table = pd.DataFrame({"line": range(2, 2 + len(pictures)), "id": names, "sha256": digests})

    def add_looks(self, issues=(), min_similarity=0.9, table=None):
        table = self.table if table is None else table
        return add_looks(table, self.folder, issues, min_similarity=min_similarity, threads=2)


A, B = blobs(1, SIDE), blobs(2, SIDE)
OTHERS = [blobs(seed, SIDE) for seed in range(10, 14)]


def test_every_row_but_the_original_is_listed(tmp_path):
    table, issues = Cached(tmp_path, [OTHERS[0], A, B, A + 9, OTHERS[1], cropped(B, 4, 4), A + 5]).add_looks()
    assert table["look"].tolist() == ["", "0", "1", "0", "", "1", "0"]
    assert [(issue.kind, issue.line, issue.id) for issue in issues] == [
        ("near_duplicate", 5, "i3"),
        ("near_duplicate", 8, "i6"),
        ("near_duplicate", 7, "i5"),
    ]
    assert issues[0].detail == "looks like 'i1' in line 3 (similarity 1.00)"
    assert issues[2].detail.startswith("looks like 'i2' in line 4 (similarity ")


def test_copies_of_the_original_are_not_listed_again_and_copies_of_others_are(tmp_path):
    rows = Cached(tmp_path, [A, A + 9, A, A + 5, A + 5], ["a", "a", "c", "d", "e"])
    known = [
        Issue("duplicate_id", 3, "a", ""),
        Issue("identical_image", 4, "c", ""),
        Issue("identical_image", 6, "e", ""),
    ]
    table, issues = rows.add_looks(known)
    assert table["look"].tolist() == ["0"] * 5
    # To drop near duplicates, but not identical images, must leave none of line 5 and line 6.
    assert [(issue.line, issue.id) for issue in issues] == [(5, "d"), (6, "e")]


def test_the_first_row_without_another_problem_is_the_original(tmp_path):
    _, issues = Cached(tmp_path, [A, A + 9, OTHERS[0]]).add_looks([Issue("no_label", 2, "i0", "")])
    assert [(issue.line, issue.detail[:22]) for issue in issues] == [(2, "looks like 'i1' in lin")]


def test_rows_without_pixels_have_no_look(tmp_path):
    rows = Cached(tmp_path, [A, OTHERS[0], A + 9])
    damaged = pd.DataFrame({"line": [1], "id": ["x"], "sha256": ["x"]})
    table, issues = rows.add_looks([Issue("unreadable_image", 1, "x", "")], table=pd.concat([damaged, rows.table]))
    assert table["look"].tolist() == ["", "0", "", "0"]
    assert [issue.line for issue in issues] == [4]


@pytest.mark.parametrize(("pictures", "similarity"), [([A, B, A], 0.9), ([A, A + 9], None), (OTHERS, 0.9), ([A], 0.9)])
def test_without_look_alikes_the_table_stays_as_it_is(tmp_path, pictures, similarity):
    rows = Cached(tmp_path, pictures)
    table, issues = rows.add_looks(min_similarity=similarity)
    assert table is rows.table
    assert issues == []

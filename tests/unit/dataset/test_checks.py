"""Rare labels: which they are, and which rows lose their last label with them."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from posterity.dataset.checks import settle_rare_labels
from posterity.dataset.issues import Issue

# Three rows have a, one has b, one has c alone.
TARGETS = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]], np.uint8)
LINES, IDS, NAMES = [2, 3, 5, 9], ["i", "j", "k", "l"], ["a", "b", "c"]
B_IS_RARE = Issue("rare_label", None, "b", "1 positive row, fewer than data.min_positives = 2")
C_IS_RARE = Issue("rare_label", None, "c", "1 positive row, fewer than data.min_positives = 2")


def test_rare_labels_that_are_kept_are_only_listed() -> None:
    settled = settle_rare_labels(TARGETS, LINES, IDS, NAMES, min_positives=2, drop=False)
    assert settled.issues == [B_IS_RARE, C_IS_RARE]
    assert settled.is_dropped.tolist() == [False, False, False]


def test_a_row_that_loses_its_only_label_has_no_label() -> None:
    settled = settle_rare_labels(TARGETS, LINES, IDS, NAMES, min_positives=2, drop=True)
    assert settled.issues == [B_IS_RARE, C_IS_RARE, Issue("no_label", 9, "l", "no label is left: c dropped as rare")]
    assert settled.is_dropped.tolist() == [False, True, True]


def test_what_is_known_is_not_listed_twice_and_dropped_all_the_same() -> None:
    settled = settle_rare_labels(TARGETS, LINES, IDS, NAMES, min_positives=2, drop=True, known=[B_IS_RARE])
    assert [issue.id for issue in settled.issues] == ["c", "l"]
    assert settled.is_dropped.tolist() == [False, True, True]


@pytest.mark.parametrize("min_positives", [0, 1])
def test_a_label_without_a_row_is_always_rare(min_positives: int) -> None:
    settled = settle_rare_labels(TARGETS[:3], LINES[:3], IDS[:3], NAMES, min_positives=min_positives, drop=True)
    assert settled.issues == [Issue("rare_label", None, "c", "no positive row")]
    assert settled.is_dropped.tolist() == [False, False, True]


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(0, 1)),
    st.integers(0, 4),
)
def test_one_pass_settles_it(targets: npt.NDArray[np.uint8], min_positives: int) -> None:
    lines, ids = list(range(len(targets))), [str(row) for row in range(len(targets))]
    names = [str(label) for label in range(targets.shape[1])]
    settled = settle_rare_labels(targets, lines, ids, names, min_positives=min_positives, drop=True)
    lost = {issue.line for issue in settled.issues if issue.kind == "no_label"}
    is_left = np.array([line not in lost for line in lines])
    left = targets[is_left][:, ~settled.is_dropped]
    assert (left.sum(axis=0) >= max(min_positives, 1)).all()
    had_a_label = targets[is_left].any(axis=1)
    assert left[had_a_label].any(axis=1).all()

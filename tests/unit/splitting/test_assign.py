import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posterity.errors import UserError
from posterity.splitting.assign import assign
from posterity.splitting.exact_count import to_exact_count
from posterity.splitting.groups import group_rows

POSTERS = Path(__file__).parents[4] / "shared" / "posters-1k"


def names(count, prefix="row"):
    return [f"{prefix}{index}" for index in range(count)]


def imbalanced(num_rows=600):
    """Labels of 50 %, 10 %, 5 % and 1 % of the rows, fixed."""
    return (np.random.default_rng(0).random((num_rows, 4)) < [0.5, 0.1, 0.05, 0.01]).astype(np.uint8)


def label_deviation(labels, is_validation):
    return np.abs(labels[is_validation].mean(axis=0) - labels.mean(axis=0)).mean()


def test_rows_are_grouped_through_shared_ids_and_shared_images():
    #        0    1    2    3    4    5
    ids = ["a", "b", "c", "b", "d", "e"]
    digests = ["1", "2", "3", "4", "4", "2"]
    # 1 and 3 share id b, 3 and 4 image 4, 1 and 5 image 2; 0 and 2 stand alone.
    assert group_rows(ids, digests).tolist() == [0, 1, 2, 1, 1, 1]


def test_a_late_row_joins_groups_under_the_number_of_the_first():
    assert group_rows(["a", "b", "c", "b"], ["1", "2", "3", "1"]).tolist() == [0, 0, 1, 0]


def test_any_number_of_keys_joins_rows_and_an_empty_one_joins_nothing():
    assert group_rows(["a", "b", "a"]).tolist() == [0, 1, 0]
    ids, digests, looks, patients = ["a", "b", "c", "d"], ["1", "2", "3", "4"], ["", "0", "", "0"], ["p", "", "p", ""]
    assert group_rows(ids, digests, looks).tolist() == [0, 1, 2, 1]
    assert group_rows(ids, digests, looks, patients).tolist() == [0, 1, 0, 1]
    assert group_rows(["", ""], ["", ""]).tolist() == [0, 1]


def test_group_rows_wants_equal_lengths():
    with pytest.raises(ValueError, match="same length, got 2 and 1"):
        group_rows(["a", "b"], ["1"])
    with pytest.raises(ValueError, match="same length, got no key"):
        group_rows()


@pytest.mark.parametrize("stratify", [False, True])
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=12),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=60, deadline=None)
def test_the_count_is_the_nearest_that_whole_groups_allow(stratify, sizes, fraction, seed):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    num_rows = len(groups)
    target = round(fraction * num_rows)
    if not 0 < target < num_rows:
        return
    labels = np.random.default_rng(seed).integers(0, 2, (num_rows, 3), dtype=np.uint8) if stratify else None
    is_validation = assign(names(num_rows), groups, fraction=fraction, seed=seed, labels=labels)

    sums = {0}
    for size in sizes:
        sums |= {total + size for total in sums}
    expected = min(sums - {0, num_rows}, key=lambda total: (abs(total - target), total))
    assert is_validation.sum() == expected
    for group in range(len(sizes)):
        assert len(set(is_validation[groups == group])) == 1


@pytest.mark.parametrize("stratify", [False, True])
def test_the_count_is_exact_with_rows_to_fill_up_with(stratify):
    groups = np.minimum(np.arange(600), 590)  # one group of ten rows, the rest alone
    labels = imbalanced() if stratify else None
    for fraction in (0.01, 0.1, 0.333, 0.9):
        assert assign(names(600), groups, fraction=fraction, labels=labels).sum() == round(600 * fraction)


def test_the_lowest_hashes_are_validation():
    ids = names(20)
    hashes = {name: hashlib.sha256(f"7:{name}".encode()).hexdigest() for name in ids}
    lowest = sorted(ids, key=hashes.__getitem__)[:5]
    is_validation = assign(ids, np.arange(20), fraction=0.25, seed=7)
    assert [name for name, chosen in zip(ids, is_validation, strict=True) if chosen] == [
        name for name in ids if name in lowest
    ]


def split_by_rank(sizes, target):
    """Validation groups, numbered by rank, when the groups of rank 0, 1, ... have the given sizes."""
    hashes = {name: hashlib.sha256(f"0:{name}".encode()).digest() for name in names(len(sizes))}
    ranked = sorted(hashes, key=hashes.__getitem__)
    ids = np.repeat(ranked, sizes).tolist()  # every row of a group has the same id
    groups = np.repeat(np.arange(len(sizes)), sizes)
    is_validation = assign(ids, groups, fraction=target / len(ids), seed=0)
    return sorted(set(groups[is_validation].tolist()))


@pytest.mark.parametrize(
    ("sizes", "target", "expected"),
    [
        ([1, 2, 1, 2, 1, 1, 1], 4, [0, 1, 2]),  # the first ones, large or small
        ([3, 1, 1, 1, 1], 2, [1, 2]),  # the first would overflow and is passed over
        ([1, 1, 1, 3, 1, 1], 4, [0, 1, 2, 4]),  # the same with the count half full
        ([3, 2, 2, 2, 2], 4, [1, 2]),  # 3 and nothing more is not 4: take 2 and 2, the lowest ones
        ([2, 2, 2, 2], 3, [0]),  # 3 cannot be had: of 2 and 4 the lower
    ],
)
def test_the_groups_of_lowest_rank_that_fit_are_validation(sizes, target, expected):
    assert split_by_rank(sizes, target) == expected


def test_the_group_moved_is_the_one_that_keeps_labels_in_proportion():
    # Ten groups of one row; a fifth is to be validation. Label 0 is on groups 0 to 4, label 1 on 5 to 9.
    label_rows = np.repeat(np.eye(2, dtype=np.int64), 5, axis=0)
    sizes = np.ones(10, dtype=np.int64)
    too_few = np.arange(10) == 2
    assert np.flatnonzero(to_exact_count(too_few, sizes, 2, label_rows)).tolist() == [2, 5]
    too_many = np.isin(np.arange(10), [2, 6, 7])
    assert np.flatnonzero(to_exact_count(too_many, sizes, 2, label_rows)).tolist() == [2, 7]


@pytest.mark.parametrize("stratify", [False, True])
def test_the_order_of_the_rows_does_not_matter(stratify):
    labels = imbalanced()
    ids, groups = names(600), np.arange(600) // 2
    order = np.random.default_rng(1).permutation(600)
    # Groups are renumbered, too: a shuffled table numbers them afresh.
    shuffled_groups = group_rows([str(groups[row]) for row in order], [ids[row] for row in order])
    before = assign(ids, groups, labels=labels if stratify else None)
    after = assign([ids[row] for row in order], shuffled_groups, labels=labels[order] if stratify else None)
    assert (after == before[order]).all()


def test_old_rows_keep_their_side_when_rows_are_added():
    before = assign(names(2000), np.arange(2000))
    ids = names(2000) + names(500, "new")
    after = assign(ids, np.arange(2500))
    assert after.sum() == 250
    # sqrt(500 * 0.1 * 0.9) = 6.7; a split drawn anew would move about 2 * 2000 * 0.1 * 0.9 = 360 rows.
    assert np.sum(after[:2000] != before) <= 3 * 6.7
    assert after[2000:].any()


@pytest.mark.parametrize("stratify", [False, True])
def test_the_seed_decides_the_split(stratify):
    labels = imbalanced() if stratify else None
    first = assign(names(600), np.arange(600), seed=1, labels=labels)
    assert (first == assign(names(600), np.arange(600), seed=1, labels=labels)).all()
    assert (first != assign(names(600), np.arange(600), seed=2, labels=labels)).any()


def test_stratification_brings_label_shares_closer():
    labels = imbalanced()
    arguments = {"ids": names(600), "groups": np.arange(600)}
    ranked = label_deviation(labels, assign(**arguments))
    stratified = label_deviation(labels, assign(**arguments, labels=labels))
    assert stratified < ranked / 3
    # 60 of 600 rows: no label can be off by more than it takes to round its count, give or take one row.
    counts = labels[assign(**arguments, labels=labels)].sum(axis=0)
    assert (np.abs(counts - 0.1 * labels.sum(axis=0)) <= 1).all()


def test_stratification_leaves_the_global_generator_alone():
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    assign(names(600), np.arange(600), labels=imbalanced())
    assert np.random.random() == expected


def test_one_label_can_be_stratified():
    labels = np.zeros((40, 1), np.uint8)
    labels[:20] = 1
    is_validation = assign(names(40), np.arange(40), fraction=0.25, labels=labels)
    assert labels[is_validation].sum() == 5
    assert is_validation.sum() == 10


def test_without_label_columns_the_ranked_split_is_used():
    ranked = assign(names(40), np.arange(40))
    assert (assign(names(40), np.arange(40), labels=np.zeros((40, 0), np.uint8)) == ranked).all()


def test_copies_of_a_real_poster_never_straddle():
    if not POSTERS.exists():
        pytest.skip("the real posters are not here")
    with (POSTERS / "train.csv").open(encoding="utf-8", newline="") as lines:
        table = list(csv.DictReader(lines))
    ids = [line["Id"] for line in table]
    digests = [hashlib.sha256((POSTERS / "Images" / f"{name}.jpg").read_bytes()).hexdigest() for name in ids]
    labels = np.array([[int(cell) for cell in list(line.values())[2:]] for line in table], np.uint8)
    assert len(set(digests)) < len(set(ids)) < len(ids)  # there are copies of both kinds

    groups = group_rows(ids, digests)
    for seed in range(10):
        for stratify_by in (None, labels):
            is_validation = assign(ids, groups, seed=seed, labels=stratify_by)
            assert is_validation.sum() == round(0.1 * len(ids))
            for keys in (ids, digests):
                validation = {key for key, chosen in zip(keys, is_validation, strict=True) if chosen}
                train = {key for key, chosen in zip(keys, is_validation, strict=True) if not chosen}
                assert not validation & train


@pytest.mark.parametrize(
    ("num_rows", "groups", "fraction", "message"),
    [
        (1, [0], 0.1, r"split\.validation_fraction needs at least 2 rows.*Got 1 row.*no value works \(it is 0\.1\)"),
        (3, [0, 0, 0], 0.1, r"split\.validation_fraction needs at least 2 different images\. Got 3 rows.*all copies"),
        (
            40,
            range(40),
            0.01,
            r"Got 0\.01, which leaves no validation row out of 40\. Use a value from 0\.025 to 0\.975",
        ),
        (40, range(40), 0.99, r"Got 0\.99, which leaves no training row out of 40\. Use a value from 0\.025 to 0\.975"),
        (7, range(7), 0.0, r"no validation row out of 7\. Use a value from 0\.15 to 0\.85"),
        (7, range(7), float("nan"), r"Got nan, which leaves no validation row"),
    ],
)
def test_impossible_splits_say_what_works(num_rows, groups, fraction, message):
    with pytest.raises(UserError, match=r"^params\.yaml: " + r".*" + message):
        assign(names(num_rows), list(groups), fraction=fraction)


@given(num_rows=st.integers(2, 5000))
@settings(max_examples=50, deadline=None)
def test_the_values_offered_in_the_error_work(num_rows):
    with pytest.raises(UserError) as caught:
        assign(names(num_rows), np.arange(num_rows), fraction=0.0)
    lowest, highest = str(caught.value).removesuffix(".").split(" from ")[1].split(" to ")
    assert assign(names(num_rows), np.arange(num_rows), fraction=float(lowest)).sum() == 1
    assert assign(names(num_rows), np.arange(num_rows), fraction=float(highest)).sum() == num_rows - 1


def test_an_id_in_two_groups_is_refused():
    with pytest.raises(ValueError, match="id 'a' lies in several groups"):
        assign(["a", "b", "a"], [0, 1, 2])


@pytest.mark.parametrize("arguments", [{"groups": [0, 1]}, {"groups": [0, 1, 2], "labels": np.zeros((2, 4), np.uint8)}])
def test_lengths_must_match(arguments):
    with pytest.raises(ValueError, match=r"3 ids, groups of shape .* do not match"):
        assign(["a", "b", "c"], **arguments)


def test_unknown_labels_count_as_absent():
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 3, (60, 3)).astype(np.uint8)
    ids, groups = [str(k) for k in range(60)], np.arange(60) // 2
    known = assign(ids, groups, fraction=0.2, labels=(targets == 1).astype(np.uint8))
    np.testing.assert_array_equal(assign(ids, groups, fraction=0.2, labels=targets), known)

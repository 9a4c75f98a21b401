"""Train, validation and test: what is drawn, what a column gives, and what no rows can be divided into."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from posterity.errors import UserError
from posterity.splitting import sides
from posterity.splitting.draw import draw
from posterity.splitting.options import SplitOptions
from posterity.splitting.sides import Split, divide

MEANING = {"tr": "train", "va": "validation", "te": "test", "no": "leave_out"}


def names(count, prefix="row"):
    return [f"{prefix}{index}" for index in range(count)]


def singles(count):
    return pd.DataFrame({"line": range(2, count + 2), "id": names(count), "sha256": names(count)})


def rows_on(found, side):
    return set(np.flatnonzero(found == side).tolist())


def divided(index, **options):
    seed, labels = options.pop("seed", 42), options.pop("labels", None)
    return divide(index, SplitOptions(**options), seed=seed, labels=labels).sides


@st.composite
def tables(draw_from, with_sides=False):
    """An index of 1 to 30 rows of which some share an id, an image or a patient."""
    count = draw_from(st.integers(1, 30))
    columns = {
        name: draw_from(st.lists(st.integers(0, 40), min_size=count, max_size=count))
        for name in ("id", "sha256", "group")
    }
    index = pd.DataFrame(
        {"line": range(2, count + 2), **{name: list(map(str, cells)) for name, cells in columns.items()}}
    )
    index["group"] = index["group"].where(np.arange(count) % 3 > 0, "")  # some rows have none
    if with_sides:
        index["side"] = draw_from(st.lists(st.sampled_from(list(MEANING)), min_size=count, max_size=count))
    return index


FRACTIONS = {"validation": st.floats(0.05, 0.6), "test": st.sampled_from([0.0, 0.1, 0.3])}


def torn(index, found):
    """Values of id, sha256 or group whose rows are on several sides."""
    on = index.assign(found=found)[found != "leave_out"]
    keys = [(name, on[on[name] != ""] if name == "group" else on) for name in ("id", "sha256", "group")]
    return [value for name, rows in keys for value, some in rows.groupby(name) if some["found"].nunique() > 1]


@pytest.mark.parametrize("stratify", [False, True])
@given(index=tables(), validation=FRACTIONS["validation"], test=FRACTIONS["test"], seed=st.integers(0, 2**32 - 1))
@settings(max_examples=120, deadline=None)
def test_what_belongs_together_is_never_torn_apart(stratify, index, validation, test, seed):
    labels = np.random.default_rng(0).integers(0, 2, (len(index), 3), dtype=np.uint8) if stratify else None
    try:
        split = divide(index, SplitOptions(validation, test), seed=seed, labels=labels)
    except UserError:
        assume(False)
    found = split.sides
    assert torn(index, found) == []
    assert "leave_out" not in found
    assert rows_on(found, "train")
    assert len(set(split.groups[found == "validation"])) >= 2
    assert bool(rows_on(found, "test")) == (test > 0)

    # Each count is the nearest one that whole groups can make up.
    sizes = {side: np.bincount(split.groups)[np.unique(split.groups[found == side])] for side in set(found)}
    pool = np.bincount(split.groups).tolist()
    for side, fraction in (("test", test), ("validation", validation)):
        if side in sizes:
            assert sizes[side].sum() == nearest(pool, round(fraction * len(index)))
            for size in sizes[side].tolist():
                pool.remove(size)


def nearest(sizes, target):
    """The number of rows nearest to ``target`` that some of the groups make up, leaving some out."""
    sums = {0}
    for size in sizes:
        sums |= {total + size for total in sums}
    return min(sums - {0, sum(sizes)}, key=lambda total: (abs(total - target), total))


@pytest.mark.parametrize("stratify", [False, True])
@given(index=tables(), validation=FRACTIONS["validation"], test=FRACTIONS["test"], order=st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_rows_does_not_matter(stratify, index, validation, test, order):
    labels = np.random.default_rng(0).integers(0, 2, (len(index), 3), dtype=np.uint8)
    shuffled = list(range(len(index)))
    order.shuffle(shuffled)
    try:
        before = divided(index, validation_fraction=validation, test_fraction=test, labels=labels if stratify else None)
    except UserError:
        assume(False)
    after = divided(
        index.iloc[shuffled].reset_index(drop=True),
        validation_fraction=validation,
        test_fraction=test,
        labels=labels[shuffled] if stratify else None,
    )
    assert after.tolist() == before[shuffled].tolist()


@given(
    index=tables(with_sides=True),
    test=FRACTIONS["test"],
    policy=st.sampled_from(["fail", "leave_out", "keep"]),
)
@settings(max_examples=200, deadline=None)
def test_the_side_column_is_obeyed(index, test, policy):
    wanted = index["side"].map(MEANING).to_numpy()
    options = SplitOptions(0.3, test, side_column="fold", sides=MEANING, side_conflict=policy)
    conflicts = torn(index, wanted)
    try:
        found = divide(index, options, seed=1).sides
    except UserError as error:
        if "must keep copies on one side" in str(error):
            assert policy == "fail"
            assert torn_groups(index, wanted)
        return
    if policy == "fail":
        assert not conflicts
    if policy != "keep":
        assert torn(index, found) == []
    moved = found != wanted
    given_sides = set(wanted)
    for side, reason in (("validation", True), ("test", test > 0)):
        drawn = moved & (found == side)
        # Drawn from the training rows, and only for want of given ones that were not left out as copies.
        assert set(wanted[drawn]) <= {"train"}
        assert not drawn.any() or (reason and (side not in given_sides or not rows_on(found[~drawn], side)))
    left_out = moved & (found == "leave_out")
    assert not left_out.any() or (policy == "leave_out" and torn_groups(index, wanted))
    assert not (moved & (found == "train")).any()
    assert "test" not in wanted[left_out]


def torn_groups(index, found):
    """Whether a connected group is on several sides, also through rows that are left out."""
    groups = sides.groups_of(index)
    return any(len(set(found[groups == group]) - {"leave_out"}) > 1 for group in range(groups.max() + 1))


@given(count=st.integers(12, 200), test=st.floats(0.1, 0.4), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_the_test_rows_do_not_depend_on_the_validation_fraction_nor_validation_on_the_test(count, test, seed):
    index = singles(count)
    options = {"seed": seed, "test_fraction": test}
    few, many = (divided(index, validation_fraction=fraction, **options) for fraction in (0.2, 0.5))
    assert rows_on(few, "test") == rows_on(many, "test")
    assert len(rows_on(few, "test")) == round(test * count)
    without = divided(index, validation_fraction=0.2, seed=seed)
    # A row that has validated, and so has had a part in choices, does not become a test row.
    assert rows_on(few, "validation") == rows_on(without, "validation")


def test_a_stratified_test_side_does_not_depend_on_the_validation_fraction():
    labels = (np.random.default_rng(0).random((300, 4)) < [0.5, 0.2, 0.1, 0.05]).astype(np.uint8)
    few, many = (
        divided(singles(300), validation_fraction=fraction, test_fraction=0.2, labels=labels) for fraction in (0.1, 0.4)
    )
    assert rows_on(few, "test") == rows_on(many, "test")
    for side, share in (("test", 0.2), ("validation", 0.1)):
        # The nearest whole numbers, give or take a row.
        assert (np.abs(labels[few == side].sum(axis=0) - share * labels.sum(axis=0)) <= 1.5).all(), side


def test_old_rows_keep_their_side_when_rows_are_added():
    before = divided(singles(2000), validation_fraction=0.1, test_fraction=0.1)
    index = pd.concat([singles(2000), pd.DataFrame({"line": 0, "id": names(500, "new"), "sha256": names(500, "new")})])
    after = divided(index.reset_index(drop=True), validation_fraction=0.1, test_fraction=0.1)
    assert {side: int((after == side).sum()) for side in MEANING.values()} == {
        "train": 2000, "validation": 250, "test": 250, "leave_out": 0,
    }  # fmt: skip
    # sqrt(500 * 0.1 * 0.9) = 6.7 rows cross at either end.
    assert np.sum(after[:2000] != before) <= 2 * 3 * 6.7


def test_fractions_are_shares_of_the_training_rows_of_the_column():
    index = singles(100).assign(side=["tr"] * 80 + ["te"] * 15 + ["no"] * 5)
    split = divide(index, SplitOptions(0.25, 0.3, "fold", MEANING), seed=0)
    assert sides.count_rows(split.sides) == {"train": 60, "validation": 20, "test": 15, "leave_out": 5}
    assert split.notes == [
        "Column 'fold' gives the test rows; split.test_fraction is not used.",
        "Column 'fold' gives no validation rows: a share of 0.25 of its training rows is drawn "
        "(split.validation_fraction).",
    ]
    index = singles(100).assign(side=["tr"] * 80 + ["va"] * 20)
    split = divide(index, SplitOptions(0.25, 0.3, "fold", MEANING), seed=0)
    assert sides.count_rows(split.sides) == {"train": 56, "validation": 20, "test": 24}
    assert split.notes == [
        "Column 'fold' gives no test rows: a share of 0.3 of its training rows is drawn (split.test_fraction)."
    ]


def test_groups_and_conflicts_are_said_aloud():
    index = singles(12).assign(group=["P", "P", "Q", "", ""] + ["R"] * 7, side=["tr", "te", *["tr"] * 4, *["va"] * 6])
    index.loc[11, "group"] = "S"
    options = {"side_column": "fold", "sides": MEANING}
    kept = divide(index, SplitOptions(0.3, side_conflict="keep", **options), seed=0)
    assert kept.sides.tolist() == index["side"].map(MEANING).tolist()
    assert kept.notes == [
        "Rows of one group stay on one side: 4 groups; 2 of 12 rows have none and stand alone.",
        "WARNING: 2 groups of rows that belong together: they lie on several sides, and the figures flatter the model "
        "(split.side_conflict).",
    ]
    left = divide(index, SplitOptions(0.3, side_conflict="leave_out", **options), seed=0)
    assert sides.count_rows(left.sides) == {"train": 3, "validation": 6, "test": 1, "leave_out": 2}
    assert "2 groups of rows that belong together: those on the less protected side are left out" in left.notes[1]


@pytest.mark.parametrize(
    ("index", "options", "message"),
    [
        (singles(2), {}, "validation_fraction needs at least 3 different images: 2 for validation, 1 for train "),
        (singles(3), {"test_fraction": 0.3}, "test_fraction needs at least 4 different images: 1 for test, 2 for va"),
        (singles(3), {"test_fraction": 0.3}, r"Got 3 in 3 rows, for which no value works \(it is 0\.3\)\. Add rows"),
        (singles(9).assign(group="P"), {}, r"needs at least 3 different images.*Got 1 in 9 rows"),
        (singles(10), {"validation_fraction": 0.1}, r"Got 0\.1, which makes 1 of 10 rows and 1 of 10 different images"),
        (
            singles(10),
            {"validation_fraction": 0.96},
            r"Got 0\.96, which makes 10 of 10 rows\. Use a value from 0\.20 to",
        ),
        (
            singles(10),
            {"test_fraction": 0.01},
            r"test_fraction must .*makes 0 of 10 rows\. Use a value from 0\.10 to 0",
        ),
        (
            singles(10),
            {"test_fraction": 0.85},
            r"test_fraction must .*8 of 10 different images\. .* from 0\.10 to 0\.70",
        ),
        (singles(3).assign(side="te"), {}, r"split\.side_column needs rows to train on\. Column 'fold' has none\."),
        (
            singles(5).assign(side=["tr", "tr", "tr", "va", "va"], group=["", "", "", "P", "P"]),
            {},
            r"split\.side_column needs at least 2 different images to validate on .* Column 'fold' has 1\.",
        ),
        (singles(3).assign(side=["tr", "te", "te"]), {}, "validation_fraction needs at least 3 .*Got 1 in 1 row, for"),
    ],
)
def test_what_cannot_be_divided_says_why(index, options, message):
    column = {"side_column": "fold", "sides": MEANING} if "side" in index else {}
    with pytest.raises(UserError, match=message) as caught:
        divided(index, **{"validation_fraction": 0.3, **column, **options})
    assert str(caught.value).startswith("params.yaml: split.")


def error_of(index, options):
    try:
        divided(index, **options)
    except UserError as error:
        return str(error)
    return ""


@given(index=tables(), fraction=st.sampled_from([0.001, 0.05, 0.2, 0.5, 0.999]), test=st.sampled_from([0.0, 0.01, 0.9]))
@settings(max_examples=150, deadline=None)
def test_the_values_offered_in_an_error_work(index, fraction, test):
    options = {"validation_fraction": fraction, "test_fraction": test}
    for _ in range(2):  # the test is drawn first; its fraction may be wrong, and then that of the validation
        error = error_of(index, options)
        if not error or "no value works" in error:
            return
        offered = re.search(r"split\.(\w+_fraction) must .* Use (?:a value from (\S+) to (\S+)|(\S+))\.$", error)
        assert offered, error
        found, low, high, only = offered.groups()
        for value in (low, high) if low else (only,):
            assert f"split.{found}" not in error_of(index, {**options, found: float(value)})
        options[found] = float(low or only)
        if found == "validation_fraction":
            break
    assert error_of(index, options) == ""


def test_counts_of_two_sides_and_of_four():
    targets = np.array([[1, 0], [1, 1], [0, 1], [1, 2]], np.uint8)
    split = Split(np.array(["validation", "train", "train", "train"]), np.array([0, 1, 2, 0]), [])
    assert sides.counts(split, targets, ["Drama", "N/A"]) == {
        "rows": {"train": 3, "validation": 1},
        "groups": 3,
        "labels": [{"label": "Drama", "train": 2, "validation": 1}, {"label": "N/A", "train": 2, "validation": 0}],
    }
    split = Split(np.array(["validation", "train", "leave_out", "test"]), np.arange(4), [])
    assert sides.counts(split, targets, ["Drama", "N/A"]) == {
        "rows": {"train": 1, "validation": 1, "test": 1, "leave_out": 1},
        "groups": 4,
        "labels": [
            {"label": "Drama", "train": 1, "validation": 1, "test": 1},
            {"label": "N/A", "train": 1, "validation": 0, "test": 0},  # 2 is unknown
        ],
    }
    assert sides.in_words({"train": 3000, "validation": 1, "test": 2, "leave_out": 4}) == (
        "3,000 rows for training, 1 for validation, 2 for the test, 4 left out."
    )


def test_a_side_of_which_nothing_is_known_is_refused():
    found = np.array(["train", "validation", "validation", "leave_out"])
    sides.check_known(found, np.array([[2, 0], [2, 2], [1, 2], [2, 2]], np.uint8))
    with pytest.raises(UserError, match=r"Got none among the 2 rows of side validation\. Give it more rows"):
        sides.check_known(found, np.array([[1, 0], [2, 2], [2, 2], [1, 1]], np.uint8))


def test_settled_sides_are_not_changed_in_place():
    given_sides = np.array(["train"] * 10)
    draw(names(10), np.arange(10), SplitOptions(0.3), seed=0, given=given_sides)
    assert set(given_sides) == {"train"}

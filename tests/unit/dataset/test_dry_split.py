"""The split as the table alone tells it."""

import pytest

from posterity.dataset.dry_split import dry_split
from posterity.dataset.options import TableForm
from posterity.errors import UserError
from posterity.splitting.options import SplitOptions
from posterity.splitting.sides import count_rows


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "labels.csv"
    lines = [f"img{k},cat,P{k // 2},{'tr' if k < 8 else ' TE '}" for k in range(12)]
    path.write_text("\n".join(["Id,Genre,patient,fold", *lines, "img0,cat,P0,tr"]) + "\n", encoding="utf-8")
    return path


def test_rows_of_one_id_or_group_are_one_and_no_image_is_another(table):
    form = TableForm("Id", "Genre", label_columns=())
    split = dry_split(table, form, SplitOptions(0.25), seed=0)
    assert (len(split.groups), split.groups.max() + 1) == (13, 12)
    split = dry_split(
        table, TableForm("Id", "Genre", label_columns=(), group_column="patient"), SplitOptions(0.3), seed=0
    )
    assert split.groups.max() + 1 == 6


def test_a_side_column_is_read(table):
    form = TableForm("Id", "Genre", label_columns=(), side_column="fold")
    options = SplitOptions(0.25, side_column="fold", sides={"tr": "train", "te": "test"})
    assert count_rows(dry_split(table, form, options, seed=0).sides) == {"train": 7, "validation": 2, "test": 4}


def test_what_stops_the_split_stops_here(table):
    with pytest.raises(UserError, match=r"split\.sides must say .* no line for 'tr' in 9 rows, 'TE' in 4 rows"):
        dry_split(table, TableForm("Id", side_column="fold"), SplitOptions(0.25, side_column="fold"), seed=0)
    with pytest.raises(UserError, match=r"validation_fraction must leave .* Got 0\.01"):
        dry_split(table, TableForm("Id"), SplitOptions(0.01), seed=0)
    with pytest.raises(UserError, match=r"no column 'Patient' \(split\.group_column\); the nearest is 'patient'"):
        dry_split(table, TableForm("Id", group_column="Patient"), SplitOptions(0.1), seed=0)

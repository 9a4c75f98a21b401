import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posterity import predictions
from posterity.errors import UserError
from posterity.predictions import Prediction

LABELS = ["Drama", "N/A", "Sci-Fi, Horror"]
SCORES = np.array([0.25, 0.5, 0.125])
# Decided by thresholds of the labels' own: the likeliest label may be none of them.
DECIDED = np.array([True, False, True])
SCORED = Prediction("a.jpg", LABELS, SCORES, DECIDED)
BROKEN = Prediction("b,c.jpg", LABELS, error="cannot be decoded: truncated")


def written(form, *given, top_k=3, threshold=None, label_names=LABELS, excel_safe=False, exactly_one=False):
    stream = io.StringIO()
    options = {"label_names": label_names, "top_k": top_k, "threshold": threshold, "excel_safe": excel_safe}
    options["exactly_one"] = exactly_one
    failures = predictions.write(iter(given), stream, form=form, **options)
    return stream.getvalue(), failures


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("new/b.jpg", "new/a.JPEG", "new/notes.txt", "new/b/z.png", "new/b/a.webp", "new/c/d/e.gif", "x.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("new/folder.jpg").mkdir()
    Path("empty").mkdir()
    return tmp_path


def test_a_folder_is_searched_to_the_bottom_for_image_suffixes(folder):
    # A folder that is called like an image and has none is listed: an image is missing there.
    found = ["new/a.JPEG", "new/b/a.webp", "new/b/z.png", "new/b.jpg", "new/c/d/e.gif", "new/folder.jpg"]
    assert predictions.find_images(["new"]) == predictions.find_images(["new/"]) == found
    assert predictions.find_images([str(folder / "new/b")]) == [
        str(folder / "new/b" / name) for name in ("a.webp", "z.png")
    ]


def test_a_pattern_stands_for_the_files_it_matches(folder):
    assert predictions.find_images(["new/*"]) == ["new/a.JPEG", "new/b.jpg", "new/notes.txt"]
    assert predictions.find_images(["new/?.jpg"]) == ["new/b.jpg"]
    assert predictions.find_images([str(folder / "new/[ab].*")]) == [
        str(folder / f"new/{name}") for name in ("a.JPEG", "b.jpg")
    ]
    assert predictions.find_images(["new/**/*.png"]) == ["new/b/z.png"]
    files = ["new/a.JPEG", "new/b.jpg", "new/b/a.webp", "new/b/z.png", "new/c/d/e.gif", "new/notes.txt"]
    assert predictions.find_images(["new/**"]) == files


def test_the_order_of_the_inputs_is_kept_and_repetitions_too(folder):
    assert predictions.find_images(["x.png", "gone.jpg", "new/b", "x.png", "new/?.jpg"]) == [
        "x.png", "gone.jpg", "new/b/a.webp", "new/b/z.png", "x.png", "new/b.jpg",
    ]  # fmt: skip


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder):
    Path("poster[1].png").touch()
    Path("poster1.png").touch()
    assert predictions.find_images(["poster[1].png"]) == ["poster[1].png"]
    Path("poster[1].png").unlink()
    assert predictions.find_images(["poster[1].png"]) == ["poster1.png"]


@pytest.mark.parametrize("name", ["gone.jpg", "x.png/y.jpg", "notes.txt", "a" * 300, "a\0b.jpg", ""])
def test_a_single_file_stands_for_itself_whatever_is_there(folder, name):
    assert predictions.find_images([name]) == [name]


@pytest.mark.parametrize("nothing", ["empty", "gone/*.jpg", "new/*.tif", "new/c/*"])
def test_a_folder_or_pattern_without_files_is_a_mistake(folder, nothing):
    with pytest.raises(UserError) as error:
        predictions.find_images([nothing])
    assert str(error.value) == f"{nothing}: expected image files there, found none. Check the path."
    # Beside others it is one input that cannot be read.
    assert predictions.find_images(["x.png", nothing]) == ["x.png", nothing]


def test_csv_holds_every_label_and_a_row_an_input_in_order():
    text, failures = written("csv", SCORED, BROKEN, top_k=1)
    assert text == (
        'path,error,labels,Drama,N/A,"Sci-Fi, Horror"\n'
        'a.jpg,,"[""Drama"", ""Sci-Fi, Horror""]",0.250000,0.500000,0.125000\n'
        '"b,c.jpg",cannot be decoded: truncated,,,,\n'
    )
    assert failures == 1


def test_csv_of_nothing_is_its_header():
    assert written("csv", label_names=["A"]) == ("path,error,labels,A\n", 0)


CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=60, deadline=None)
@given(path=CELLS, error=CELLS, label=CELLS)
def test_csv_comes_back_whatever_the_text(path, error, label):
    text, _ = written("csv", Prediction(path, LABELS, error=error), SCORED, label_names=[label, "b", "c"])
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == ["path", "error", "labels", label, "b", "c"]
    assert rows[1] == [path, error, "", "", "", ""]
    assert (rows[2][:2], rows[2][3:]) == (["a.jpg", ""], ["0.250000", "0.500000", "0.125000"])
    assert json.loads(rows[2][2]) == [label, "c"]


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "  =1+1", "\ufeff=1", "\u200b@x", "＝1+1"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_excel_safe_puts_an_apostrophe_before_a_formula_and_leaves_the_numbers(cell):
    text, _ = written(
        "csv", Prediction(cell, LABELS, error=cell), SCORED, label_names=[cell, "b", "c"], excel_safe=True
    )
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == ["path", "error", "labels", f"'{cell}", "b", "c"]
    assert rows[1][:2] == [f"'{cell}", f"'{cell}"]
    assert rows[2][3:] == ["0.250000", "0.500000", "0.125000"]
    assert json.loads(rows[2][2])[0] == cell  # a list begins with a bracket, which is no formula


def test_excel_safe_changes_nothing_else():
    plain = Prediction("a=b/-c.jpg", LABELS, error="5 - 3 = 2")
    assert written("csv", plain, SCORED, excel_safe=True) == written("csv", plain, SCORED)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(path=CELLS | st.sampled_from(FORMULAS) | st.sampled_from(FORMULAS).map("'{}".format))
def test_excel_safe_is_undone_by_taking_one_apostrophe_off(path):
    text, _ = written("csv", Prediction(path, LABELS, error="x"), excel_safe=True)
    cell = list(csv.reader(io.StringIO(text, newline="")))[1][0]
    assert cell.removeprefix("'") == path
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_is_shown_csv_with_escapes_and_a_file_is_not():
    stream = Terminal()
    name = "a\x1b]0;x\x07\r.jpg"
    predictions.write([Prediction(name, LABELS, error="x")], stream, form="csv", label_names=["\u202e"])
    assert stream.getvalue() == "path,error,labels,\\u202e\na\\x1b]0;x\\x07\\r.jpg,x,,\n"
    assert written("csv", Prediction(name, LABELS, error="x"), label_names=["\u202e"])[0] == (
        f'path,error,labels,\u202e\n"{name}",x,,\n'
    )


def test_json_lines_hold_no_control_character_and_mean_the_same():
    name = "\x9b31m\u202e\x7f\x1b.jpg"
    text, _ = written("jsonl", Prediction(name, LABELS, error=name))
    assert text.removesuffix("\n").isprintable()
    assert json.loads(text) == {"path": name, "error": name}


def test_table_shows_what_is_decided_and_after_a_bar_what_comes_next():
    assert written("table", SCORED, BROKEN) == (
        "a.jpg: Drama 0.250  Sci-Fi, Horror 0.125 | N/A 0.500\nb,c.jpg: ERROR: cannot be decoded: truncated\n",
        1,
    )


@pytest.mark.parametrize(
    ("top_k", "threshold", "shown"),
    [
        (99, None, "Drama 0.250  Sci-Fi, Horror 0.125 | N/A 0.500"),
        (1, None, "Drama 0.250  Sci-Fi, Horror 0.125"),  # what is decided is never cut
        (3, 0.25, "N/A 0.500  Drama 0.250 | Sci-Fi, Horror 0.125"),
        (2, 0.25, "N/A 0.500  Drama 0.250"),
        (2, 0.3, "N/A 0.500 | Drama 0.250"),
        (3, 0.0, "N/A 0.500  Drama 0.250  Sci-Fi, Horror 0.125"),
        (2, 0.51, "- | N/A 0.500  Drama 0.250"),
    ],
)
def test_table_with_top_k_and_threshold(top_k, threshold, shown):
    assert written("table", SCORED, top_k=top_k, threshold=threshold) == (f"a.jpg: {shown}\n", 0)


def test_jsonl_holds_all_scores_and_the_decided_labels():
    text, failures = written("jsonl", SCORED, BROKEN, top_k=1)
    first, second = map(json.loads, text.splitlines())
    assert first == {
        "path": "a.jpg",
        "labels": ["Drama", "Sci-Fi, Horror"],
        "scores": {"Drama": 0.25, "N/A": 0.5, "Sci-Fi, Horror": 0.125},
    }
    assert second == {"path": "b,c.jpg", "error": "cannot be decoded: truncated"}
    assert failures == 1


@pytest.mark.parametrize(("threshold", "labels"), [(None, ["a"]), (0.2, ["a"]), (0.6, ["a"]), (0.7, [])])
def test_a_threshold_leaves_the_one_label_or_none(threshold, labels):
    given = Prediction("a.jpg", ("a", "b"), np.array([0.6, 0.4]), np.array([True, False]))
    found = written("jsonl", given, threshold=threshold, label_names=("a", "b"), exactly_one=True)[0]
    assert json.loads(found)["labels"] == labels


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [(None, ["Drama", "Sci-Fi, Horror"]), (0.25, ["N/A", "Drama"]), (0.0, ["N/A", "Drama", "Sci-Fi, Horror"]), (1, [])],
)
def test_a_threshold_overrides_what_the_model_decides(threshold, labels):
    assert json.loads(written("jsonl", SCORED, threshold=threshold)[0])["labels"] == labels
    (row,) = csv.DictReader(io.StringIO(written("csv", SCORED, threshold=threshold)[0]))
    assert json.loads(row["labels"]) == labels
    assert DECIDED.tolist() == [True, False, True]


def test_jsonl_rounds_as_the_other_files_do():
    prediction = Prediction("ä.jpg", ("A",), np.array([1 / 3], np.float32), np.array([True]))
    assert written("jsonl", prediction, label_names=["A"])[0] == (
        '{"path": "ä.jpg", "labels": ["A"], "scores": {"A": 0.333333}}\n'
    )


@pytest.mark.parametrize("form", predictions.FORMATS)
def test_a_file_name_that_is_no_unicode_is_written_in_escapes(tmp_path, form):
    name = os.fsdecode(b"caf\xe9.jpg")
    with (tmp_path / "out").open("w", encoding="utf-8") as stream:
        given = [Prediction(name, LABELS, error="no such file")]
        predictions.write(given, stream, form=form, label_names=["A"])
    text = (tmp_path / "out").read_text(encoding="utf-8")
    assert (json.loads(text)["path"] if form == "jsonl" else text.splitlines()[-1]).startswith("caf\\udce9.jpg")


def test_json_stays_json_where_the_terminal_lacks_letters(tmp_path):
    prediction = Prediction("\u00e9.jpg", ("\u00fc",), np.array([0.5]), np.array([True]))
    path = tmp_path / "out"
    for form, expected in [
        ("jsonl", '{"path": "\\u00e9.jpg", "labels": ["\\u00fc"], "scores": {"\\u00fc": 0.5}}\n'),
        ("csv", 'path,error,labels,\\xfc\n\\xe9.jpg,,"[""\\u00fc""]",0.500000\n'),
        ("table", "\\xe9.jpg: \\xfc 0.500\n"),
    ]:
        with path.open("w", encoding="ascii", errors="backslashreplace", newline="") as stream:
            predictions.write([prediction], stream, form=form, label_names=["\u00fc"])
        assert path.read_text(encoding="ascii") == expected


def test_a_line_of_the_table_is_one_line_whatever_the_name_of_the_file():
    prediction = Prediction("a\nb\x1b[31m\x9b.jpg", LABELS, error="is\r empty")
    assert written("table", prediction)[0] == "a\\nb\\x1b[31m\\x9b.jpg: ERROR: is\\r empty\n"


@pytest.mark.parametrize("form", predictions.FORMATS)
def test_predictions_are_written_as_they_come(form):
    stream, seen = io.StringIO(), []

    def arriving():
        for name in ("a", "b"):
            yield Prediction(name, LABELS, error="broken")
            seen.append(name in stream.getvalue())

    predictions.write(arriving(), stream, form=form, label_names=[])
    assert seen == [True, True]


@settings(max_examples=100, deadline=None)
@given(cells=st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.booleans()), min_size=1, max_size=6))
def test_ranked_labels_against_a_plain_loop(cells):
    names = [f"label{k}" for k in range(len(cells))]
    left = list(range(len(cells)))
    expected: dict[bool, list[str]] = {True: [], False: []}
    while left:
        best = left[0]
        for k in left:  # of equals, the first
            if cells[k][0] > cells[best][0]:
                best = k
        left.remove(best)
        expected[cells[best][1]].append(names[best])
    scores, decided = map(np.array, zip(*cells, strict=True))
    assert predictions.ranked(scores, decided, names) == (expected[True], expected[False])

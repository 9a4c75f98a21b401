"""Readers of what stages hand on: each damage is one message with the file, what was expected and got, and the fix."""

import io
import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from posterity import reading
from posterity.cache import rows
from posterity.dataset import issues, manifest
from posterity.errors import UserError
from posterity.evaluation.score_file import read_scores
from posterity.splitting import split_file

SHA256 = "0" * 64
MANIFEST = f'line,id,path,sha256,bytes,width,height,labels\n2,a,images/a.jpg,{SHA256},9,4,3,"[""cat""]"\n'
ISSUES = "kind,line,id,detail\nno_label,2,a,x\nrare_label,,cat,y\n"
INDEX = f"line,id,sha256\n2,a,{SHA256}\n3,b,{SHA256}\n"
SPLIT = "line,id,side\n2,a,train\n3,b,validation\n"


def fix(path, stage):
    return (
        f" Delete it and run `dvc checkout {path}`, or `dvc repro --force --single-item {stage}` if that does not "
        "bring it back."
    )


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(text, values=b""):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + values


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").mkdir()
    for name, content in {
        "manifest.csv": MANIFEST.encode(),
        "labels.json": b'["cat", "N/A"]',
        "issues.csv": ISSUES.encode(),
        "split.csv": SPLIT.encode(),
        "scores.npy": npy(np.array([[0.25, 1.0]], np.float32)),
        "rows/index.csv": INDEX.encode(),
        "rows/targets.npy": npy(np.array([[1, 0], [2, 1]], np.uint8)),
        "rows/labels.json": b'["cat", "N/A"]',
    }.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def read_manifest_and_labels():
    table = manifest.read_manifest("manifest.csv")
    return manifest.targets(table, manifest.read_label_names("labels.json", table, "manifest.csv"))


READERS = {
    "manifest.csv": (read_manifest_and_labels, "validate"),
    "labels.json": (read_manifest_and_labels, "validate"),
    "issues.csv": (lambda: issues.read_issues("issues.csv"), "validate"),
    "split.csv": (lambda: split_file.read("split.csv", rows.read("rows").index), "split"),
    "scores.npy": (lambda: read_scores("scores.npy"), "train"),
    "rows/index.csv": (lambda: rows.read("rows"), "preprocess"),
    "rows/targets.npy": (lambda: rows.read("rows"), "preprocess"),
    "rows/labels.json": (lambda: rows.read("rows"), "preprocess"),
}


def test_what_is_sound_is_read(folder):
    assert read_manifest_and_labels().tolist() == [[1, 0]]
    assert [issue.line for issue in issues.read_issues("issues.csv")] == [2, None]
    assert [side.tolist() for side in READERS["split.csv"][0]()] == [[0], [1], []]
    assert read_scores("scores.npy").tolist() == [[0.25, 1.0]]
    assert rows.read("rows").targets.tolist() == [[1, 0], [2, 1]]


NPY = "none: "
DAMAGES = [
    ("manifest.csv", b"", "a CSV table in UTF-8. Got No columns to parse from file."),
    ("manifest.csv", b"\xff" + MANIFEST.encode(), "a CSV table in UTF-8. Got 'utf-8' codec can't decode byte 0xff"),
    ("manifest.csv", b'a,b\n1,2,3\n"', "a CSV table in UTF-8. Got Error tokenizing data."),
    ("manifest.csv", MANIFEST.replace("sha256", "sha255").encode(), "a column 'sha256'. Got the columns ['line', "),
    ("manifest.csv", MANIFEST.replace("2,a", "2x,a").encode(), "int64 in every cell of column 'line'. Got invalid lit"),
    ("manifest.csv", MANIFEST.replace("9,4", f"{'9' * 30},4").encode(), "int64 in every cell of column 'bytes'. Got "),
    (
        "manifest.csv",
        MANIFEST.replace(SHA256, "g" * 64).encode(),
        f"a sha256 in every cell of column 'sha256'. Got '{'g' * 64}'.",
    ),
    (
        "manifest.csv",
        MANIFEST.replace("[", "{").encode(),
        "a JSON list of labels in every cell of column 'labels'. Got '{\"cat\"]'.",
    ),
    ("manifest.csv", MANIFEST.replace("cat", "dog").encode(), "labels that labels.json names. Got 'dog'."),
    ("labels.json", b"", "JSON in UTF-8. Got Expecting value: line 1 column 1 (char 0)."),
    ("labels.json", b'["cat\xff"]', "JSON in UTF-8. Got 'utf-8' codec can't decode byte 0xff"),
    ("labels.json", b"[" * 100_000, "JSON in UTF-8. Got maximum recursion depth exceeded"),
    ("labels.json", b"[NaN]", "JSON in UTF-8. Got NaN, which is no JSON."),
    ("labels.json", b'{"cat": 1}', 'a JSON list of names. Got dict {"cat": 1}.'),
    ("labels.json", b'["cat", 1]', 'a JSON list of names. Got list ["cat", 1].'),
    ("labels.json", b'["cat", "cat"]', 'names that differ. Got list ["cat", "cat"].'),
    ("issues.csv", ISSUES.replace("no_label", "no_lable").encode(), "kinds of problems such as missing_image. Got"),
    ("issues.csv", ISSUES.replace("2,a", "-2,a").encode(), "a number or nothing in column 'line'. Got '-2'."),
    ("issues.csv", ISSUES.replace("detail", "details").encode(), "a column 'detail'. Got the columns ['kind'"),
    ("split.csv", b"", "a CSV table in UTF-8. Got No columns to parse from file."),
    ("scores.npy", b"", f"an .npy file. Got {NPY}"),
    ("scores.npy", b"PK\x03\x04" + bytes(99), f"an .npy file. Got {NPY}"),
    ("scores.npy", header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)"), f"an .npy file. Got {NPY}"),
    ("scores.npy", header("{'descr': ((((("), f"an .npy file. Got {NPY}"),
    (
        "scores.npy",
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1, 2), }\n", bytes(16)),
        "an array of float32 with 2 axes. Got one of object and shape (1, 2).",
    ),
    (
        "scores.npy",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000), }\n", bytes(8)),
        "4,000,000,000,000 bytes of values, for an array (1000000000, 1000) of float32. Got 8.",
    ),
    ("scores.npy", npy(np.zeros((1, 2))), "an array of float32 with 2 axes. Got one of float64 and shape (1, 2)."),
    ("scores.npy", npy(np.zeros(2, np.float32)), "an array of float32 with 2 axes. Got one of float32 and shape (2,)."),
    ("scores.npy", npy(np.array([[1.5, -1]], np.float32)), "scores that are finite and lie in [0, 1]. Got 1.5 (2 such"),
    ("rows/index.csv", INDEX.replace("3,b", "b,3").encode(), "int64 in every cell of column 'line'. Got invalid lit"),
    ("rows/index.csv", b"line,sha256\n2,x\n", "a column 'id'. Got the columns ['line', 'sha256']."),
    ("rows/targets.npy", npy(np.array([[1, 0], [3, 1]], np.uint8)), "0, 1 or 2 in every cell. Got 3."),
    ("rows/targets.npy", npy(np.zeros((2, 2), np.int8)), "an array of uint8 with 2 axes. Got one of int8 and "),
    ("rows/targets.npy", npy(np.zeros((2, 2), np.uint8))[:-1], "4 bytes of values, for an array (2, 2) of "),
    ("rows/labels.json", b'"cat"', 'a JSON list of names. Got str "cat".'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), DAMAGES, ids=range(len(DAMAGES)))
def test_damage_is_one_message(folder, name, content, message):
    (folder / name).write_bytes(content)
    read, stage = READERS[name]
    with pytest.raises(UserError) as error:
        read()
    assert str(error.value).startswith(f"{name}: expected {message}")
    assert str(error.value).endswith(fix(name, stage))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", READERS)
def test_every_flipped_bit_and_every_cut_is_read_or_one_message(folder, name):
    """Without dvc.lock a flip in the text of a cell cannot be seen; it must not end in a traceback, either."""
    whole = (folder / name).read_bytes()
    read, _ = READERS[name]
    said = []
    for damaged in [*flips(whole), *(whole[:length] for length in range(len(whole)))]:
        (folder / name).write_bytes(damaged)
        try:
            read()
        except UserError as error:
            said.append(str(error))
    assert len(said) > len(whole) / 4
    assert all(name in text or ("labels.json" in name and "manifest.csv" in text) or "rows/" in text for text in said)


def flips(content):
    for position in range(len(content)):
        for bit in (1, 128):
            yield content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :]


def test_a_header_that_asks_for_terabytes_gets_no_memory(folder):
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000), }\n"
    tracemalloc.start()
    with pytest.raises(UserError):
        reading.parsed_array(header(text, bytes(8)), "x.npy")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back(tmp_path, order):
    array = np.asarray(np.arange(6, dtype=np.int16).reshape(2, 3), order=order)
    np.save(tmp_path / "a.npy", array)
    back = reading.read_array(tmp_path / "a.npy")
    np.testing.assert_array_equal(back, array)
    back[0, 0] = 9  # one's own memory


def test_a_folder_and_a_missing_file(folder):
    (folder / "split.csv").unlink()
    with pytest.raises(UserError, match=r"^split\.csv does not exist\. An earlier stage makes it: run `dvc repro`\.$"):
        READERS["split.csv"][0]()
    (folder / "split.csv").mkdir()
    with pytest.raises(UserError, match=r"^split\.csv: cannot be read: a folder where a file is expected\. "):
        READERS["split.csv"][0]()


def test_every_reader_asks_dvc_lock(folder):
    outs = {
        "validate": ["manifest.csv", "labels.json", "issues.csv"],
        "preprocess": ["rows"],
        "split": ["split.csv"],
        "train": ["scores.npy"],
    }
    md5 = {"rows": "0" * 32 + ".dir"}
    stages = {
        stage: {"outs": [{"path": path, "hash": "md5", "md5": md5.get(path, "0" * 32)} for path in paths]}
        for stage, paths in outs.items()
    }
    for stage, paths in outs.items():
        for path in paths:
            alone = {"outs": [out for out in stages[stage]["outs"] if out["path"] == path]}
            (folder / "dvc.lock").write_text(json.dumps({"stages": {stage: alone}}))
            read, _ = READERS.get(path, READERS["rows/index.csv"])
            with pytest.raises(UserError, match=rf"^{path}: expected the bytes that stage {stage} made \(md5 0000"):
                read()


def test_numbers_that_pandas_would_round_are_refused(tmp_path):
    pd.DataFrame({"line": ["2.0"]}).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(UserError, match=r"x\.csv: expected int64 in every cell of column 'line'"):
        reading.read_csv(tmp_path / "x.csv", "validate", ["line"], line="int64")

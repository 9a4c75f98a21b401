import codecs
import gzip
import io
import json
import subprocess
import zipfile

import pytest

from posterity.dataset import text_file
from posterity.errors import UserError

TEXT = "Id,Genre\nx,café\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    ],
)
def test_encodings_that_are_read(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    assert text_file.read(tmp_path / "t.csv") == TEXT


def archive(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name in names:
            made.writestr(name, "x")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        (archive("xl/workbook.xml"), ["an Excel workbook (.xlsx)", "posterity import excel"]),
        (archive("a/labels.csv"), ["a zip archive with a/labels.csv in it", "unzip"]),
        (archive("content.xml"), ["OpenDocument", "Save it as CSV"]),
        (gzip.compress(b"Id", mtime=0), ["a gzip archive", "gzip -dc"]),
        (b"PAR1....", ["a Parquet file", "posterity import parquet"]),
        (json.dumps({"images": [], "annotations": []}).encode(), ["in the form of COCO", "posterity import coco"]),
        (json.dumps([{"annotations": [], "data": {}}]).encode(), ["Label Studio", "posterity import label-studio"]),
        (b'{"a": 1}\n{"a": 2}\n', ["JSON lines", "posterity import jsonl"]),
        (b'[\n {"a": 1}\n]', ["JSON, not CSV"]),
        (b"<?xml version='1.0'?>\n<annotations>", ["CVAT", "posterity import cvat"]),
        (b"<annotation><folder>", ["Pascal VOC", "posterity import voc"]),
        (b"<!DOCTYPE html><html>", ["a web page"]),
        (b"version https://git-lfs.github.com/spec/v1\noid x", ["a pointer of Git LFS", "git lfs pull"]),
        (b"\xff\xd8\xff\xe0", ["a JPEG image"]),
        (codecs.BOM_UTF32_LE + "Id".encode("utf-32-le"), ["Got UTF-32", "iconv -f utf-32 -t utf-8"]),
        ("Id,A\n".encode("utf-16-be"), ["as UTF-16 without a byte-order mark has", "iconv -f utf-16be"]),
        (codecs.BOM_UTF16_LE + b"a\0b", ["begins like UTF-16"]),
    ],
)
def test_what_is_no_text_table_is_named_with_a_way_on(tmp_path, content, fragments):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        text_file.read(path)
    for fragment in fragments:
        assert fragment in str(error.value)
    assert str(error.value).startswith(f"{path}: ") or f"{path}, line 1: " in str(error.value)


@pytest.mark.parametrize("text", ["[x],Genre\n1,a\n", "{id},Genre\n1,a\n", "<a>,b\n1,2\n"])
def test_a_header_that_begins_with_a_bracket_is_still_a_header(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    if text.startswith("<"):
        with pytest.raises(UserError, match="an XML file"):
            text_file.read(tmp_path / "t.csv")
    else:
        assert text_file.read(tmp_path / "t.csv") == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "latin-1"])
def test_the_advised_command_works_and_spares_what_is_there(tmp_path, monkeypatch, encoding):
    monkeypatch.chdir(tmp_path)
    before = TEXT.encode(encoding)
    (tmp_path / "my labels.csv").write_bytes(before)
    (tmp_path / "my labels-utf8.csv").write_text("precious")
    with pytest.raises(UserError) as error:
        text_file.read("my labels.csv")
    command = str(error.value).split("`")[1]
    subprocess.run(command, shell=True, check=True)
    assert (tmp_path / "my labels.csv").read_bytes() == before
    assert (tmp_path / "my labels-utf8.csv").read_text() == "precious"
    assert "set data.labels: my labels-utf8-2.csv" in str(error.value)
    assert text_file.read("my labels-utf8-2.csv") == TEXT

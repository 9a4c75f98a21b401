"""Digests of many files at once."""

import hashlib
import os
import resource
from pathlib import Path

import pytest

from posterity.verifying import hashing
from posterity.verifying.hashing import BLOCK, Contents, Readings, mismatch

# Of RFC 1321 and FIPS 180-4.
MD5_ABC = "900150983cd24fb0d6963f7d28e17f72"
SHA256_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_both_digests_come_from_one_reading(tmp_path):
    path, link = tmp_path / "abc", tmp_path / "link"
    path.write_bytes(b"abc")
    os.link(path, link)
    readings = Readings()
    readings.want(path, "md5")
    readings.want(link, "sha256")
    readings.read_all(workers=2)
    assert readings[path].digests == {"md5": MD5_ABC, "sha256": SHA256_ABC}
    assert readings[link] == readings[path]
    assert readings.num_bytes == 3


def test_a_file_of_several_blocks_is_read_to_its_end(tmp_path):
    path = tmp_path / "zeros"
    path.write_bytes(bytes(2 * BLOCK + 5))
    readings = Readings()
    readings.want(path, "md5")
    readings.read_all()
    assert readings[path].size == 2 * BLOCK + 5
    # As `head -c 2097157 /dev/zero | md5sum` says.
    assert readings[path].digests["md5"] == "3348f1c45788fb74b29c767941952d7f"


def test_what_cannot_be_read_has_a_problem_and_no_digest(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dead").symlink_to("nowhere")
    readings = Readings()
    for name in ("pipe", "dead", "missing"):
        readings.want(tmp_path / name, "md5")
    readings.read_all()
    assert readings[tmp_path / "pipe"].problem == "it is no regular file"
    assert readings[tmp_path / "dead"].problem == readings[tmp_path / "missing"].problem == "No such file or directory"


LONG = bytes(range(256)) * (BLOCK // 256) * 2 + b"the end"
MD5_LONG = hashlib.md5(LONG).hexdigest()


def read_as_twins(tmp_path, *contents):
    """Read files that should all have the content LONG; returns what was found of each."""
    readings = Readings()
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
        readings.want(tmp_path / str(number), "md5", MD5_LONG)
    readings.want(tmp_path / "0", "sha256")
    readings.read_all()
    return [readings[tmp_path / str(number)] for number in range(len(contents))]


def test_of_files_with_one_content_one_is_hashed(tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(hashing.hashlib, "new", lambda name, **_: hashed.append(name) or hashlib.md5())
    found = read_as_twins(tmp_path, LONG, LONG, LONG)
    assert [contents.digests["md5"] for contents in found] == [MD5_LONG] * 3
    assert hashed == ["md5", "sha256"]


@pytest.mark.parametrize("damaged", [0, 1, 2])
@pytest.mark.parametrize(
    "content",
    [
        b"X" + LONG[1:],
        LONG[:BLOCK] + b"X" + LONG[BLOCK + 1 :],
        LONG[:-1] + b"X",
        LONG[:-1],
        LONG + b"X",
        LONG[:BLOCK],
        b"",
    ],
    ids=["first", "second block", "last", "shorter", "longer", "one block", "empty"],
)
def test_each_of_the_files_has_its_own_digest(tmp_path, damaged, content):
    contents = [LONG] * 3
    contents[damaged] = content
    found = read_as_twins(tmp_path, *contents)
    assert [one.digests["md5"] for one in found] == [hashlib.md5(content).hexdigest() for content in contents]
    assert [one.size for one in found] == [len(content) for content in contents]


def test_the_bytes_of_all_of_them_count(tmp_path):
    readings = Readings()
    for name in "012":
        (tmp_path / name).write_bytes(LONG)
        readings.want(tmp_path / name, "md5", MD5_LONG)
    readings.read_all()
    assert readings.num_bytes == 3 * len(LONG)


@pytest.mark.parametrize("lost", [0, 1])
def test_one_that_cannot_be_read_leaves_the_other_readable(tmp_path, monkeypatch, lost):
    def opened(path, *args, **kwargs):
        if path.name == str(lost):
            raise PermissionError(13, "Permission denied")
        return really(path, *args, **kwargs)

    really = Path.open
    readings = Readings()
    for name in "01":
        (tmp_path / name).write_bytes(LONG)
        readings.want(tmp_path / name, "md5", MD5_LONG)
    monkeypatch.setattr(Path, "open", opened)
    readings.read_all()
    assert readings[tmp_path / str(lost)] == Contents(problem="Permission denied")
    assert readings[tmp_path / str(1 - lost)].digests == {"md5": MD5_LONG}


@pytest.mark.parametrize("growing", ["0", "1"])
def test_a_file_that_grows_while_it_is_read_is_not_taken_for_the_other(tmp_path, monkeypatch, growing):
    def compare(twin, block, size):
        compared(twin, block, size)
        if size == 3:
            with (tmp_path / growing).open("ab") as file:
                file.write(b"X")

    compared = hashing._Twin.compare
    monkeypatch.setattr(hashing._Twin, "compare", compare)
    first, second = read_as_twins(tmp_path, b"abc", b"abc")
    if growing == "0":
        assert (first.problem, second.digests["md5"]) == ("it was changed while it was read", MD5_ABC)
    else:
        assert (first.digests["md5"], second.digests["md5"]) == (MD5_ABC, hashlib.md5(b"abcX").hexdigest())


def test_thousands_of_files_with_one_content_are_not_open_at_once(tmp_path, monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 20, hard))
    try:
        found = read_as_twins(tmp_path, *[b"abc"] * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {contents.digests.get("md5") for contents in found} == {MD5_ABC}


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (Contents({"md5": "a"}, 3), ""),
        (Contents({"md5": "b"}, 1234), "expected md5 a, got b (1,234 bytes)"),
        (Contents(problem="Permission denied"), "Permission denied"),
    ],
)
def test_a_mismatch_says_what_was_expected_and_got(contents, expected):
    assert mismatch(contents, {"md5": "a"}) == expected


def test_nothing_wanted_reads_nothing(tmp_path: Path) -> None:
    readings = Readings()
    readings.read_all()
    assert readings.num_bytes == 0

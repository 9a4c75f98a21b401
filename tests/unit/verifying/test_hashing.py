"""Digests of many files at once."""

import os
from pathlib import Path

import pytest

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

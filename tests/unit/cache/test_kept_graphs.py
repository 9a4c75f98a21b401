import hashlib
import os

import pytest

from posterity.cache import kept_graphs, reuse_folder
from posterity.cache.kept_graphs import KeptGraphs


def test_a_graph_comes_back_by_its_name_and_key(tmp_path):
    graphs = KeptGraphs(tmp_path / "reuse", "a")
    graphs.keep("float32", b"one\ntwo")
    graphs.keep("int8", b"")
    assert (graphs.read("float32"), graphs.read("int8")) == (b"one\ntwo", b"")
    assert KeptGraphs(tmp_path / "reuse", "b").read("float32") is None
    kept = tmp_path / "reuse/graphs/float32-a.graph"
    assert kept.read_bytes() == hashlib.sha256(b"one\ntwo").hexdigest().encode() + b"\none\ntwo"


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:70] + b"?" + data[71:]]
)
def test_a_damaged_one_is_not_used_and_is_replaced(tmp_path, damage):
    graphs = KeptGraphs(tmp_path / "reuse", "a")
    graphs.keep("int8", b"0123456789")
    path = graphs.path("int8")
    path.write_bytes(damage(path.read_bytes()))
    assert graphs.read("int8") is None
    graphs.keep("int8", b"0123456789")
    assert graphs.read("int8") == b"0123456789"


def test_without_a_folder_nothing_is_kept():
    graphs = KeptGraphs(None, "a")
    graphs.keep("int8", b"x")
    assert graphs.read("int8") is None


def test_the_newest_are_kept(tmp_path):
    for number in range(kept_graphs.MOST_KEPT + 2):
        graphs = KeptGraphs(tmp_path / "reuse", f"{number}")
        graphs.keep("int8", b"x")
        os.utime(graphs.path("int8"), (number, number))
    left = {path.name for path in (tmp_path / "reuse/graphs").iterdir()}
    # The last one is younger than all when it is written, so the oldest one beside it went.
    assert left == {f"int8-{number}.graph" for number in range(2, kept_graphs.MOST_KEPT + 2)}


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "reuse").write_text("a file")
    graphs = KeptGraphs(tmp_path / "reuse", "a")
    graphs.keep("int8", b"x")
    assert graphs.read("int8") is None


def test_the_folder_is_recognised_and_a_file_of_the_users_is_not_touched(tmp_path):
    KeptGraphs(tmp_path / "reuse", "a").keep("int8", b"x")
    reuse_folder.check_folder(tmp_path / "reuse", {})
    (tmp_path / "reuse/graphs/mine.txt").write_text("mine")
    with pytest.raises(Exception, match="which holds graphs/mine.txt. Nothing was changed"):
        reuse_folder.check_folder(tmp_path / "reuse", {})
    reuse_folder.remove(tmp_path / "reuse/graphs")
    assert [path.name for path in (tmp_path / "reuse/graphs").iterdir()] == ["mine.txt"]

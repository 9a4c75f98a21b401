import hashlib
import os
import time
from pathlib import Path

import pytest
from PIL import Image

from posterity.dataset import image_files
from posterity.dataset.image_files import ImageFacts, inspect
from posterity.pixels import decode
from posterity.pixels.decode import ImageProblem
from posterity.pixels.spec import Limits
from posterity.workers.threads import threads

OLD_NS = 10**18  # 2001


class Folder:
    """Image files, and a count of those that are read."""

    def __init__(self, root):
        self.root = root
        self.note = root / "note.json"
        self.read = []

    def mapper(self, function, chunks):
        for chunk in chunks:
            self.read += [Path(path).name for path in chunk]
            yield function(chunk)

    def image(self, name, shade, mtime_ns=OLD_NS):
        path = self.root / name
        Image.new("L", (4, 5), shade).save(path)
        os.utime(path, ns=(mtime_ns, mtime_ns))
        return path

    def inspect(self, *names, **limits):
        self.read = []
        found = inspect([str(self.root / name) for name in names], Limits(**limits), self.mapper, self.note)
        return [found[str(self.root / name)] for name in names]


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def facts(path, width=4, height=5):
    content = path.read_bytes()
    return ImageFacts(hashlib.sha256(content).hexdigest(), len(content), width, height)


def test_facts_of_files(folder):
    paths = [folder.image("a.png", 1), folder.image("b.png", 2)]
    assert folder.inspect("a.png", "b.png") == [facts(path) for path in paths]
    with_threads = inspect([str(path) for path in paths], Limits(), threads(2))
    assert with_threads == {str(path): facts(path) for path in paths}


def test_only_new_files_are_read(folder):
    folder.image("a.png", 1)
    folder.inspect("a.png")
    new = folder.image("b.png", 2)
    assert folder.inspect("b.png", "a.png")[0] == facts(new)
    assert folder.read == ["b.png"]
    folder.inspect("b.png", "a.png")
    assert folder.read == []


def test_without_a_note_every_file_is_read(folder):
    path = str(folder.image("a.png", 1))
    for _ in range(2):
        folder.read = []
        inspect([path], Limits(), folder.mapper)
        assert folder.read == ["a.png"]
    assert list(folder.root.iterdir()) == [Path(path)]


@pytest.mark.parametrize("change", ["content", "time", "inode"])
def test_a_file_that_changed_is_read(folder, change):
    path = folder.image("a.png", 1)
    folder.inspect("a.png")
    if change == "content":
        path.write_bytes(path.read_bytes() + b"!")
        os.utime(path, ns=(OLD_NS, OLD_NS))
    elif change == "time":
        os.utime(path, ns=(OLD_NS, OLD_NS + 1))
    else:
        other = folder.image("other.png", 2)
        assert other.stat().st_size == path.stat().st_size
        other.replace(path)
    assert folder.inspect("a.png") == [facts(path)]
    assert folder.read == ["a.png"]


def test_a_file_of_just_now_is_read_again(folder):
    # A second write within the same tick of the clock would leave size, time and inode as they are.
    path = folder.image("a.png", 1, time.time_ns())
    assert folder.inspect("a.png") == [facts(path)]
    assert folder.inspect("a.png") == [facts(path)]
    assert folder.read == ["a.png"]


def test_problems_are_looked_at_again(folder):
    (folder.root / "a.png").write_bytes(b"none")
    os.utime(folder.root / "a.png", ns=(OLD_NS, OLD_NS))
    for _ in range(2):
        broken, missing = folder.inspect("a.png", "b.png")
        assert isinstance(broken, ImageProblem)
        assert (broken.kind, missing.kind) == ("unreadable_image", "missing_image")
        assert folder.read == ["a.png", "b.png"]


def test_a_lower_limit_holds_for_known_files(folder):
    folder.image("a.png", 1)
    folder.inspect("a.png")
    (found,) = folder.inspect("a.png", max_pixels=19)
    assert found.kind == "oversized_image"


def test_files_that_are_gone_are_forgotten(folder):
    folder.image("a.png", 1)
    folder.image("b.png", 2)
    folder.inspect("a.png", "b.png")
    folder.inspect("b.png")
    folder.inspect("a.png", "b.png")
    assert folder.read == ["a.png"]


@pytest.mark.parametrize("spoil", [lambda note: note[:-3], lambda _: b"", lambda note: note.replace(b"1", b"2"), None])
def test_a_note_that_is_damaged_is_not_used(folder, spoil):
    path = folder.image("a.png", 1)
    folder.inspect("a.png")
    if spoil:
        folder.note.write_bytes(spoil(folder.note.read_bytes()))
    else:
        folder.note.unlink()
    assert folder.inspect("a.png") == [facts(path)]
    assert folder.read == ["a.png"]
    folder.inspect("a.png")
    assert folder.read == []


def test_code_that_changed_reads_all(folder, monkeypatch, tmp_path):
    folder.image("a.png", 1)
    folder.inspect("a.png")
    for module in (decode, image_files):
        edited = tmp_path / "edited.py"
        edited.write_bytes(Path(str(module.__file__)).read_bytes() + b"# edited")
        with monkeypatch.context() as patch:
            patch.setattr(module, "__file__", str(edited))
            patch.setitem(vars(image_files), "__file__", image_files.__file__)
            folder.inspect("a.png")
            assert folder.read == ["a.png"]
        folder.inspect("a.png")


def test_known_files_are_read_again_if_other_formats_or_scans_are_allowed(folder):
    folder.image("a.png", 1)
    folder.inspect("a.png")
    (found,) = folder.inspect("a.png", formats=("jpeg",))
    assert (found.kind, folder.read) == ("unreadable_image", ["a.png"])
    folder.inspect("a.png")
    folder.inspect("a.png", formats=("png", "jpeg"))
    folder.inspect("a.png", formats=("jpeg", "png"), max_pixels=1000, max_side=5)
    assert folder.read == []
    folder.inspect("a.png", formats=("jpeg", "png"), max_scans=5)
    assert folder.read == ["a.png"]
    (found,) = folder.inspect("a.png", formats=("jpeg", "png"), max_scans=5, max_side=4)
    assert str(found) == "4 x 5 pixels, over image.max_side = 4"

"""The real `dvc repro features` after small changes: what is decoded, and what DVC makes of the shards that stay."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from small_project import ROOT, SmallProject

COPIED = [
    "src", ".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "data/.gitignore", "data/backbones/.gitignore"
]  # fmt: skip

pytestmark = pytest.mark.slow


class Project(SmallProject):
    """A Git and DVC repository with the stages of this checkout, no backbone; 24 images in shards of 10."""

    def __init__(self, folder):
        super().__init__(folder)
        self.params({"machine.reuse_folder": "data/.reuse", "data.min_positives": 0})
        self._prepare()
        self.run("git", "init", "-q", "-b", "main")
        self.run("dvc", "init", "-q")
        for name in COPIED:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, target)

    def _prepare(self):
        (self.root.parent / "gitconfig").write_text("[user]\nname = Test\nemail = test@example.org\n")
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.environment = environment | {
            "PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": str(self.root.parent / "gitconfig"),
            "DVC_SITE_CACHE_DIR": str(self.root.parent / f"{self.root.name}-database"),
        }

    def link(self):
        """Let DVC link the workspace to its cache, as a user may choose; the committed .dvc/config makes copies."""
        self.run("dvc", "config", "--local", "cache.type", "hardlink,symlink,copy")

    def run(self, *command):
        done = subprocess.run(command, cwd=self.root, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def decoded(self):
        """Run `dvc repro features`; return the number of images that were decoded, None if none was asked for."""
        self.said = self.run("dvc", "repro", "features")
        found = re.search(r"(\d+) rows reused, (\d+) decoded", self.said)
        return int(found[2]) if found else None

    def commit(self, message):
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)

    def append(self, *shades):
        """Add a row and an image of one colour for every shade."""
        text = (self.root / "labels.csv").read_text()
        for shade in shades:
            Image.new("RGB", (24, 32), (shade, 0, 0)).save(self.image(f"n{shade}"))
            text += f"n{shade},N/A,0,1,0\n"
        (self.root / "labels.csv").write_text(text)

    def tensors(self):
        return {path.name: path.read_bytes() for path in (self.root / "data/tensors").iterdir()}

    def inodes(self, folder="data/tensors"):
        return [path.stat().st_ino for path in sorted((self.root / folder).glob("images-*.npy"))]

    def names_of_shards(self, folder="data/tensors"):
        """How many names each shard has."""
        return [path.stat().st_nlink for path in sorted((self.root / folder).glob("images-*.npy"))]


KEPT = "data/.reuse/tensors"
IN_WORKSPACE_AND_REUSE = 2
IN_CACHE_WORKSPACE_AND_REUSE = 3


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path / "project")
    assert project.decoded() == 24
    project.commit("first")
    return project


@pytest.fixture
def linked(tmp_path):
    project = Project(tmp_path / "project")
    project.link()
    assert project.decoded() == 24
    project.commit("first")
    return project


def test_changes_cost_the_changed_images(project):
    # DVC's cache is out of reach of an edit in place of the workspace.
    assert project.names_of_shards() == [IN_WORKSPACE_AND_REUSE] * 3
    before = project.inodes()
    assert project.inodes(KEPT) == before

    project.append(1, 2)
    assert project.decoded() == 2
    assert project.names_of_shards() == [IN_WORKSPACE_AND_REUSE] * 3
    assert project.inodes(KEPT) == project.inodes()
    # A shard that stays the same is the same file: it is not written, not hashed by DVC and not copied back by it.
    assert project.inodes()[:2] == before[:2]
    _change_remove_and_start_afresh(project)


def test_changes_cost_the_changed_images_and_no_disk_space_if_dvc_links(linked):
    assert linked.names_of_shards() == [IN_CACHE_WORKSPACE_AND_REUSE] * 3
    before = linked.inodes()

    linked.append(1, 2)
    assert linked.decoded() == 2
    assert linked.names_of_shards() == [IN_CACHE_WORKSPACE_AND_REUSE] * 3
    assert linked.inodes()[:2] == before[:2]
    _change_remove_and_start_afresh(linked)


def _change_remove_and_start_afresh(project):
    project.image("i12").write_bytes(project.image("i12").read_bytes() + b"\0")
    assert project.decoded() == 1

    project.edit("i03,Bright|N/A|Red,1,1,1\n", "")
    assert project.decoded() == 0

    # The digests of all outputs stand in dvc.lock, so Git sees whether a run that knows nothing gives the same bytes.
    project.commit("changed")
    for name in ("data", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(project.root / name)
    project.run("git", "checkout", "-q", "data")
    assert project.decoded() == 25
    assert project.run("git", "status", "--porcelain") == ""


def test_a_rotten_shard_is_not_spread(project):
    right = project.tensors()
    shard = project.root / KEPT / "images-00000.npy"
    before = shard.stat()
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.chmod(0o644)
    with shard.open("r+b") as file:
        file.write(content)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))

    project.append(1)
    assert project.decoded() == 10 + 1
    assert f"these files of {KEPT} are missing or have changed since they were kept, and are not used" in project.said
    assert {name: project.tensors()[name] for name in ("images-00000.npy", "images-00001.npy")} == {
        name: right[name] for name in ("images-00000.npy", "images-00001.npy")
    }


def test_older_commits_and_the_run_cache_still_work(project):
    first = project.tensors()
    project.append(1)
    assert project.decoded() == 1
    project.commit("second")
    second = project.tensors()

    for commit, expected in (("HEAD~1", first), ("main", second)):
        project.run("git", "checkout", "-q", commit)
        project.run("dvc", "checkout", "--with-deps", "features")
        assert project.tensors() == expected
        assert project.decoded() is None

    # Back to the rows of the first commit, without its dvc.lock: the run-cache knows them.
    project.run("git", "checkout", "-q", "HEAD~1", "--", "labels.csv", "images")
    project.image("n1").unlink()
    assert project.decoded() is None
    assert project.tensors() == first

    # What is kept is the second build: the third shares its images, and the caches of the others are untouched.
    project.append(2)
    assert project.decoded() == 1
    for commit, expected in (("HEAD~1", first), ("main", second)):
        project.run("git", "checkout", "-qf", commit)
        project.run("dvc", "checkout", "--force", "--with-deps", "features")
        assert project.tensors() == expected


def test_what_dvc_had_already_can_be_linked_again(linked):
    clone = linked.root.parent / "clone"
    linked.run("git", "clone", "-q", str(linked.root), str(clone))
    shutil.copytree(linked.root / ".dvc/cache", clone / ".dvc/cache")
    linked.root = clone
    linked._prepare()
    linked.link()
    linked.run("dvc", "checkout", "--with-deps", "features")
    own = linked.inodes()

    linked.append(1)
    assert linked.decoded() == 24 + 1  # the reuse folder is not cloned
    # DVC had two of the three shards already, and leaves a file that is no link as it is.
    assert linked.inodes(KEPT) == linked.inodes() != own
    assert linked.names_of_shards() == [IN_WORKSPACE_AND_REUSE] * 2 + [IN_CACHE_WORKSPACE_AND_REUSE]
    linked.run("dvc", "checkout", "--relink", "--with-deps", "features")

    linked.append(2)
    assert linked.decoded() == 1
    assert linked.inodes(KEPT) == linked.inodes()
    assert linked.inodes()[:2] == own[:2]
    assert linked.names_of_shards() == [IN_CACHE_WORKSPACE_AND_REUSE] * 3

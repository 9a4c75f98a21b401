"""Builds of a tensor cache from image files of a few pixels, as `dvc repro` makes them one after the other."""

import hashlib
import shutil

import pandas as pd
from PIL import Image

from posterity.cache.reuse import EarlierBuild, hold, keep
from posterity.dataset.caching import cache_images
from posterity.pixels.spec import ImageSpec
from posterity.workers.threads import threads

SPEC = ImageSpec(height=3, width=2)


class Builds:
    """Builds of a tensor cache from tiny image files, each with what the one before left."""

    def __init__(self, root, rows_per_shard=4):
        self.root = root
        self.rows_per_shard = rows_per_shard
        self.tensors, self.kept = root / "tensors", root / "kept"
        self.decoded = 0

    def table(self, contents):
        """A manifest of one file a number: equal numbers are equal bytes. Negative ones are no images."""
        rows = []
        for row, content in enumerate(contents):
            path = self.root / f"{content}.png"
            if not path.exists():
                if content < 0:
                    path.write_bytes(b"no image %d" % content)
                else:
                    Image.new("RGB", (4, 5), (content, 7 * content % 256, 100)).save(path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            rows.append({"line": row + 2, "id": f"{row}", "path": str(path), "sha256": digest})
        return pd.DataFrame(rows, columns=["line", "id", "path", "sha256"])

    def write(self, contents, folder, earlier, spec):
        table = self.table(contents)
        is_known = table["sha256"].isin(earlier.digests)
        issues, _, _ = cache_images(table, folder, spec, self.rows_per_shard, earlier=earlier, mapper=threads(2))
        return table[~table["line"].isin([issue.line for issue in issues])], int((~is_known).sum())

    def build(self, contents, spec=SPEC):
        """Build as `dvc repro` does; return the reason of `EarlierBuild`."""
        reason = self.preprocess(contents, spec)
        assert hold(self.kept, self.tensors) == ""
        return reason

    def preprocess(self, contents, spec=SPEC):
        """The stage of that name, after DVC deleted the old tensors."""
        earlier = EarlierBuild(self.kept, spec)
        shutil.rmtree(self.tensors, ignore_errors=True)
        index, self.decoded = self.write(contents, self.tensors, earlier, spec)
        assert keep(self.kept, self.tensors, spec, index["sha256"].tolist(), self.rows_per_shard) == ""
        return earlier.reason

    def from_scratch(self, contents, spec=SPEC):
        folder = self.root / "scratch"
        shutil.rmtree(folder, ignore_errors=True)
        self.write(contents, folder, EarlierBuild(None, spec), spec)
        return contents_of(folder)

    def inodes(self, folder=None):
        return [path.stat().st_ino for path in sorted((folder or self.tensors).glob("images-*"))]

    def inodes_kept(self):
        return self.inodes(self.kept / "tensors")


def contents_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}

"""Exported networks that the next run need not export again: an export takes some seconds, and int8 some more.

They lie in the folder of `posterity.cache.reuse_folder`, which may be deleted at any time::

    graphs/float32-KEY.graph      sha256 of the rest in hexadecimal, a line feed, an ONNX graph
    graphs/int8-KEY.graph         the same for the quantised graph
"""

import hashlib
import os
from pathlib import Path

from posterity import files
from posterity.cache import reuse_folder
from posterity.errors import RefusedError, UserError

FOLDER = reuse_folder.GRAPHS_FOLDER
MOST_KEPT = 8  # files: four backbones in float32 and int8, of some 4 to 100 MB each


class KeptGraphs:
    """The graphs of one network.

    Parameters
    ----------
    folder : Path, optional
        The reuse folder; None = nothing is kept.
    key : str
        Of `posterity.cache.feature_reuse.network_key`. Graphs of another network, or made under other circumstances,
        have another key.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder = folder
        self._key = key

    def path(self, name: str) -> Path | None:
        return self._folder / FOLDER / f"{name}-{self._key}.graph" if self._folder else None

    def read(self, name: str) -> bytes | None:
        """The graph ``name``, such as int8; None if it is not there or is damaged."""
        path = self.path(name)
        try:
            digest, _, graph = path.read_bytes().partition(b"\n") if path else (b"", b"", b"")
        except OSError:
            return None
        return graph if digest.decode(errors="replace") == hashlib.sha256(graph).hexdigest() else None

    def keep(self, name: str, graph: bytes) -> None:
        """Keep a graph for the next run, if the folder can be written; without it, that run exports the network."""
        path = self.path(name)
        if not path or not self._folder or self.read(name) == graph:
            return
        try:
            reuse_folder.mark(self._folder)
            path.parent.mkdir(exist_ok=True)
            with files.replacing(path) as temporary:
                temporary.write_bytes(hashlib.sha256(graph).hexdigest().encode() + b"\n" + graph)
            newest_first = sorted(path.parent.glob("*.graph"), key=os.path.getmtime, reverse=True)
            for old in newest_first[MOST_KEPT:]:
                old.unlink(missing_ok=True)
        except (OSError, RefusedError, UserError):
            return

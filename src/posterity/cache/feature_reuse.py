"""The features of the last run, so that the next one computes only those of images that are new.

They are known by their pixels: whatever file an image comes from and whatever row it has, the same network gives it the
same features, to the last bit (`posterity.nn.inference.engines`). They lie in the folder of `posterity.cache.reuse`,
which may be deleted at any time::

    features/features.npy     hard link to the features of the last run
    features/note.json        by what network they were made, their sha256, that of the pixels of every row, and that of
                              every shard of the tensors: the rows of one that is still there are not hashed again
"""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

import numpy as np
from tqdm import tqdm

from posterity import environment, files
from posterity.cache import reuse_folder, run_notes, sealed
from posterity.cache.features import FEATURES, STAGE, VIEWS, FloatArray
from posterity.cache.npy_rows import NpyRows
from posterity.cache.reuse_folder import NOTE
from posterity.cache.tensors import TensorCache, shard_name
from posterity.errors import RefusedError, UserError
from posterity.workers.threads import chunks, ordered_map

FOLDER, HOLDS = reuse_folder.FEATURES_FOLDER, reuse_folder.FEATURES_HOLD
BATCH_SIZE = 32
Compute = Callable[[list[Sequence[int]]], Iterator[FloatArray]]


def network_key(settings: str, network: Path, sources: Iterable[str | None]) -> str:
    """Digest of all that features depend on beside the pixels: hex sha256.

    Parameters
    ----------
    settings : str
        How the network runs.
    network : Path
        File of the network with its weights.
    sources : iterable of str
        Files of the code that runs it.
    """
    surroundings = json.dumps(environment.environment(), sort_keys=True)
    digest = hashlib.sha256(f"{len(settings)} {settings} {surroundings}".encode())
    for path in (network, *(Path(source) for source in sources if source)):
        digest.update(bytes.fromhex(sealed.sha256_of(path)))
    return digest.hexdigest()


@contextlib.contextmanager
def digests_ahead(cache: TensorCache, folder: Path) -> Iterator[Callable[[], list[str]]]:
    """Compute `pixel_digests` in a thread, with what ``folder`` knows, and yield the function that waits for them.

    To load a network and to export it keeps one core busy for several seconds: the digests are ready by then.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="digests") as pool:
        work = pool.submit(pixel_digests, cache, _known_digests(folder), stop)
        try:
            yield work.result
        finally:
            stop.set()


def _known_digests(folder: Path) -> dict[str, Sequence[str]]:
    """The digests of the pixels of every shard that the last run saw, by the sha256 of the shard."""
    try:
        note = run_notes.read(folder / FOLDER / NOTE, __file__)
    except run_notes.UnusableError:  # `EarlierFeatures` says why
        return {}
    return dict(zip(note["shards"], chunks(note["digests"], note["rows_per_shard"]), strict=True))


def pixel_digests(
    cache: TensorCache,
    known: Mapping[str, Sequence[str]] = MappingProxyType({}),
    stop: threading.Event | None = None,
) -> list[str]:
    """Hex sha256 of the pixels of every row; a bar appears after two seconds (7,254 images of 400 x 300 take two).

    Parameters
    ----------
    cache : TensorCache
        The images.
    known : mapping of str to sequence of str
        The result for the rows of some shards, by the sha256 of the shard. They are not read.
    stop : Event, optional
        If it is set meanwhile, the result is what is ready.
    """

    def batches() -> Iterator[Sequence[int] | Sequence[str]]:
        for number, start in enumerate(range(0, len(cache), cache.rows_per_shard)):
            if digests := known.get(cache.sha256[shard_name(number)]):
                yield digests
            else:
                yield from chunks(range(start, min(start + cache.rows_per_shard, len(cache))), BATCH_SIZE)

    def of_some(some: Sequence[int] | Sequence[str]) -> list[str]:
        if isinstance(some[0], str):
            return [str(digest) for digest in some]
        return [hashlib.sha256(image).hexdigest() for image in cache.images(some)]

    found: list[str] = []
    with tqdm(total=len(cache), desc="look up", unit=" images", mininterval=1, delay=2) as progress:
        for some in ordered_map(of_some, batches()):
            found += some
            progress.update(len(some))
            if stop is not None and stop.is_set():
                break
    return found


class EarlierFeatures:
    """Features of an earlier run by the sha256 of the pixels.

    Parameters
    ----------
    folder : Path
        As `keep` left it; it may be missing or damaged.
    key : str
        Of `network_key`. Those of another network are not used, nor are those that are damaged or cannot be read.
    length : int
        Length of a vector.

    Attributes
    ----------
    reason : str
        Why it holds nothing, or "".
    """

    def __init__(self, folder: Path, key: str, length: int) -> None:
        self.reason = ""
        self.length = length
        self._rows: dict[str, int] = {}
        path = folder / FOLDER / FEATURES
        try:
            note = run_notes.read(folder / FOLDER / NOTE, __file__)
            if note["key"] != key:
                self.reason = "what is kept was made by another network, or under other circumstances"
            elif not path.is_file() or sealed.sha256_of(path) != note["sha256"]:
                self.reason = f"{path} has changed since it was kept"
            else:
                self._file = NpyRows(path, (length,), np.float32)
                self._rows = {digest: row for row, digest in enumerate(note["digests"])}
        except run_notes.UnusableError as error:
            self.reason = str(error)
        except OSError as error:
            self.reason = f"{path} cannot be read: {error.strerror}"
        except UserError as error:  # of `NpyRows`: what could be read a moment ago cannot be any more
            self.reason = f"{path} cannot be read: {str(error).removesuffix('.')}"

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, digest: str) -> bool:
        return digest in self._rows

    def read(self, digests: Sequence[str]) -> FloatArray:
        """Copy features of known images to an array, float32 (n, 2, length)."""
        rows = np.array([self._rows[digest] for digest in digests], dtype=np.int64)
        views = VIEWS * rows[:, None] + np.arange(VIEWS)
        return self._file.read(views.reshape(-1)).reshape(-1, VIEWS, self.length)


def computing_new(compute: Compute, earlier: EarlierFeatures, digests: Sequence[str]) -> Compute:
    """Return a function that does what ``compute`` does, and takes what ``earlier`` has from there.

    New rows of all batches that it is given are computed together: a network works on full batches only, and one new
    image in each would cost as much as if all were new.

    Parameters
    ----------
    compute : function
        Takes batches of rows; yields the features of each, float32 (rows of the batch, 2, length).
    earlier : EarlierFeatures
        What is known.
    digests : sequence of str
        Of `pixel_digests`, by row.
    """

    def function(batches: list[Sequence[int]]) -> Iterator[FloatArray]:
        rows = [row for batch in batches for row in batch]
        is_known = np.array([digests[row] in earlier for row in rows], dtype=bool)
        vectors = np.empty((len(rows), VIEWS, earlier.length), np.float32)
        if is_known.any():
            vectors[is_known] = earlier.read([digests[row] for row, known in zip(rows, is_known, strict=True) if known])
        is_ready = np.append(is_known, False)  # the last one ends the search for the first that is not
        places = list(chunks(np.flatnonzero(~is_known).tolist(), BATCH_SIZE))
        given = 0
        new: list[Sequence[int]] = [[rows[place] for place in some] for some in places]
        for some, computed in zip(places, compute(new) if new else (), strict=True):
            vectors[some] = computed
            is_ready[some] = True
            ready = int(np.argmin(is_ready))
            yield vectors[given:ready]
            given = ready
        if given < len(rows):
            yield vectors[given:]

    return function


def keep(folder: Path, features: Path, key: str, digests: Sequence[str], cache: TensorCache) -> str:
    """Keep features for `EarlierFeatures`, in the place of what was kept before.

    Parameters
    ----------
    folder : Path
        Where to keep them.
    features : Path
        The feature cache.
    key, digests : str, sequence of str
        Of `network_key` and `pixel_digests`.
    cache : TensorCache
        The images.

    Returns
    -------
    str
        Why nothing is kept, or "". This is no error: the features are complete.
    """
    sha256 = sealed.read_meta(features, STAGE)["sha256"][FEATURES]  # of the bytes as they were written
    try:
        reuse_folder.mark(folder)
        with files.replacing_folder(folder / FOLDER, HOLDS) as temporary:
            temporary.mkdir()
            os.link(features / FEATURES, temporary / FEATURES)
            content = {
                "key": key,
                "sha256": sha256,
                "digests": list(digests),
                "shards": [cache.sha256[shard_name(number)] for number in range(len(cache.sha256))],
                "rows_per_shard": cache.rows_per_shard,
            }
            run_notes.write(temporary / NOTE, __file__, content)
    except (OSError, RefusedError) as error:
        reuse_folder.remove(folder / FOLDER)
        return f"{folder} cannot hold a hard link to {features / FEATURES}: {error.strerror}"
    return ""

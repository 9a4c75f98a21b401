"""Features of many images, kept in parts on the way: an interrupted run goes on after its last finished part."""

import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from posterity import files
from posterity.cache.features import VIEWS, FloatArray
from posterity.workers.threads import chunks

BATCHES_PER_PART = 32  # with batches of 32, about a quarter of a minute on two cores
NAME = "features"
# What NumPy raises for a file that is damaged.
DAMAGED = (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError)


def in_parts(
    folder: Path | None,
    batches: Iterable[Sequence[int]],
    length: int,
    compute: Callable[[list[Sequence[int]]], Iterator[FloatArray]],
) -> Iterator[FloatArray]:
    """Yield the features of all rows, in order and in arrays of any size.

    Parameters
    ----------
    folder : Path, optional
        Where the parts are kept; see `posterity.resume_folder`. None = nowhere.
    batches : iterable of sequence of int
        Rows to compute together. The batches of a part are the same in every run, and so are their features.
    length : int
        Length of a vector.
    compute : function
        Takes some batches; yields the features of each, float32 (rows of the batch, 2, length).
    """
    done = 0
    try:
        for number, part in enumerate(chunks(batches, BATCHES_PER_PART)):
            num_rows = sum(map(len, part))
            path = folder / f"part-{number:05d}.npz" if folder else None
            known = read_part(path, (num_rows, VIEWS, length)) if path else None
            if known is not None:
                yield known
            else:
                computed = []
                for vectors in compute(part):
                    computed.append(vectors)
                    yield vectors
                if path:
                    with files.replacing(path) as temporary, temporary.open("wb") as stream:
                        np.savez(stream, allow_pickle=False, **{NAME: np.concatenate(computed)})
            done += num_rows
    except KeyboardInterrupt as stopped:
        if folder:
            stopped.add_note(f"The features of {done:,} images are kept; `dvc repro` goes on from there.")
        raise


def read_part(path: Path, shape: tuple[int, ...]) -> FloatArray | None:
    """Read a part; None if it is not there, or if it is damaged, which is said."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            found: FloatArray = archive[NAME]
        if found.shape != shape or found.dtype != np.float32:
            raise ValueError(f"an array of {found.dtype} and shape {found.shape}")
    except DAMAGED as error:
        print(f"{path} is damaged ({error}) and is not used: its features are computed again.")
        return None
    return found

"""The images of a manifest into the tensor cache, and the counts of what has come into it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from posterity.cache.reuse import EarlierBuild
from posterity.cache.tensor_writer import CacheWriter
from posterity.cache.tensors import TensorCache
from posterity.choices import POLICIES
from posterity.dataset.issues import Issue, count_by_kind
from posterity.pixels.decode import ImageProblem, Remark, decode_all_with_remarks
from posterity.pixels.spec import ImageSpec
from posterity.targets import is_known, is_present
from posterity.workers.threads import Mapper, chunks

ROWS_AT_A_TIME = 32  # 12 MB of images of 400 x 300


class CachedImages(NamedTuple):
    """What came of the images of a manifest.

    Attributes
    ----------
    lost : list of Issue
        One for each image that cannot be decoded.
    odd : list of Issue
        What is odd about those that can.
    remarks : dict of str to tuple of Remark
        The same by the sha256 of the file, for `posterity.cache.reuse.keep`.
    """

    lost: list[Issue]
    odd: list[Issue]
    remarks: dict[str, tuple[Remark, ...]]


def cache_images(
    table: pd.DataFrame,
    folder: Path,
    spec: ImageSpec,
    rows_per_shard: int,
    *,
    earlier: EarlierBuild,
    mapper: Mapper,
) -> CachedImages:
    """Write the images of the manifest ``table`` in order, but those that cannot be decoded.

    What is found is the same whether an image is decoded or comes from the earlier build.

    Parameters
    ----------
    table : DataFrame
        A manifest, see `posterity.dataset.manifest.COLUMNS`.
    folder : Path
        Where to write the tensor cache; it must not exist yet.
    spec : ImageSpec
        How a file becomes an array.
    rows_per_shard : int
        Images per file of the cache.
    earlier : EarlierBuild
        Images that need not be decoded again.
    mapper : Mapper
        Where the others are decoded.

    Raises
    ------
    UserError
        If the bytes of a file are not those of the manifest any more.
    """
    result = CachedImages([], [], {})
    is_known = table["sha256"].isin(earlier.digests).to_numpy()
    unknown = table[~is_known]
    decoded = decode_all_with_remarks(unknown["path"], spec, mapper, digests=unknown["sha256"])
    rows = zip(table["line"], table["id"], table["path"], table["sha256"], is_known, strict=True)
    with CacheWriter(folder, spec, rows_per_shard, len(table), earlier) as writer:
        for line, id_, path, digest, known in tqdm(rows, "decode", len(table), unit=" images", mininterval=1):
            image = None if known else next(decoded)
            if isinstance(image, ImageProblem):
                result.lost.append(Issue(image.kind, int(line), id_, f"{path}: {image}"))
                continue
            remarks = earlier.remarks.get(digest, ()) if image is None else image.remarks
            if remarks:
                result.remarks[digest] = remarks
                result.odd.extend(Issue(remark.kind, int(line), id_, f"{path}: {remark.detail}") for remark in remarks)
            if image is None:
                writer.append_known(digest)
            else:
                writer.append(image.pixels)
    return result


def decoded(table: pd.DataFrame, issues: Iterable[Issue]) -> pd.DataFrame:
    """The rows of a manifest that `cache_images` has written, ``issues`` being those that it found and any others."""
    # An image that cannot be decoded cannot be kept either.
    undecoded = {issue.line for issue in issues if "keep" not in POLICIES[issue.kind]}
    return table[~table["line"].isin(undecoded)]


def keep_rows(folder: Path, is_kept: npt.NDArray[np.bool_]) -> None:
    """Leave some rows out of a tensor cache, without decoding the others again.

    Parameters
    ----------
    folder : Path
        The cache. Its files may be links to those of another one, which stay as they are.
    is_kept : ndarray of bool, shape (num_rows,)
        Which rows stay.
    """
    if is_kept.all():
        return
    cache = TensorCache(folder, verify=False)  # this process has just written it
    inner = folder / "kept"  # what is half written goes with the folder
    with CacheWriter(inner, cache.spec, cache.rows_per_shard, int(is_kept.sum())) as writer:
        for rows in chunks(np.flatnonzero(is_kept).tolist(), ROWS_AT_A_TIME):
            for image in cache.images(rows):
                writer.append(image)
    for path in folder.iterdir():
        if path != inner:
            path.unlink()
    for path in inner.iterdir():
        path.rename(folder / path.name)
    inner.rmdir()


def counts(
    targets: npt.NDArray[np.uint8], label_names: Sequence[str], issues: Iterable[Issue], *, in_csv: int, dropped: int
) -> dict[str, Any]:
    """Content of metrics/data.json.

    ``positives`` and ``rows_by_number_of_labels`` count what is known to be present. ``unknown`` is there only if a
    cell is unknown: how many rows do not know each label.

    Parameters
    ----------
    targets : ndarray of uint8, shape (num_rows, num_labels)
        Multi-hot labels of the cached rows, see `posterity.targets`.
    label_names : sequence of str, length num_labels
        Names of the labels.
    issues : iterable of Issue
        Every problem that was found.
    in_csv, dropped : int
        Rows of the labels CSV, and those of them that are left out.
    """
    present, unknown = is_present(targets), ~is_known(targets)

    def per_label(cells: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
        rows = cells.sum(axis=0).tolist()
        return [{"label": name, "rows": number} for name, number in zip(label_names, rows, strict=True)]

    return {
        "rows_in_csv": in_csv,
        "rows_cached": len(targets),
        "rows_dropped": dropped,
        "labels": len(label_names),
        # Lists, which `dvc metrics show` leaves out: a column per label would push the figures off the screen.
        "positives": per_label(present),
        **({"unknown": per_label(unknown)} if unknown.any() else {}),
        "rows_by_number_of_labels": np.bincount(present.sum(axis=1)).tolist(),
        "issues": [{"kind": kind, "found": found} for kind, found in count_by_kind(issues).items()],
    }

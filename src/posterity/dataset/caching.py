"""The images of a manifest into the tensor cache, and the counts of what has come into it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from posterity.cache.reuse import EarlierBuild
from posterity.cache.tensor_writer import CacheWriter
from posterity.dataset.issues import Issue, count_by_kind
from posterity.pixels.decode import ImageProblem, Remark, decode_all_with_remarks
from posterity.pixels.spec import ImageSpec
from posterity.workers.threads import Mapper


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
    policies: Mapping[str, str] = MappingProxyType({}),
) -> CachedImages:
    """Write the images of the manifest ``table`` in order, but those that cannot be decoded or are to be dropped.

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
    policies : mapping of str to str, optional
        An image with a remark whose kind has the policy ``drop`` is not written.

    Raises
    ------
    UserError
        If the bytes of a file are not those of the manifest any more.
    """
    result = CachedImages([], [], {})
    writer = CacheWriter(folder, spec, rows_per_shard, len(table), earlier)
    is_known = table["sha256"].isin(earlier.digests).to_numpy()
    unknown = table[~is_known]
    decoded = decode_all_with_remarks(unknown["path"], spec, mapper, digests=unknown["sha256"])
    rows = zip(table["line"], table["id"], table["path"], table["sha256"], is_known, strict=True)
    for line, id_, path, digest, known in tqdm(rows, "decode", len(table), unit=" images", mininterval=1):
        image = None if known else next(decoded)
        if isinstance(image, ImageProblem):
            result.lost.append(Issue(image.kind, int(line), id_, f"{path}: {image}"))
            continue
        remarks = earlier.remarks.get(digest, ()) if image is None else image.remarks
        if remarks:
            result.remarks[digest] = remarks
            result.odd.extend(Issue(remark.kind, int(line), id_, f"{path}: {remark.detail}") for remark in remarks)
            if any(policies.get(remark.kind) == "drop" for remark in remarks):
                continue
        if image is None:
            writer.append_known(digest)
        else:
            writer.append(image.pixels)
    writer.close()
    return result


def counts(
    targets: npt.NDArray[np.uint8], label_names: Sequence[str], issues: Iterable[Issue], *, in_csv: int, dropped: int
) -> dict[str, Any]:
    """Content of metrics/data.json.

    Parameters
    ----------
    targets : ndarray of uint8, shape (num_rows, num_labels)
        Multi-hot labels of the cached rows.
    label_names : sequence of str, length num_labels
        Names of the labels.
    issues : iterable of Issue
        Every problem that was found.
    in_csv, dropped : int
        Rows of the labels CSV, and those of them that are left out.
    """
    positives = zip(label_names, targets.sum(axis=0, dtype=int).tolist(), strict=True)
    return {
        "rows_in_csv": in_csv,
        "rows_cached": len(targets),
        "rows_dropped": dropped,
        "labels": len(label_names),
        # Lists, which `dvc metrics show` leaves out: a column per label would push the figures off the screen.
        "positives": [{"label": name, "rows": rows} for name, rows in positives],
        "rows_by_number_of_labels": np.bincount(targets.sum(axis=1, dtype=int)).tolist(),
        "issues": [{"kind": kind, "found": found} for kind, found in count_by_kind(issues).items()],
    }

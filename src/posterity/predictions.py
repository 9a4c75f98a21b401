"""Predictions for people and for programs: which files are meant, and the three ways to write what came out."""

import csv
import glob
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from posterity.errors import UserError
from posterity.files import DECIMALS
from posterity.images import is_image_name

FORMATS = ("table", "csv", "jsonl")


@dataclass(frozen=True)
class Prediction:
    """What came out for one input.

    Attributes
    ----------
    path : str
        The input as it was given or found.
    scores : ndarray of float32, shape (num_labels,), or None
        Probabilities; None if the input could not be read.
    error : str
        Why it could not be read; empty otherwise.
    """

    path: str
    scores: npt.NDArray[np.float32] | None
    error: str = ""


def find_images(inputs: Sequence[str]) -> list[str]:
    """Expand ``inputs`` to image paths, in their order.

    A folder stands for the files in it and below it that have an image suffix, by name; a pattern with ``*``, ``?``
    or ``[]`` that is not itself a file stands for the files it matches, by name; anything else for itself, whether it
    exists or not. A folder or a pattern without an image stands for itself, too: it is an input that cannot be read.

    Raises
    ------
    UserError
        If none of the folders and patterns has an image, and there is nothing else.
    """
    found: list[str] = []
    num_empty = 0
    for given in inputs:
        # Not the methods of Path: they raise where a folder may not be entered or a name is too long.
        if os.path.isdir(given):  # noqa: PTH112
            files = [file for file in sorted(Path(given).rglob("*")) if os.path.isfile(file)]  # noqa: PTH113
            matches = [str(file) for file in files if is_image_name(file)]
        elif not os.path.exists(given) and glob.has_magic(given):  # noqa: PTH110
            # Not Path.glob: it refuses absolute patterns.
            matches = [name for name in sorted(glob.glob(given, recursive=True)) if os.path.isfile(name)]  # noqa: PTH113, PTH207
        else:
            matches = [given]
        num_empty += not matches
        found.extend(matches or [given])
    if num_empty == len(inputs):
        raise UserError(f"{', '.join(inputs)}: expected image files there, found none. Check the path.")
    return found


def write(
    predictions: Iterable[Prediction],
    stream: TextIO,
    *,
    form: str,
    label_names: Sequence[str],
    top_k: int,
    threshold: float | None,
) -> int:
    """Write ``predictions`` to ``stream`` as they come; return how many inputs could not be read.

    Parameters
    ----------
    predictions : iterable of Prediction
        One an input, in order.
    stream : text file
        Where to write.
    form : {"table", "csv", "jsonl"}
        ``table``: a line an input with its top labels; ``csv``: ``path,error`` and a probability column per label;
        ``jsonl``: an object a line with ``path`` and either ``labels`` and ``scores`` or ``error``.
    label_names : sequence of str
        Vocabulary, in the order of the scores.
    top_k : int
        Greatest number of labels shown per input (``table`` and ``jsonl``).
    threshold : float, optional
        Show only labels of at least this probability (``table`` and ``jsonl``); there may be none.
    """
    writers = {"table": _table, "csv": _csv, "jsonl": _jsonl}
    failures = 0

    def counted() -> Iterator[Prediction]:
        nonlocal failures
        for prediction in predictions:
            failures += prediction.scores is None
            # A file name may be no valid Unicode, and then no stream takes it.
            yield replace(prediction, path=prediction.path.encode("utf-8", "backslashreplace").decode())

    writers[form](counted(), stream, label_names, top_k, threshold)
    return failures


def top_labels(
    scores: npt.NDArray[np.float32], label_names: Sequence[str], top_k: int, threshold: float | None
) -> list[tuple[str, float]]:
    """The ``top_k`` labels of highest probability, highest first, without those under ``threshold``."""
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [(label_names[k], float(scores[k])) for k in order if threshold is None or scores[k] >= threshold]


def _table(
    predictions: Iterator[Prediction], stream: TextIO, label_names: Sequence[str], top_k: int, threshold: float | None
) -> None:
    for prediction in predictions:
        if prediction.scores is None:
            shown = f"ERROR: {prediction.error}"
        else:
            labels = top_labels(prediction.scores, label_names, top_k, threshold)
            shown = "  ".join(f"{name} {score:.3f}" for name, score in labels) or "-"
        stream.write(f"{prediction.path}: {shown}\n")


def _csv(
    predictions: Iterator[Prediction], stream: TextIO, label_names: Sequence[str], top_k: int, threshold: float | None
) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["path", "error", *label_names])
    for prediction in predictions:
        scores = [""] * len(label_names)
        if prediction.scores is not None:
            scores = [f"{score:.{DECIMALS}f}" for score in prediction.scores]
        writer.writerow([prediction.path, prediction.error, *scores])


def _jsonl(
    predictions: Iterator[Prediction], stream: TextIO, label_names: Sequence[str], top_k: int, threshold: float | None
) -> None:
    for prediction in predictions:
        record: dict[str, Any] = {"path": prediction.path}
        if prediction.scores is None:
            record["error"] = prediction.error
        else:
            record["labels"] = [name for name, _ in top_labels(prediction.scores, label_names, top_k, threshold)]
            scores = (round(float(score), DECIMALS) for score in prediction.scores)
            record["scores"] = dict(zip(label_names, scores, strict=True))
        stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")

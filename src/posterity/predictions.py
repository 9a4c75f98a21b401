"""Predictions for people and for programs: which files are meant, and the three ways to write what came out."""

import functools
import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from posterity.errors import UserError
from posterity.files import DECIMALS, csv_writer
from posterity.pixels.inputs import images_in
from posterity.text import inert_in_spreadsheet, json_text, printable

FORMATS = ("table", "csv", "jsonl")


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """What came out for one image.

    Attributes
    ----------
    path : str
        The image as it was given or found.
    label_names : sequence of str, length num_labels
        Names of the labels, in the order of the arrays.
    probabilities : ndarray of float, shape (num_labels,), or None
        Calibrated if the model is; None if the image could not be read.
    decided : ndarray of bool, shape (num_labels,), or None
        The labels that the model decides on; None if the image could not be read.
    error : str
        Why it could not be read; empty otherwise.

    Examples
    --------
    >>> found = Prediction("a.jpg", ("cat", "dog"), np.array([0.25, 0.75]), np.array([False, True]))
    >>> found.labels, found.scores
    (['dog'], {'cat': 0.25, 'dog': 0.75})
    >>> found
    Prediction('a.jpg', labels=['dog'], scores={'cat': 0.25, 'dog': 0.75})
    """

    path: str
    label_names: Sequence[str]
    probabilities: npt.NDArray[np.floating] | None = None
    decided: npt.NDArray[np.bool_] | None = None
    error: str = ""

    @property
    def scores(self) -> dict[str, float]:
        """The probability of every label by name, in the order of the model; empty if there is an error."""
        if self.probabilities is None:
            return {}
        return dict(zip(self.label_names, self.probabilities.tolist(), strict=True))

    @property
    def labels(self) -> list[str]:
        """The labels that the model decides on, the likeliest first."""
        if self.probabilities is None or self.decided is None:
            return []
        return ranked(self.probabilities, self.decided, self.label_names)[0]

    def __repr__(self) -> str:
        if self.error:
            return f"Prediction({self.path!r}, error={self.error!r})"
        scores = {name: round(score, DECIMALS) for name, score in self.scores.items()}
        return f"Prediction({self.path!r}, labels={self.labels}, scores={scores})"


def find_images(inputs: Sequence[str]) -> list[str]:
    """Expand ``inputs`` to image paths, in their order.

    A folder stands for the images in it and below it (see `posterity.pixels.inputs.images_in`), by name; a pattern with
    ``*``, ``?`` or ``[]`` that is not itself a file stands for what it matches but folders, by name; anything else for
    itself, whether it exists or not. A folder or a pattern without an image stands for itself, too: it is an input that
    cannot be read.

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
            matches = images_in(given)
        elif not os.path.exists(given) and glob.has_magic(given):  # noqa: PTH110
            # Not Path.glob: it refuses absolute patterns.
            names = sorted(glob.glob(given, recursive=True))  # noqa: PTH207
            matches = [name for name in names if not os.path.isdir(name)]  # noqa: PTH112
        else:
            matches = [given]
        num_empty += not matches
        found.extend(matches or [given])
    if num_empty == len(inputs):
        raise UserError(f"{', '.join(map(printable, inputs))}: expected image files there, found none. Check the path.")
    return found


def write(
    predictions: Iterable[Prediction],
    stream: TextIO,
    *,
    form: str,
    label_names: Sequence[str],
    threshold: float | None = None,
    exactly_one: bool = False,
    top_k: int = 3,
    excel_safe: bool = False,
) -> int:
    """Write ``predictions`` to ``stream`` as they come; return how many inputs could not be read.

    Parameters
    ----------
    predictions : iterable of Prediction
        One an input, in order.
    stream : text file
        Where to write.
    form : {"table", "csv", "jsonl"}
        ``table``: a line an input with the decided labels and, after a bar, the likeliest others; ``csv``:
        ``path,error,labels`` (the decided ones, as a JSON list) and a probability column per label; ``jsonl``: an
        object a line with ``path`` and either ``labels`` (the decided ones) and ``scores`` or ``error``.
    label_names : sequence of str
        Vocabulary, in the order of the scores.
    threshold : float, optional
        Decide on the labels of at least this probability, whatever the model's own thresholds are.
    exactly_one : bool
        With a ``threshold``: whether the model decides on exactly one label of each image. Then that label is kept if
        it reaches the threshold; otherwise the image has none.
    top_k : int
        ``table``: number of labels shown per input, unless more are decided.
    excel_safe : bool
        ``csv``: put an apostrophe before every cell of text that a spreadsheet would run as a formula, see
        `posterity.text.inert_in_spreadsheet`. The probabilities stay numbers.
    """
    writers: dict[str, Callable[..., None]] = {
        "table": functools.partial(_table, top_k=top_k),
        "csv": functools.partial(_csv, excel_safe=excel_safe),
        "jsonl": _jsonl,
    }
    failures = 0

    def counted() -> Iterator[Prediction]:
        nonlocal failures
        for prediction in predictions:
            failures += prediction.probabilities is None
            if prediction.probabilities is not None and threshold is not None:
                reaching = prediction.probabilities >= threshold
                if exactly_one and prediction.decided is not None:
                    reaching &= prediction.decided
                prediction = replace(prediction, decided=reaching)
            # A file name may be no valid Unicode, and then no stream takes it.
            yield replace(prediction, path=prediction.path.encode("utf-8", "backslashreplace").decode())

    writers[form](counted(), stream, label_names)
    return failures


def ranked(
    scores: npt.NDArray[np.floating], decided: npt.NDArray[np.bool_], label_names: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The decided labels and the others, each with the likeliest first."""
    order = np.argsort(-scores, kind="stable")
    return [label_names[k] for k in order if decided[k]], [label_names[k] for k in order if not decided[k]]


def _table(predictions: Iterator[Prediction], stream: TextIO, label_names: Sequence[str], top_k: int) -> None:
    for prediction in predictions:
        if prediction.probabilities is None or prediction.decided is None:
            shown = f"ERROR: {prediction.error}"
        else:
            probability = dict(zip(label_names, prediction.probabilities, strict=True))
            decided, others = ranked(prediction.probabilities, prediction.decided, label_names)
            shown = "  ".join(f"{name} {probability[name]:.3f}" for name in decided) or "-"
            if others := others[: max(0, top_k - len(decided))]:
                shown += " | " + "  ".join(f"{name} {probability[name]:.3f}" for name in others)
        stream.write(printable(f"{prediction.path}: {shown}") + "\n")


def _csv(predictions: Iterator[Prediction], stream: TextIO, label_names: Sequence[str], excel_safe: bool) -> None:
    # A terminal obeys what a program reads as it is.
    shown: Callable[[str], str] = printable if stream.isatty() else str

    def text(cell: str) -> str:
        return shown(inert_in_spreadsheet(cell) if excel_safe else cell)

    writer = csv_writer(stream)
    writer.writerow(["path", "error", "labels", *map(text, label_names)])
    for prediction in predictions:
        cells = [""] * (1 + len(label_names))
        if prediction.probabilities is not None and prediction.decided is not None:
            decided, _ = ranked(prediction.probabilities, prediction.decided, label_names)
            scores = (f"{score:.{DECIMALS}f}" for score in prediction.probabilities)
            cells = [text(json_text(decided, ascii_only=_is_narrow(stream))), *scores]
        writer.writerow([text(prediction.path), text(prediction.error), *cells])


def _jsonl(predictions: Iterator[Prediction], stream: TextIO, label_names: Sequence[str]) -> None:
    for prediction in predictions:
        record: dict[str, Any] = {"path": prediction.path}
        if prediction.probabilities is None or prediction.decided is None:
            record["error"] = prediction.error
        else:
            record["labels"], _ = ranked(prediction.probabilities, prediction.decided, label_names)
            scores = (round(float(score), DECIMALS) for score in prediction.probabilities)
            record["scores"] = dict(zip(label_names, scores, strict=True))
        stream.write(json_text(record, ascii_only=_is_narrow(stream)) + "\n")


def _is_narrow(stream: TextIO) -> bool:
    r"""Whether characters may be missing from the encoding of ``stream``: then JSON has to hold its own escapes.

    Those of Python for what a stream cannot encode, such as ``\xe9``, are no JSON.
    """
    return not (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")

"""What a person should look at: labels that may be wrong, images that look alike, images without a row."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posterity.evaluation.scored_rows import FloatArray
from posterity.reporting.pictures import Thumbnails, data_uri, smaller
from posterity.reporting.results import Results
from posterity.reporting.seen import Unlabelled

SUSPECTS_SHOWN = 24
PAIRS_SHOWN = 12
UNLABELLED_SHOWN = 12
COPIES = ("near_duplicate", "identical_image")
_OTHER_LINE = re.compile(r" in line (\d+)")


def suspects(results: Results, thumbnails: Thumbnails) -> list[dict[str, Any]]:
    """The label cells that are most likely to be wrong, with their pictures."""
    rows = dict(zip(results.cached.index["line"].tolist(), range(len(results.cached)), strict=True))
    found = []
    for cell in results.suspects.head(SUSPECTS_SHOWN).to_dict("records"):
        row = rows.get(int(cell["line"]))
        if row is None:
            continue
        found.append(
            {
                "id": cell["id"],
                "line": int(cell["line"]),
                "label": cell["label"],
                "given": "has it" if cell["given"] else "does not have it",
                "score": f"{cell['score']:.3f}",
                "labels": labels_of(results, row),
                "picture": thumbnails.uri(row),
            }
        )
    return found


def copies(results: Results, thumbnails: Thumbnails) -> list[dict[str, Any]]:
    """Pairs of rows that look alike or have the same bytes, side by side."""
    rows = dict(zip(results.cached.index["line"].tolist(), range(len(results.cached)), strict=True))
    found = []
    for issue in results.issues:
        other = _OTHER_LINE.search(issue.detail)
        if issue.kind not in COPIES or other is None or issue.line not in rows or int(other[1]) not in rows:
            continue
        pair = [rows[issue.line], rows[int(other[1])]]
        found.append(
            {
                "detail": issue.detail,
                "sides": [
                    {
                        "id": results.cached.index["id"].iloc[row],
                        "picture": thumbnails.uri(row),
                        "labels": labels_of(results, row),
                    }
                    for row in pair
                ],
            }
        )
        if len(found) == PAIRS_SHOWN:
            break
    return found


def entropy(scores: FloatArray) -> FloatArray:
    """How uncertain a model is of each image: the mean over the labels of the entropy of its answer, in bits.

    Parameters
    ----------
    scores : ndarray of float in [0, 1], shape (n, num_labels)
        Probabilities.

    Returns
    -------
    ndarray of float in [0, 1], shape (n,)

    Examples
    --------
    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).round(3).tolist()
    [1.0, 0.0]
    """
    inside = scores.clip(1e-12, 1 - 1e-12)
    bits = -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))
    return np.asarray(bits.mean(axis=1))


def to_label_next(unlabelled: Unlabelled, label_names: Sequence[str]) -> list[dict[str, Any]]:
    """The images without a row of which the model is least certain, most uncertain first."""
    uncertainty = entropy(unlabelled.scores)
    found = []
    for place in np.argsort(-uncertainty, kind="stable")[:UNLABELLED_SHOWN]:
        best = np.argsort(-unlabelled.scores[place], kind="stable")[:3]
        found.append(
            {
                "name": unlabelled.names[place],
                "picture": data_uri(smaller(unlabelled.images[place], 128)),
                "uncertainty": f"{uncertainty[place]:.2f}",
                "guesses": ", ".join(f"{label_names[label]} {unlabelled.scores[place, label]:.2f}" for label in best),
            }
        )
    return found


def unlisted_files(results: Results, folder: Path) -> list[Path]:
    """Image files that no row names, in the order of their names."""
    return [
        folder / issue.id for issue in results.issues if issue.kind == "unlisted_image" and "odd" not in issue.detail
    ]


def labels_of(results: Results, row: int) -> str:
    """The labels of a cached row in words."""
    present = np.flatnonzero(results.cached.targets[row] == 1)
    return ", ".join(results.label_names[column] for column in present) or "no label"

"""What a person should look at: labels that may be wrong, images that look alike, images without a row."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posterity.evaluation.scored_rows import FloatArray
from posterity.reporting.label_figures import LabelFigures
from posterity.reporting.pictures import Thumbnails, data_uri, smaller
from posterity.reporting.results import Results
from posterity.reporting.seen import Unlabelled
from posterity.splitting.groups import groups_of

SUSPECTS_SHOWN = 15  # of each kind
PER_LABEL = 3
PAIRS_SHOWN = 12
UNLABELLED_SHOWN = 12
COPIES = ("near_duplicate", "identical_image")
_OTHER_LINE = re.compile(r" in line (\d+)")


def suspects(
    results: Results, thumbnails: Thumbnails, labels: Sequence[LabelFigures], *, given: int
) -> list[dict[str, Any]]:
    """The label cells of one kind that are most likely to be wrong, with their pictures.

    Parameters
    ----------
    results, thumbnails
        The run and its pictures.
    labels : sequence of LabelFigures
        All labels. Those that the model does not tell from chance are left out: low scores say nothing of them. No more
        than `PER_LABEL` cells of one label are shown, or rare labels, whose scores are all low, would fill the list.
    given : {0, 1}
        What the table says of the cell.
    """
    judged = {label.name for label in labels if label.is_above_chance}
    shown: Counter[str] = Counter()
    found: list[dict[str, Any]] = []
    for cell in results.suspects[results.suspects["given"] == given].to_dict("records"):
        row = results.row_of_line.get(int(cell["line"]))
        if len(found) == SUSPECTS_SHOWN:
            break
        if row is None or cell["label"] not in judged or shown[cell["label"]] == PER_LABEL:
            continue
        shown[cell["label"]] += 1
        found.append(
            {
                "id": cell["id"],
                "line": int(cell["line"]),
                "label": cell["label"],
                "score": f"{cell['score']:.3f}",
                "labels": results.labels_of(row),
                "picture": thumbnails.uri(row),
            }
        )
    return found


def copies(results: Results, thumbnails: Thumbnails) -> list[dict[str, Any]]:
    """Pairs of rows that look alike or have the same bytes, side by side; those whose labels differ come first."""
    pairs = []
    for issue in results.issues:
        other = _OTHER_LINE.search(issue.detail)
        if issue.kind not in COPIES or other is None or issue.line is None:
            continue
        pair = [results.row_of_line[line] for line in (int(other[1]), issue.line) if line in results.row_of_line]
        if len(pair) == 2:
            differ = bool((results.cached.targets[pair[0]] != results.cached.targets[pair[1]]).any())
            pairs.append((differ, issue.kind, pair))
    pairs.sort(key=lambda found: not found[0])
    return [
        {
            "differ": differ,
            "kind": "the same bytes" if kind == "identical_image" else "look alike",
            "sides": [
                {
                    "id": results.cached.index["id"].iloc[row],
                    "line": int(results.cached.index["line"].iloc[row]),
                    "picture": thumbnails.uri(row),
                    "labels": results.labels_of(row),
                }
                for row in pair
            ],
        }
        for differ, kind, pair in pairs[:PAIRS_SHOWN]
    ]


def torn_copies(results: Results) -> int:
    """Groups of copies (same id, same bytes, same look, same value of the group column) on more than one side."""
    groups = groups_of(results.cached.index)
    train, validation, test = (
        set(groups[rows].tolist()) for rows in (results.sides.train, results.sides.validation, results.sides.test)
    )
    return len((train & validation) | (train & test) | (validation & test))


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
    # Those with more to say are no files that can be read: a folder that is named like an image, a pipe.
    unlisted = (issue for issue in results.issues if issue.kind == "unlisted_image")
    return [folder / issue.id for issue in unlisted if issue.detail == "image file without a row"]

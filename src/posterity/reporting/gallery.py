"""Pictures of validation rows with what is true of them and what the model says."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from posterity.reporting.label_figures import LabelFigures
from posterity.reporting.pictures import Thumbnails
from posterity.reporting.results import Results
from posterity.reporting.selection import Picks, picks

PER_KIND = 3  # pictures of a kind for each label
MOST_LABELS = 60  # that get curves and pictures; the table has all
CONTACTS = 36  # images of the contact sheet


def picked(results: Results, labels: Sequence[LabelFigures]) -> dict[int, Picks]:
    """Rows of every label that are worth a look, by the column of the label."""
    return {label.column: picks(results.scored, results.decided, label.column, each=PER_KIND) for label in labels}


def shown_labels(labels: Sequence[LabelFigures]) -> list[LabelFigures]:
    """The labels that get curves and pictures: those with the most rows, in the order of their names' columns."""
    frequent = sorted(labels, key=lambda label: -label.support)[:MOST_LABELS]
    return sorted(frequent, key=lambda label: label.column)


def pictures(results: Results, thumbnails: Thumbnails, places: Sequence[int], label: int) -> list[dict[str, Any]]:
    """Thumbnails of validation rows with their labels and the score of one label.

    Parameters
    ----------
    results, thumbnails
        The run and its pictures.
    places : sequence of int
        Places among the validation rows.
    label : int
        Column of the label whose score is shown.
    """
    found = []
    for place in places:
        row = int(results.sides.validation[place])
        decided = [results.label_names[column] for column in np.flatnonzero(results.decided[place])]
        found.append(
            {
                "id": results.cached.index["id"].iloc[row],
                "picture": thumbnails.uri(row),
                "true": results.labels_of(row),
                "decided": ", ".join(decided) or "no label",
                "score": f"{results.scored.scores[place, label]:.2f}",
            }
        )
    return found


def contact_rows(results: Results) -> list[int]:
    """Rows evenly spread over all cached ones."""
    number = len(results.cached)
    spread = np.linspace(0, number - 1, min(CONTACTS, number)).round().astype(np.int64)
    return [int(row) for row in np.unique(spread)]


def contact_sheet(results: Results, thumbnails: Thumbnails) -> list[dict[str, Any]]:
    """Images evenly spread over all cached rows, with their labels."""
    return [
        {
            "id": results.cached.index["id"].iloc[row],
            "labels": results.labels_of(row),
            "picture": thumbnails.uri(row),
        }
        for row in contact_rows(results)
    ]

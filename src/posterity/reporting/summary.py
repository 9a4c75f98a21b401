"""The headline of the report, and what it says in a few plain sentences."""

from collections.abc import Sequence
from typing import Any

from posterity.reporting.confusions import Confusion
from posterity.reporting.figures import FEW_ROWS
from posterity.reporting.label_figures import LabelFigures, worst_first

NAMED = 3  # labels that a sentence names


def headline(figures: dict[str, Any], *, exactly_one: bool) -> list[dict[str, str]]:
    """The main figures of one side, each with its interval, the prior and what it means.

    Parameters
    ----------
    figures : dict
        Content of metrics/evaluate.json or metrics/test.json.
    exactly_one : bool
        Whether every image gets exactly one label.

    Examples
    --------
    >>> headline({"skill": 0.5, "skill_low": 0.4, "skill_high": 0.6}, exactly_one=False)[0]["interval"]
    '0.400 to 0.600'
    """
    wanted = [
        (
            "skill",
            "skill",
            "share of the loss of the label frequencies that the model removes; 0 knows nothing, 1 is perfect",
        ),
        (
            "map_macro",
            "macro mAP",
            f"average precision, mean over the {figures.get('labels_scored', 0)} labels that can be judged",
        ),
        ("bce", "binary cross-entropy", "the loss; lower is better"),
    ]
    if exactly_one:
        wanted.append(("subset_accuracy_tuned", "accuracy", "images whose one label is right"))
    else:
        wanted.append(("f1_macro_tuned", "macro F1", "of the decided labels, mean over the same labels"))
    found = []
    for key, name, meaning in wanted:
        if key not in figures:
            continue
        low, high = figures.get(f"{key}_low"), figures.get(f"{key}_high")
        prior = figures.get(f"{key}_prior")  # that of skill is 0 by definition
        found.append(
            {
                "name": name,
                "value": f"{figures[key]:.4f}" if key == "bce" else f"{figures[key]:.3f}",
                "interval": "" if low is None or high is None else f"{low:.3f} to {high:.3f}",
                "prior": "" if prior is None else f"{prior:.4f}" if key == "bce" else f"{prior:.3f}",
                "meaning": meaning,
            }
        )
    return found


def in_short(
    figures: dict[str, Any], labels: Sequence[LabelFigures], confused: Sequence[Confusion], names: Sequence[str]
) -> list[str]:
    """What the figures say, in whole sentences.

    Parameters
    ----------
    figures : dict
        Content of metrics/evaluate.json.
    labels : sequence of LabelFigures
        All labels.
    confused : sequence of Confusion
        The most frequent confusions, most frequent first.
    names : sequence of str
        Names of the labels.
    """
    found = [_learned(figures)]
    if "labels_per_image_tuned" in figures:
        found.append(_decides(figures, labels))
    ranked = worst_first([label for label in labels if label.support >= FEW_ROWS]) or worst_first(labels)
    if ranked:
        best = ", ".join(_with_figures(label) for label in reversed(ranked[-NAMED:]))
        found.append(f"Largest gain over chance, of the labels with {FEW_ROWS} rows and more: {best}.")
        found.append(f"Smallest gain: {_why(ranked[0], confused, names)}")
    if untold := [label.name for label in labels if label.trust == "not shown"]:
        found.append(
            f"Not told from chance on these rows: {_listed(untold)}. Rows that have the label do not score higher than "
            "the others by more than chance explains."
        )
    if unjudged := [label.name for label in labels if label.average_precision is None]:
        found.append(
            f"Cannot be judged, since no validation row has the label or none is without it: {_listed(unjudged)}."
        )
    return found


def _learned(figures: dict[str, Any]) -> str:
    low = figures.get("skill_low")
    if low is not None and low <= 0:
        return (
            f"The model has learned nothing that these {figures['rows_scored']:,} rows can show: the interval of its "
            "skill holds 0, which is what always answering the label frequencies reaches."
        )
    return (
        f"The model removes {100 * figures['skill']:.0f} % of the loss of always answering the label frequencies, on "
        f"{figures['rows_scored']:,} validation rows that did not train it."
    )


def _decides(figures: dict[str, Any], labels: Sequence[LabelFigures]) -> str:
    decided, right = sum(label.decided for label in labels), sum(label.right for label in labels)
    support = sum(label.support for label in labels)
    number = figures["rows_scored"]
    return (
        f"It decides on {decided / number:.1f} labels an image, which have {support / number:.1f}: "
        f"{100 * right / max(1, decided):.0f} % of the decided labels are right, and "
        f"{100 * right / max(1, support):.0f} % of the labels are found."
    )


def _with_figures(label: LabelFigures) -> str:
    return f"{label.name} (average precision {label.average_precision:.2f}, chance {label.prior:.2f})"


def _why(label: LabelFigures, confused: Sequence[Confusion], names: Sequence[str]) -> str:
    reasons = [
        f"{label.support} of {label.known:,} rows have it",
        f"it is decided on {label.decided} rows, of which {label.right} have it",
    ]
    instead = next((pair for pair in confused if pair.true == label.column), None)
    if instead is not None:
        reasons.append(
            f"where it is missed, {names[instead.instead]} is decided instead in {instead.count} of "
            f"{instead.possible} rows without that"
        )
    return f"{_with_figures(label)}: {'; '.join(reasons)}."


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

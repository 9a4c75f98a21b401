"""The text of models/MODEL_CARD.md: what a stranger has to know of a model, in the format of Hugging Face."""

import json
from collections.abc import Iterable
from typing import Any

from posterity.reporting.card_facts import CardFacts
from posterity.reporting.figures import FEW_ROWS, KNOWN_PRIORS, MEANINGS
from posterity.reporting.hub_format import code, front_matter, markdown, table

NAME = "posterity-classifier"
TAGS = ("multi-label", "image-classification", "posterity")
# Figure of metrics/evaluate.json -> metric of the Hub, and its name in the card.
RESULTS = {
    "map_macro": ("average_precision", "macro mAP"),
    "roc_auc_macro": ("roc_auc", "macro ROC AUC"),
    "f1_macro_tuned": ("f1", "macro F1 at the chosen thresholds"),
    "f1_micro_tuned": ("f1", "micro F1 at the chosen thresholds"),
}


def model_card(facts: CardFacts) -> str:
    """Write the card; equal facts give the same text, and text from data stays text.

    Returns
    -------
    str
        Markdown with YAML before it, ending in a line feed.
    """
    sides = {"validation": facts.metrics.evaluate} | (
        {"test": facts.metrics.test} if facts.metrics.test.get("rows_scored") else {}
    )
    results = {
        side: [(metric, name, float(found[key])) for key, (metric, name) in RESULTS.items() if key in found]
        for side, found in sides.items()
    }
    tags = [*TAGS, *([] if facts.backbones else ["trained-from-scratch"])]
    head = front_matter(NAME, results, license=facts.license, dataset_name=facts.dataset_name, tags=tags)
    parts = [
        _what_it_is(facts),
        _use(facts),
        _data(facts),
        _training(facts),
        _figures(facts),
        _per_label(facts),
        _decisions(facts),
        _licences(facts),
        _reproduce(facts),
    ]
    return head + "\n" + "\n".join(f"{part.rstrip()}\n" for part in parts)


def _what_it_is(facts: CardFacts) -> str:
    built = code(facts.network)
    if facts.backbones:
        built = f"{_listed(code(name) for name in facts.backbones)} with a head that was trained on these labels"
    size = f", {facts.metrics.train['parameters']:,} weights" if "parameters" in facts.metrics.train else ""
    return (
        f"# An image classifier of {len(facts.label_names):,} labels\n\n"
        "The model takes an image and returns one probability for each label. An image may have several labels or "
        "none. "
        f"Network: {built}{size}.\n\n"
        f"Input: an RGB image of {facts.image['height']} x {facts.image['width']} pixels (height x width, uint8). A "
        f"file is decoded and fitted to that by {code(facts.image['fit'])} with {code(facts.image['resampling'])} "
        "resampling; the model file says so itself, and `posterity predict FILE` does it.\n\n"
        f"Labels: {_listed(markdown(name) for name in facts.label_names)}."
    )


def _use(facts: CardFacts) -> str:
    few = [str(line["label"]) for line in facts.per_label if line["support"] < FEW_ROWS]
    limits = [
        "It knows no other labels than these, and answers with them to any image, also to one of another kind.",
        "Its figures are those of images like the training images. On others they may be much lower: score it on your "
        "own images before you rely on it.",
        "The labels are those of the table that it was trained on, with their mistakes and their point of view.",
        "It has not been checked for differences between groups of people, and is not made for decisions about them.",
    ]
    if few:
        limits.append(
            f"Of these labels there are fewer than {FEW_ROWS} positive validation images, so that their figures say "
            f"little: {_listed(map(markdown, few))}."
        )
    lines = "\n".join(f"- {line}" for line in limits)
    return f"## Intended use and limits\n\nFor sorting, searching and pre-labelling images.\n\n{lines}"


def _data(facts: CardFacts) -> str:
    data = facts.metrics.data
    name = "" if facts.dataset_name is None else f"Data set: {markdown(facts.dataset_name)}. "
    rows = facts.metrics.split.get("rows", {})
    sides = _listed(f"{side} {number:,}" for side, number in rows.items())
    dropped = data.get("rows_dropped", 0)
    problems = [f"{code(item['kind'])} {item['found']:,}" for item in data.get("issues", ()) if item["found"]]
    parts = [
        f"{name}{data.get('rows_cached', 0):,} images with {len(facts.label_names):,} labels; {dropped:,} rows "
        f"of the table were left out. Sides: {sides}."
    ]
    parts.append(f"Problems found: {_listed(problems)}." if problems else "No problems were found in them.")
    if unknown := {item["label"]: item["rows"] for item in data.get("unknown", ())}:
        parts.append(f"{sum(unknown.values()):,} cells are unknown; they are left out of the loss and of all figures.")
    return "## Data\n\n" + "\n\n".join(parts)


def _training(facts: CardFacts) -> str:
    text = "## Training\n\n"
    if facts.changed:
        rows = [
            [code(key), code(_plain(value)), code(_plain(default))] for key, (default, value) in facts.changed.items()
        ]
        text += "Parameters that are not the defaults of posterity:\n\n" + table(
            ["parameter", "value", "default"], rows
        )
    else:
        text += "All parameters are the defaults of posterity."
    losses = [("bce", "training"), ("val_bce", "validation"), ("val_bce_prior", "validation, by the baseline")]
    said = [f"{side} {facts.metrics.train[key]:.4f}" for key, side in losses if key in facts.metrics.train]
    return text + (f"\n\nBinary cross-entropy of the kept weights: {_listed(said)}." if said else "")


def _figures(facts: CardFacts) -> str:
    parts = ["## Figures"]
    shown = [("Validation", facts.metrics.evaluate)]
    if facts.metrics.folds.get("rows_scored"):
        shown.append(("Training images, by networks that did not see them", facts.metrics.folds))
    if facts.metrics.test.get("rows_scored"):
        shown.append(("Test", facts.metrics.test))
    for title, found in shown:
        rows = [
            [
                f"{code(key)}: {meaning}",
                _number(found[key]),
                _interval(found.get(f"{key}_low"), found.get(f"{key}_high")),
                _number(found.get(f"{key}_prior", KNOWN_PRIORS.get(key))),
            ]
            for key, meaning in MEANINGS.items()
            if isinstance(found.get(key), int | float)
        ]
        parts.append(f"### {title}, {found.get('rows_scored', 0):,} images")
        parts.append(table(["figure", "model", "95 % interval", "baseline"], rows))
    parts.append(
        "The baseline answers the label frequencies of the training images to every image. Intervals are bootstrap "
        "intervals over images: they say how far a figure moves with other images, not with another training."
    )
    if not facts.metrics.test.get("rows_scored"):
        parts.append(
            "No image was kept for a test. What is said of thresholds and calibration is cross-fitted: every "
            "validation image is judged by those that were chosen without it."
        )
    return "\n\n".join(parts)


def _per_label(facts: CardFacts) -> str:
    rows = [
        [
            markdown(line["label"]),
            f"{line['support']:,}",
            *(_number(line.get(key)) for key in ("average_precision", "average_precision_prior", "roc_auc", "f1")),
            _threshold(line["decide_threshold"]),
        ]
        for line in facts.per_label
    ]
    titles = ["label", "images with it", "average precision", "of the baseline", "ROC AUC", "F1", "threshold"]
    return (
        "## Labels\n\nOn the validation images, best first; F1 at `evaluate.threshold`, the threshold is that of the "
        f"decisions.\n\n{table(titles, rows)}"
    )


def _threshold(value: float) -> str:
    return _number(value) if value <= 1 else "never"


def _decisions(facts: CardFacts) -> str:
    method = facts.decisions["calibration"]["method"]
    calibrated = "The probabilities are the network's own scores." if method == "off" else (
        f"The network's scores are calibrated by the method {code(method)}; the curves are in the model file."
    )  # fmt: skip
    if facts.decisions.get("exactly_one"):
        decided = "Every image gets its likeliest label and no other one."
    else:
        decided = "An image gets the labels whose probability reaches their threshold."
        if facts.decisions.get("at_least_one"):
            decided += " If there is none, it gets its likeliest label."
    return f"## Calibration and decisions\n\n{calibrated} {decided}"


def _licences(facts: CardFacts) -> str:
    own = "not stated" if facts.license is None else markdown(facts.license)
    text = f"## Licence\n\nOf the model, as stated in `report.license` of params.yaml: {own}."
    if not facts.backbones:
        return text + " The network was trained from scratch: no pretrained weights are in it."
    stated = "not stated" if facts.backbone_license is None else markdown(facts.backbone_license)
    return (
        f"{text}\n\nThe pretrained weights of {_listed(code(name) for name in facts.backbones)} are in it. Their "
        f"licence, as stated in `report.backbone_license`: {stated}. Nobody but the one who stated it has checked it."
    )


def _reproduce(facts: CardFacts) -> str:
    digests = table(["made of", "digest"], [[code(path), code(digest)] for path, digest in facts.digests.items()])
    versions = _listed(f"{markdown(name)} {markdown(version)}" for name, version in facts.versions.items())
    parts = [
        "## How to reproduce",
        "In a clone of the project at the commit that has this card and its `dvc.lock`:",
        "```\npip install -c requirements.lock -e .\ndvc repro\nposterity verify\n```",
    ]
    if facts.digests:
        parts += ["`posterity verify` compares all files with what was recorded. The model was made of:", digests]
    if versions:
        parts.append(f"Versions: {versions}. Other versions or another CPU may change the last digits.")
    return "\n\n".join(parts)


def _listed(items: Iterable[str]) -> str:
    return ", ".join(items) or "none"


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _plain(value: Any) -> str:
    """A value of params.yaml as it is written there."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)

"""Make an export: write it, load it by its own runtime, compare it with Keras, and let it appear if it is right."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from posterity import files, reading
from posterity.errors import UserError
from posterity.evaluation.decisions import Decisions
from posterity.exporting import comparison, readme, speed
from posterity.exporting.formats import FORMATS, README, TOLERANCE
from posterity.exporting.images import Examples
from posterity.nn.inference import engines, runtimes
from posterity.nn.inference.export_card import LABELS, ExportCard
from posterity.nn.inference.runtimes import ExportedModel
from posterity.text import printable

BATCH_SIZE = 64


@dataclass(frozen=True)
class ExportOptions:
    """What is asked of an export.

    Attributes
    ----------
    max_loss : float
        The most that a lower precision may add to the mean cross-entropy of the validation side.
    benchmark_s : float
        Seconds for which Keras and the export are each measured; 0 for not at all.
    """

    max_loss: float
    benchmark_s: float


def make(
    output: Path, model: Any, decisions: Decisions, card: ExportCard, examples: Examples, options: ExportOptions
) -> None:
    """Write the folder ``output``; what was found is printed.

    Parameters
    ----------
    output : Path
        The folder; an older export there is replaced.
    model : keras.Model
        uint8 images (n, height, width, 3) in, probabilities (n, num_labels) out.
    decisions : Decisions
        What follows the network.
    card : ExportCard
        For the metadata; it names format and precision.
    examples : Examples
        Images to compare on. For a lower precision than float32 they have labels.
    options : ExportOptions
        What is allowed, and what is measured.

    Raises
    ------
    UserError
        If the network cannot be converted, if what comes out is too far from Keras, or if the folder cannot be
        written. Nothing is written then.
    """
    form, runtime = FORMATS[card.format], runtimes.NAMES[card.format]
    by_keras = engines.batch_function(model, "keras", examples.images[:1], announce=False)
    with files.replacing_folder(output, form.files) as folder:
        folder.mkdir()
        print(f"Exporting as {card.format} in {card.precision} ...", flush=True)
        try:
            form.write(folder, model, decisions, card)
        except UserError:
            raise
        except Exception as error:  # converters raise what they like
            raise UserError(
                f"This network cannot be exported as {card.format}: {type(error).__name__}: "
                f"{printable(reading.one_line(error))}. Try another format."
            ) from None
        (folder / LABELS).write_text(card.to_json(_digests(folder)), encoding="utf-8")
        exported = runtimes.opened(folder)
        outcome = _compared(exported, decisions, by_keras, examples, options.max_loss)
        (folder / README).write_text(readme.text(card, outcome), encoding="utf-8")
        if options.benchmark_s:
            print(f"Measuring for about {2 * options.benchmark_s:g} s ...", file=sys.stderr, flush=True)
            functions = {"Keras": by_keras, runtime: exported.run}
            found = speed.images_per_second(functions, examples.images, options.benchmark_s)
            print(
                f"Images per second of the network alone: {runtime} {found[runtime]:,.0f}, Keras {found['Keras']:,.0f} "
                f"({found[runtime] / found['Keras']:.2f} times).",
                flush=True,
            )


def _digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file of an export, by its path in the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _compared(
    exported: ExportedModel, decisions: Decisions, by_keras: engines.BatchFunction, examples: Examples, max_loss: float
) -> str:
    """Compare with Keras, print how far they are apart, and return that; a `UserError` if it is too far."""
    scores, found = [], []
    starts = range(0, len(examples.images), BATCH_SIZE)
    for start in tqdm(starts, "compare", unit=" batches", mininterval=1, delay=2):
        part = examples.images[start : start + BATCH_SIZE]
        scores.append(by_keras(part).clip(0, 1))
        found.append(exported.run(part))
    raw = np.concatenate(scores)
    probabilities, decided = (np.concatenate(column) for column in zip(*found, strict=True))
    agreed = comparison.agreement(decisions, raw, probabilities, decided)
    runtime, at = runtimes.NAMES[exported.card.format], exported.card.precision
    largest = agreed.largest if at == "float32" else float(np.abs(probabilities - decisions.apply(raw)[0]).max())
    said = (
        f"{runtime} beside Keras on {examples.source}: the largest difference of a probability is {largest:.1e}; "
        f"{agreed.changed:,} of {agreed.cells:,} decisions differ"
    )
    if agreed.at_steps and at == "float32":
        said += (
            f"; not counted are probabilities at a step of their isotonic curve, where scores that are equal to "
            f"{TOLERANCE:g} come out on either side ({agreed.at_steps:,})"
        )
    print(f"{said}.", flush=True)
    if at == "float32":
        if not agreed.largest <= TOLERANCE or agreed.unexplained:
            raise UserError(
                f"Expected {runtime} to agree with Keras to {TOLERANCE:g}, and in every decision but those that are as "
                f"near to their threshold. Got a difference of {agreed.largest:.1e} and {agreed.unexplained:,} such "
                "decisions. Nothing is written; try another format."
            )
        return f"{said}."
    if examples.targets is None:
        raise ValueError("a lower precision is judged by labels")
    before = comparison.loss(examples.targets, decisions.apply(raw)[0])
    after = comparison.loss(examples.targets, probabilities)
    change = after.bce - before.bce
    figures = f"bce {before.bce:.4f} -> {after.bce:.4f} ({change:+.4f})"
    if before.map_macro is not None and after.map_macro is not None:
        moved = after.map_macro - before.map_macro
        figures += f", map_macro {before.map_macro:.4f} -> {after.map_macro:.4f} ({moved:+.4f})"
    figures = f"With {at}, on calibrated probabilities: {figures}."
    print(figures, flush=True)
    if not change <= max_loss:
        raise UserError(
            f"--precision {at} adds {change:.4f} to the bce of the validation side; at most {max_loss:g} are allowed "
            "(--max-loss). Nothing is written; raise it, or export in float32."
        )
    return f"{said}. {figures}"

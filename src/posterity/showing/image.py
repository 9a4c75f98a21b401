"""`posterity show image ID`: a picture as the network gets it, its labels, and the scores that it has got."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity import files, model_card, model_decisions
from posterity.cache import rows as cached_rows
from posterity.cache.tensors import TensorCache
from posterity.config.schema import Params
from posterity.dataset import manifest
from posterity.errors import UserError
from posterity.evaluation.decisions import Decisions
from posterity.pixels.decode import ImageProblem, decode
from posterity.pixels.spec import ImageSpec
from posterity.showing import picture, preview, run, scored
from posterity.showing.console import bar, number, table, text
from posterity.showing.picture import LabelState
from posterity.splitting import split_file
from posterity.targets import ABSENT, PRESENT

if TYPE_CHECKING:
    from rich.console import Console

STATES = {ABSENT: "absent", PRESENT: "present"}
LABELS_SHOWN = 15
BAR_WIDTH = 20
LEGEND = "Filled: in the table. Bar: probability. Line: threshold."


@dataclass(frozen=True, eq=False)
class Shown:
    """An image with all that is known of it.

    Attributes
    ----------
    id : str
        Its id in the table.
    pixels : ndarray of uint8, shape (height, width, 3)
        What the network gets.
    states : list of LabelState
        Its labels, the likeliest first; those that it has first if there are no scores.
    notes : list of str
        Sentences: where the pixels come from, the side, and what is missing.
    """

    id: str
    pixels: npt.NDArray[np.uint8]
    states: list[LabelState]
    notes: list[str]


def show(console: "Console", id_: str, params: Params, output: Path | None) -> None:
    """Print the view of an image, and draw it to the file ``output``, if that is wanted.

    Raises
    ------
    UserError
        If no row has the id, if no stage has read the data yet, if a file is damaged or cannot be written.
    """
    if output is not None and output.suffix.lower() != ".png":
        raise UserError(f"--output {output}: expected a name that ends in .png. Got another one. Give such a name.")
    shown = gather(id_, params)
    states = _chosen(shown.states)
    if output is not None:
        drawn = picture.draw(shown.pixels, shown.id, states, [*shown.notes, LEGEND])
        with files.replacing(output) as temporary:
            drawn.save(temporary, format="PNG")
    for line in run.description():
        console.print(text(line))
    console.print()
    console.print(text(shown.id, "bold"))
    if output is None and preview.can_show(console):
        console.print(preview.preview(shown.pixels, console.width))
    for note in shown.notes:
        console.print(text(note))
    _show_labels(console, states)
    if len(shown.states) > len(states):
        console.print(text(f"... {len(shown.states) - len(states):,} more labels", "dim"))
    if output is not None:
        console.print(text(f"Written to {output}."))


def gather(id_: str, params: Params) -> Shown:
    """Gather what is known of the first row with this id.

    Raises
    ------
    UserError
        As `show`.
    """
    listed = manifest.read_manifest(run.path("manifest"))
    if not run.path("rows").exists():
        names = manifest.read_label_names(run.path("labels"), listed, run.path("manifest"))
        row, id_, notes = _find(id_, listed, run.path("manifest"))
        notes += [_decoded_note(params), run.not_there("rows", "sides and scores", "preprocess") or ""]
        targets = manifest.targets(listed.iloc[[row]], names)[0]
        return Shown(id_, _decode(listed["path"].iloc[row], params), _states(targets, names, None, None), notes)
    cached = cached_rows.read(run.path("rows"))
    row, id_, notes = _find(id_, cached.index, run.path("rows"))
    if run.path("tensors").exists():
        pixels = TensorCache(run.path("tensors")).images([row])[0]
        notes.append(f"As the network gets it: {pixels.shape[0]} x {pixels.shape[1]}, from {run.path('tensors')}.")
    else:
        line = int(cached.index["line"].iloc[row])
        pixels = _decode(listed["path"].iloc[listed["line"].tolist().index(line)], params)
        notes.append(_decoded_note(params))
    scores, reason = _scores(cached, row)
    decisions = None
    if scores is not None and run.path("model").exists():
        decisions = model_decisions.of_card(run.path("model"), model_card.read(run.path("model")))
    states = _states(cached.targets[row], cached.label_names, scores, decisions)
    return Shown(id_, pixels, states, [*notes, reason])


def _find(id_: str, index: pd.DataFrame, source: Path) -> tuple[int, str, list[str]]:
    """Row number and id of the first row with an id, and a note if there are more."""
    ids = index["id"].tolist()
    id_ = run.found_name(id_, ids, what="the id of an image", source=str(source))
    rows = [row for row, other in enumerate(ids) if other == id_]
    lines = index["line"].iloc[rows].tolist()
    notes = (
        [f"The table has this id on the lines {', '.join(map(str, lines))}; this is the first."] if lines[1:] else []
    )
    return rows[0], id_, notes


def _decode(path: str, params: Params) -> npt.NDArray[np.uint8]:
    try:
        return decode(path, ImageSpec(**params.image.model_dump(exclude={"rows_per_shard"})))
    except ImageProblem as error:
        raise UserError(f"{path}: expected an image that can be decoded. Got: {error}. Replace the file.") from None


def _decoded_note(params: Params) -> str:
    return (
        f"As the network would get it: {params.image.height} x {params.image.width}, decoded now as section image says."
    )


def _scores(cached: cached_rows.Rows, row: int) -> tuple[npt.NDArray[np.float64] | None, str]:
    """Scores of a row, (L,), or None; and what they are, or why there are none."""
    if missing := run.not_there("split", "sides", "split"):
        return None, missing
    sides = split_file.read(run.path("split"), cached.index)
    if row in sides.test:
        return None, "Side: test. The scores of its images are kept nowhere; `posterity predict` gives those of a file."
    if row in sides.train:
        scores = scored.out_of_fold(cached, sides)
        if scores is None:
            return None, "Side: train. The network has seen its labels, so it has no score (with train.folds it has)."
        place = int(np.searchsorted(sides.train, row))
        return scores[place], "Side: train. Scores by networks that did not see the image."
    if row not in sides.validation:
        return None, "Side: none, as split.side_column says."
    found = scored.read(cached, sides)
    if found is None:
        return None, f"Side: validation. {run.not_there('scores', 'scores', 'train')}"
    place = int(np.searchsorted(sides.validation, row))
    more = run.not_there("model", "thresholds", "evaluate")
    return found.rows.scores[place], f"Side: validation.{f' {more}' if more else ''}"


def _states(
    targets: npt.NDArray[np.uint8],
    names: list[str],
    scores: npt.NDArray[np.float64] | None,
    decisions: Decisions | None,
) -> list[LabelState]:
    truth = [STATES.get(int(value), "unknown") for value in targets]
    if scores is None:
        states = [LabelState(name, said) for name, said in zip(names, truth, strict=True)]
        order = ("present", "unknown", "absent")
        return sorted(states, key=lambda state: order.index(state.truth))
    probabilities, decided, thresholds = scores, None, None
    if decisions is not None:
        calibrated, chosen = decisions.apply(scores[None])
        probabilities, decided, thresholds = calibrated[0], chosen[0], decisions.thresholds
    states = [
        LabelState(
            name,
            truth[label],
            float(probabilities[label]),
            None if thresholds is None else thresholds[label],
            None if decided is None else bool(decided[label]),
        )
        for label, name in enumerate(names)
    ]
    return sorted(states, key=lambda state: -(state.probability or 0.0))


def _chosen(states: list[LabelState]) -> list[LabelState]:
    """The first labels, and all others that the image has or gets."""
    return [state for place, state in enumerate(states) if place < LABELS_SHOWN or _matters(state)]


def _matters(state: LabelState) -> bool:
    return state.truth == "present" or bool(state.decided)


def _show_labels(console: "Console", states: list[LabelState]) -> None:
    with_scores = states[0].probability is not None
    is_ascii = console.options.ascii_only
    rows = []
    for state in states:
        said = {"present": "yes", "unknown": "?"}.get(state.truth, "")
        cells: tuple[object, ...] = (text(state.name, "bold" if said == "yes" else ""), said)
        if state.probability is not None:
            decided = "decided" if state.decided else ""
            drawn = bar(state.probability, BAR_WIDTH, is_ascii=is_ascii)
            cells += (number(state.probability), number(state.threshold), decided, drawn)
        rows.append(cells)
    titles = [("label", "left"), ("in the table", "left")]
    if with_scores:
        titles += [("probability", "right"), ("threshold", "right"), ("", "left"), ("", "left")]
    if console.width < 80 and with_scores:
        rows, titles = [row[:-1] for row in rows], titles[:-1]
    console.print(table(titles, rows))

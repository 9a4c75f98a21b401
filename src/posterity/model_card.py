"""The model card: what a model file says about itself beyond its weights.

It names the labels, says how an image file becomes the network's input, and how scores become decided labels.
"""

import contextlib
import dataclasses
import io
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from posterity import errors, files, model_archive, recorded
from posterity.errors import UserError
from posterity.pixels.spec import ImageSpec
from posterity.regular_file import open_regular
from posterity.text import printable

CARD = "posterity.json"
SERVED = "served.keras"  # beside model.keras: see `opened`
NETWORK = {"config.json", "model.weights.h5"}  # what Keras puts into a model file
MOST_LABELS = 100_000


@dataclass(frozen=True)
class ModelCard:
    """What a prediction needs to know about a model; it is stored inside the model file.

    Attributes
    ----------
    label_names : tuple of str
        Names of the outputs, in order.
    label_frequencies : tuple of float
        Share of the training rows that carry each label: the best prediction for an image that nobody has looked at.
    image : ImageSpec
        How a file becomes the network's input.
    decisions : dict, optional
        Calibration and thresholds, as `dataclasses.asdict` writes `posterity.evaluation.decisions.Decisions` and
        `Decisions.from_content` reads them. A model that has just been trained has none: stage `evaluate` adds them.
        They are plain JSON content, so that training does not depend on the code that decides.
    """

    label_names: tuple[str, ...]
    label_frequencies: tuple[float, ...]
    image: ImageSpec
    decisions: dict[str, Any] | None = None

    def to_json(self) -> str:
        """Write the card as JSON; equal cards give the same text."""
        content = dataclasses.asdict(self) | {"image": self.image.to_content()}
        return json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False)

    def as_member(self) -> dict[str, bytes]:
        """Name and content of the card inside a model file."""
        return {CARD: self.to_json().encode()}

    @staticmethod
    def from_json(text: str) -> "ModelCard":
        """Read a card that `to_json` wrote.

        Raises
        ------
        KeyError, TypeError, ValueError, RecursionError
            If the text is no JSON, or if a field is missing, of another type or outside its range. What the decisions
            hold is checked by those who use them.
        """

        def refuse(constant: str) -> NoReturn:
            raise ValueError(f"{constant}, which is no JSON")

        content = json.loads(text, parse_constant=refuse)
        if not isinstance(content, dict):
            raise TypeError(f"a {type(content).__name__} instead of an object")
        names, frequencies, decisions = (content[key] for key in ("label_names", "label_frequencies", "decisions"))
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError("label_names is no list of names")
        if len(names) > MOST_LABELS or len(set(names)) < len(names):
            raise ValueError(f"{len(names):,} labels with {len(set(names)):,} names; at most {MOST_LABELS:,} are read")
        if not isinstance(frequencies, list) or not all(
            isinstance(share, int | float) and not isinstance(share, bool) and math.isfinite(share) and 0 <= share <= 1
            for share in frequencies
        ):
            raise ValueError("label_frequencies is no list of numbers from 0 to 1")
        if len(frequencies) != len(names):
            raise ValueError(f"{len(names)} labels, {len(frequencies)} label_frequencies")
        if decisions is not None and not isinstance(decisions, dict):
            raise TypeError(f"decisions is a {type(decisions).__name__} instead of an object")
        return ModelCard(tuple(names), tuple(frequencies), ImageSpec.from_content(content["image"]), decisions)


@dataclass(frozen=True)
class ModelFile:
    """A model file that is open: what is read of it is of one model, whatever takes its place on the disk meanwhile.

    Attributes
    ----------
    path : Path
        Where it was opened, for messages.
    stream : file
        Its bytes; whoever reads them begins with ``seek(0)``.
    card : ModelCard
        The card inside.
    """

    path: Path
    stream: io.BufferedReader
    card: ModelCard


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], *, is_recorded: bool = False, or_served: bool = False) -> Iterator[ModelFile]:
    """Open a model file, check all of it, and read its card, without Keras.

    Parameters
    ----------
    path : path
        The model file.
    is_recorded : bool
        Compare it with dvc.lock (`posterity.recorded`). Stages do; a program that serves predictions does not, since
        stage `evaluate` may have replaced the file a moment before DVC writes dvc.lock.
    or_served : bool
        If there is no such file, open `SERVED` beside it, if there is one, and say so on stderr: DVC deletes the model
        before it runs stage `evaluate`, which puts a copy there when it has finished.

    Raises
    ------
    UserError
        If there is no such file, if it cannot be read, or if it is not a model that this pipeline trained.
    """
    with _open(Path(path), or_served) as (place, stream):
        if is_recorded:
            recorded.check_stream(place, stream)
        try:
            with model_archive.opened(stream, stored=True) as archive:
                if absent := sorted({*NETWORK, CARD} - set(archive.namelist())):
                    raise model_archive.ArchiveError(f"no {absent[0]} inside")
                content = archive.read(CARD)
        except OSError as error:
            raise UserError(
                errors.explained(error, place, "read")
                or f"{place}: expected a model that can be read. Got: {error.strerror or error}."
            ) from None
        except model_archive.ArchiveError as error:
            raise UserError(
                f"{place}: expected a model that this pipeline trained (a .keras file with {CARD} inside). "
                f"Got {error}. Train one with `dvc repro`, or fetch it with `dvc pull`."
            ) from None
        try:
            card = ModelCard.from_json(content.decode())
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise unreadable(place, error) from None
        yield ModelFile(place, stream, card)


@contextlib.contextmanager
def _open(path: Path, or_served: bool) -> Iterator[tuple[Path, io.BufferedReader]]:
    """Open ``path`` or, if it is missing and that is wanted, the served model beside it."""
    place, stream = path, None
    # No look first and then an open: the file may go in between.
    for place in (path, path.with_name(SERVED)) if or_served else (path,):
        try:
            stream = open_regular(place)
            break
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:  # ValueError: a name with a 0 byte
            text = errors.explained(error, place, "read") or f"{place}: cannot be opened: {error}. Correct the path."
            raise UserError(text) from None
    if stream is None:
        raise UserError(f"{path}: there is no model here. Train one with `dvc repro`, or fetch it with `dvc pull`.")
    with stream:
        if place != path:
            print(f"{path} does not exist; {place} is used, which the last run of evaluate left.", file=sys.stderr)
        yield place, stream


def read(path: str | os.PathLike[str], *, is_recorded: bool = False) -> ModelCard:
    """Read the card of a model file, without Keras; see `opened`."""
    with opened(path, is_recorded=is_recorded) as model:
        return model.card


def check_labels(path: str | os.PathLike[str], card: ModelCard, names: Sequence[str], source: object) -> None:
    """Raise a `UserError` with both values unless the model in ``path`` has the labels that ``source`` has."""
    if card.label_names == tuple(names):
        return
    if len(card.label_names) == len(names):
        place = next(k for k, pair in enumerate(zip(card.label_names, names, strict=True)) if pair[0] != pair[1])
        expected, got = f"label {place + 1} to be {names[place]!r}", repr(card.label_names[place])
    else:
        expected, got = f"{len(names)} labels", f"{len(card.label_names)}"
    raise UserError(
        f"{path}: expected a model of the labels in {source}: {expected}. Got {got}. Run `dvc repro`, which trains one."
    )


def check_image(path: str | os.PathLike[str], card: ModelCard, image: ImageSpec, source: object) -> None:
    """Raise a `UserError` with both values unless the model in ``path`` takes the images that ``source`` has."""
    for field in dataclasses.fields(ImageSpec):
        expected, got = getattr(image, field.name), getattr(card.image, field.name)
        if expected != got:
            raise UserError(
                f"{path}: expected a model of images with {field.name} {_plain(expected)}, as {source} has them. "
                f"Got {_plain(got)}. Run `dvc repro`, which trains one."
            )


def _plain(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def unreadable(path: str | os.PathLike[str], reason: Exception | str) -> UserError:
    """Make the error for a card that this version cannot make sense of."""
    got = f"no {reason}" if isinstance(reason, KeyError) else " ".join(str(reason).split())[:300]
    return UserError(
        f"{printable(path)}: expected {CARD} inside as this version of posterity writes it. Got: {printable(got)}. "
        "Train the model again with `dvc repro`, or use the version that wrote it."
    )


def copy_with(source: str | os.PathLike[str], target: str | os.PathLike[str], card: ModelCard) -> None:
    """Write the model in the file ``source`` to ``target`` with another card, without Keras.

    Raises
    ------
    UserError
        As `opened`, or if the card is too large to be read again.
    """
    member = card.as_member()
    if len(member[CARD]) > model_archive.SMALL:
        raise UserError(
            f"{target}: expected a card of at most {model_archive.SMALL:,} bytes. Got {len(member[CARD]):,}: the "
            "curves of decide.calibration are too long for so many labels. Set it to platt in params.yaml."
        )
    with opened(source) as model, model_archive.opened(model.stream, stored=True) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    files.write_archive(target, members | member)

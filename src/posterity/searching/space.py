"""Which parameters a search varies, and between which values."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from posterity.config.load import check_params
from posterity.config.schema import Params, Section
from posterity.errors import UserError
from posterity.text import printable

Value = bool | int | float | str | None

# The space for a head on a frozen backbone and AdamW, around the values of recipes/frozen_backbone.yaml.
DEFAULT = """\
model:
  head:
    hidden_units: [0, 256, 512, 1024]
    dropout: {low: 0.3, high: 0.8}
train:
  learning_rate: {low: 0.0001, high: 0.01, log: true}
  weight_decay: {low: 0.03, high: 3.0, log: true}
  epochs: {low: 10, high: 40, step: 5}
  mixup: {low: 0.0, high: 0.8}
  label_smoothing: [0.0, 0.05, 0.1]
"""
SECTIONS = ("train.", "model.head.")
_IDLE = "on cached features it changes nothing"
# Parameters of these sections that cannot be searched, and why.
REFUSED = {
    "train.folds": "the search deals the folds, the same ones for all trials",
    "train.repeats": "the search deals the folds, the same ones for all trials",
    "train.keep_epoch": "it chooses by the validation side, which has no part in a search",
    "train.early_stopping": "it chooses by the validation side, which has no part in a search",
    "train.half_size_epochs": "it is for networks from scratch",
    "train.log_to": "it changes no result",
    "train.augment.shift": _IDLE,
    "train.augment.zoom": _IDLE,
    "train.augment.brightness": _IDLE,
    "train.augment.contrast": _IDLE,
    "train.augment.erase": _IDLE,
}
_RANGE = {"low", "high", "log", "step"}


@dataclass(frozen=True)
class Choices:
    """Some values of a parameter, which have no order.

    Attributes
    ----------
    key : str
        Dotted key of the parameter.
    values : tuple
        At least two.
    """

    key: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """All numbers from ``low`` to ``high``.

    Attributes
    ----------
    key : str
        Dotted key of the parameter.
    low, high : float
        Both belong to it; integers if ``is_integer``.
    log : bool
        Draw the logarithm evenly, not the number.
    step : float or None
        Only ``low``, ``low + step``, ...; None = 1 for integers, any number otherwise.
    is_integer : bool
        Whether the parameter is an integer.
    """

    key: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    is_integer: bool = False

    def nearest(self, value: float) -> int | float:
        """``value`` with the digits that one would write by hand: three, or as many as a step has.

        >>> Range("train.learning_rate", 0.0001, 0.01, log=True).nearest(0.0012345)
        0.00123
        >>> Range("train.dropout", 0.1, 0.5, step=0.1).nearest(0.30000000000000004)
        0.3
        """
        if self.is_integer:
            return int(value)
        digits = 3 if self.step is None else 10
        return min(max(float(f"{value:.{digits}g}"), self.low), self.high)


Dimension = Choices | Range
Space = tuple[Dimension, ...]


def parse(content: Any, base: Params, source: str) -> Space:
    """Check a space, and say what it holds.

    Parameters
    ----------
    content : mapping
        In the sections of params.yaml, for each parameter a list of values or ``{low, high}``, with ``log: true`` or
        ``step`` if wanted; such as the content of `DEFAULT`.
    base : Params
        What the other parameters are.
    source : str
        The name of the space in messages.

    Raises
    ------
    UserError
        If it names something that cannot be searched, or if a parameter cannot have one of its values.

    Examples
    --------
    >>> from pathlib import Path
    >>> from posterity.config.load import load_params
    >>> base = load_params("params.yaml")
    >>> parse({"train": {"epochs": {"low": 5, "high": 9, "step": 2}, "mixup": [0, 0.2]}}, base, "mine.yaml")
    (Range(key='train.epochs', low=5, high=9, log=False, step=2, is_integer=True), \
Choices(key='train.mixup', values=(0.0, 0.2)))
    """
    if not isinstance(content, dict) or not content:
        raise UserError(
            f"{source}: expected sections of params.yaml with what to search, such as `train: {{mixup: [0.0, 0.4]}}`. "
            "Got none. Add one."
        )
    space = tuple(_dimension(key, value, f"{source}: {printable(key)}") for key, value in _leaves(content))
    if not space:
        raise UserError(f"{source}: expected a parameter to search. Got none. Add one.")
    for dimension in space:
        for value in _ends(dimension):
            _check_possible(base, dimension, value, space, source)
    return space


def _ends(dimension: Dimension) -> tuple[Value, ...]:
    return dimension.values if isinstance(dimension, Choices) else (dimension.low, dimension.high)


def _check_possible(base: Params, dimension: Dimension, value: Value, space: Space, source: str) -> None:
    """Raise a `UserError` unless ``value`` goes together with ``base``, or with a value of another dimension."""
    try:
        with_values(base, {dimension.key: value}, source)
    except UserError:
        for other in space:
            for beside in _ends(other) if other != dimension else ():
                with contextlib.suppress(UserError):
                    with_values(base, {dimension.key: value, other.key: beside}, source)
                    return
        raise


def with_values(base: Params, values: Mapping[str, Value], source: str) -> Params:
    """The parameters ``base`` with other values of some dotted keys.

    Raises
    ------
    UserError
        If a parameter cannot have its value, or if they do not go together; ``source`` is where they come from.
    """
    content = base.model_dump(mode="json")
    for key, value in values.items():
        *above, name = key.split(".")
        section = content
        for part in above:
            section = section[part]
        section[name] = value
    return check_params(content, source)


def values_of(params: Params, space: Space) -> dict[str, Value]:
    """What the parameters of a space are in ``params``, by dotted key."""
    found: dict[str, Value] = {}
    for dimension in space:
        value: Any = params
        for part in dimension.key.split("."):
            value = getattr(value, part)
        found[dimension.key] = value
    return found


def _leaves(section: dict[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        dotted = f"{above}{key}"
        if isinstance(value, dict) and not _RANGE & set(map(str, value)):
            yield from _leaves(value, f"{dotted}.")
        else:
            yield dotted, value


def _dimension(key: str, value: Any, place: str) -> Dimension:
    if not key.startswith(SECTIONS):
        raise UserError(f"{place} cannot be searched: expected parameters of train and model.head. Remove it.")
    if key in REFUSED:
        raise UserError(f"{place} cannot be searched: {REFUSED[key]}. Remove it.")
    kinds = _kinds(key)
    if kinds is None:
        raise UserError(f"{place} is not a parameter of params.yaml. Correct its name, or remove it.")
    if isinstance(value, list):
        return Choices(key, _choices(value, kinds, place))
    if isinstance(value, dict):
        return _range(key, value, kinds, place)
    raise UserError(
        f"{place} must be a list of values, or {{low: ..., high: ...}}. Got {value!r}. Write one of these, or set the "
        "one value in params.yaml."
    )


def _kinds(key: str) -> tuple[Any, ...] | None:
    """The types of a parameter's values, or None if there is no such parameter."""
    kind: Any = Params
    for part in key.split("."):
        if not (isinstance(kind, type) and issubclass(kind, Section)) or part not in kind.model_fields:
            return None
        kind = kind.model_fields[part].annotation
    if isinstance(kind, type) and issubclass(kind, Section):
        return None
    return get_args(kind) if get_origin(kind) in (UnionType, Union) else (kind,)


def _choices(values: list[Any], kinds: tuple[Any, ...], place: str) -> tuple[Value, ...]:
    for value in values:
        if value is not None and not isinstance(value, bool | int | float | str):
            raise UserError(f"{place} must be a list of plain values. Got {value!r} in it. Remove that.")
    made = [float(value) if float in kinds and type(value) is int else value for value in values]
    distinct = list(dict.fromkeys((type(value), value) for value in made))
    if len(distinct) < 2 or len(distinct) < len(made):
        raise UserError(
            f"{place} must be a list of at least two different values. Got {values}. Change it, or set the one "
            "value in params.yaml."
        )
    return tuple(made)


def _range(key: str, content: dict[Any, Any], kinds: tuple[Any, ...], place: str) -> Range:
    if not {int, float} & set(kinds):
        raise UserError(f"{place} must be a list of values: it is no number. Got {content}. Write a list.")
    is_integer = float not in kinds
    number = "an integer" if is_integer else "a number"
    if unknown := sorted(str(name) for name in content if name not in _RANGE):
        raise UserError(f"{place} must have low and high, and may have log and step. Got {unknown[0]!r}. Remove it.")
    log = content.get("log", False)
    if not isinstance(log, bool):
        raise UserError(f"{place}.log must be true or false. Got {log!r}. Change it.")
    found: dict[str, float] = {}
    for name in ("low", "high", "step"):
        value: Any = content.get(name)
        if value is None and name == "step":
            continue
        allowed = type(value) is int or (type(value) is float and not is_integer and math.isfinite(value))
        if not allowed:
            raise UserError(f"{place}.{name} must be {number}. Got {value!r}. Write one.")
        found[name] = value if is_integer else float(value)
    low, high, step = found["low"], found["high"], found.get("step")
    if low >= high:
        raise UserError(f"{place}.low must be less than high, {high:g}. Got {low:g}. Change one of them.")
    if log and low <= 0:
        raise UserError(f"{place}.low must be above 0 for log: true. Got {low:g}. Change one of them.")
    if step is not None:
        if log:
            raise UserError(f"{place} must have either log: true or a step. Got both. Remove one of them.")
        number_of_steps = (high - low) / step if step > 0 else 0.0
        if step <= 0 or abs(number_of_steps - round(number_of_steps)) > 1e-9:
            raise UserError(
                f"{place}.step must be above 0 and lead from low, {low:g}, to high, {high:g}. Got {step:g}. Change it."
            )
    return Range(key, low, high, log, step, is_integer)

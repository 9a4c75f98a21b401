"""params.yaml as one level of dotted keys: all values, and those that are not the values of a fresh clone."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from posterity.config.schema import Params


def values(params: Params) -> dict[str, Any]:
    """Every parameter by its dotted key, in the order of params.yaml; lists are lists and free mappings stay whole."""
    return {key: value for key, _, value in _leaves(params, "")}


def differing(section: BaseModel, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """The documented default and the value of every parameter that differs from it, by its dotted key.

    Parameters
    ----------
    section : BaseModel
        All parameters, or a section of them.
    prefix : str
        What stands before the keys of the section, such as ``"train."``.
    """
    return {key: (default, value) for key, default, value in _leaves(section, prefix) if default != value}


def _leaves(section: BaseModel, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    """Key, default and value of every parameter in a section."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{name}.")
            continue
        default = (field.examples or [None])[0]
        value = list(value) if isinstance(value, tuple) else value
        if isinstance(value, list) and isinstance(default, str):  # one item stands for a list of it
            default = [default]
        yield f"{prefix}{name}", default, value

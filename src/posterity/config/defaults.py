"""Which values of params.yaml are not those of a fresh clone."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel


def differing(section: BaseModel, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """The documented default and the value of every parameter that differs from it, by its dotted key.

    Parameters
    ----------
    section : BaseModel
        All parameters, or a section of them.
    prefix : str
        What stands before the keys of the section, such as ``"train."``.
    """
    return {key: (default, value) for key, default, value in _pairs(section, prefix) if default != value}


def _pairs(section: BaseModel, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _pairs(value, f"{prefix}{name}.")
        else:
            default = (field.examples or [None])[0]
            value = list(value) if isinstance(value, tuple) else value
            if isinstance(value, list) and isinstance(default, str):  # one item stands for a list of it
                default = [default]
            yield f"{prefix}{name}", default, value

"""Recipes: small files with some of the keys of params.yaml, to be merged into it."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from posterity.config import yaml12
from posterity.config.load import check_params, load_params
from posterity.errors import UserError


class Change(NamedTuple):
    """A value that a recipe changes: its dotted key, what params.yaml has now, and what the recipe has."""

    key: str
    old: Any
    new: Any


def merge(params_file: Path, recipe_file: Path) -> tuple[str, list[Change]]:
    """Say what params.yaml becomes with the values of a recipe. Nothing is written.

    Parameters
    ----------
    params_file : Path
        A complete and correct params.yaml.
    recipe_file : Path
        A YAML file with some of its keys, in the same sections.

    Returns
    -------
    text : str
        The new content of ``params_file``, with all comments.
    changes : list of Change
        What differs, in the order of the recipe; empty if params.yaml has all these values already.

    Raises
    ------
    UserError
        If one of the files cannot be read, if the recipe has a key that params.yaml does not have, or if the result
        would not be a correct params.yaml.
    """
    load_params(params_file)  # a mistake that stands there already is not the recipe's
    recipe = yaml12.read(str(recipe_file))
    if not isinstance(recipe, dict):
        raise UserError(f"{recipe_file}: expected sections of params.yaml, such as `train:`. Got none. Add one.")
    document = _round_trip().load(params_file.read_text(encoding="utf-8-sig"))
    changes = []
    for keys, value in _leaves(recipe):
        section = document
        for key in keys[:-1]:
            section = section[key] if isinstance(section, dict) and key in section else None
        if not isinstance(section, dict) or keys[-1] not in section or isinstance(section[keys[-1]], dict):
            dotted = ".".join(keys)
            raise UserError(f"{recipe_file}: {dotted} is not a parameter of {params_file}. Remove it from the recipe.")
        if section[keys[-1]] != value:
            changes.append(Change(".".join(keys), section[keys[-1]], value))
            section[keys[-1]] = _on_one_line(value)
    stream = io.StringIO()
    _round_trip().dump(document, stream)
    text = stream.getvalue()
    check_params(yaml12.parse(text), f"{params_file} with {recipe_file}")
    return text, changes


def shown(value: Any) -> str:
    """A value as one would write it in params.yaml.

    >>> shown(None), shown(True), shown(["a.keras", "b.keras"]), shown(0.001)
    ('null', 'true', '[a.keras, b.keras]', '0.001')
    """
    stream = io.StringIO()
    _round_trip().dump(_on_one_line(value), stream)
    return stream.getvalue().removesuffix("\n").removesuffix("...").removesuffix("\n")


def _leaves(section: dict[Any, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*above, str(key)))
        else:
            yield (*above, str(key)), value


def _on_one_line(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    line = CommentedSeq(value)
    line.fa.set_flow_style()
    return line


def _round_trip() -> YAML:
    """A reader and writer that keeps comments, quotes and line ends as they are, and writes ``null`` for nothing."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(type(None), lambda out, _: out.represent_scalar("tag:yaml.org,2002:null", "null"))
    return yaml

"""Recipes: small files with some of the keys of params.yaml, to be merged into it."""

import functools
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from posterity.config import yaml12
from posterity.config.load import check_params, load_params
from posterity.errors import UserError
from posterity.text import printable

# Parameters whose value is a mapping with names of the user's: they change as a whole.
FREE_MAPPINGS = ("data.values", "predict.images", "split.sides")

WIDTH = 2**31  # of a line of YAML: no text is parted


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
    return change(params_file, dict(_leaves(recipe)), source=str(recipe_file))


def change(params_file: Path, settings: Mapping[str, Any], *, source: str) -> tuple[str, list[Change]]:
    """Say what params.yaml becomes with other values. Nothing is written.

    Parameters
    ----------
    params_file : Path
        A complete params.yaml.
    settings : mapping of str to value
        Dotted keys, and what they are to be.
    source : str
        Where the settings come from, for messages.

    Returns
    -------
    text, changes
        As those of `merge`, in the order of ``settings``.

    Raises
    ------
    UserError
        If a key is not one of ``params_file``, or if the result would not be a correct params.yaml.
    """
    yaml12.read(str(params_file))  # says in a sentence what is wrong with the file, if anything
    document = _round_trip().load(params_file.read_text(encoding="utf-8-sig"))
    changes = []
    for dotted, value in settings.items():
        *above, key = dotted.split(".")
        section = document
        for name in above:
            section = section[name] if isinstance(section, dict) and name in section else None
        is_section = isinstance(section, dict) and isinstance(section.get(key), dict) and dotted not in FREE_MAPPINGS
        if not isinstance(section, dict) or key not in section or is_section:
            raise UserError(f"{source}: {printable(dotted)} is not a parameter of {params_file}. Remove it there.")
        if section[key] != value:
            changes.append(Change(dotted, section[key], value))
            section[key] = _on_one_line(value)
    stream = io.StringIO()
    _round_trip().dump(document, stream)
    text = stream.getvalue()
    check_params(yaml12.parse(text), f"{params_file} with {source}")
    return text, changes


def shown(value: Any) -> str:
    """A value as one would write it in params.yaml, on one line.

    `posterity.text.printable` of it is written alike, and means the same.

    >>> shown(None), shown(True), shown(["a.keras", "b.keras"]), shown(0.001)
    ('null', 'true', '[a.keras, b.keras]', '0.001')
    """
    stream = io.StringIO()
    yaml = _round_trip()
    yaml.width = WIDTH  # long texts stay on one line, too
    yaml.dump(_on_one_line(value), stream)
    return stream.getvalue().removesuffix("\n").removesuffix("...").removesuffix("\n")


def _as_written(out: Any, text: str) -> Any:
    """A text; in double quotes if it has characters that `printable` escapes, since only there escapes mean them.

    The same if ruamel.yaml would write it so that it is read as another: ``[?0]`` is read as a mapping, and U+0085 as
    a line end.
    """
    is_safe = printable(text) == text and _comes_back(text)
    return out.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_safe else '"')


class _Representer(RoundTripRepresenter):
    """Of its own, since ruamel.yaml keeps these functions for all readers and writers of a class."""


_Representer.add_representer(str, _as_written)
_Representer.add_representer(type(None), lambda out, _: out.represent_scalar("tag:yaml.org,2002:null", "null"))


@functools.cache
def _comes_back(text: str) -> bool:
    """Whether ruamel.yaml's own choice of quotes keeps a text as an item, a key and a value."""
    for content in ([text], {text: text}):
        stream, yaml = io.StringIO(), YAML()
        yaml.width = WIDTH
        yaml.dump(_on_one_line(content), stream)
        try:
            if yaml12.parse(stream.getvalue()) != content:
                return False
        except YAMLError:
            return False
    return True


def _leaves(section: dict[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        dotted = f"{above}{key}"
        if isinstance(value, dict) and value and dotted not in FREE_MAPPINGS:
            yield from _leaves(value, f"{dotted}.")
        else:
            yield dotted, value


def _on_one_line(value: Any) -> Any:
    if not isinstance(value, list | dict):
        return value
    line = CommentedSeq(value) if isinstance(value, list) else CommentedMap(value)
    line.fa.set_flow_style()
    return line


def _round_trip() -> YAML:
    """A reader and writer that keeps comments, quotes and line ends as they are, and writes ``null`` for nothing."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.Representer = _Representer
    return yaml

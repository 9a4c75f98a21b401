"""Errors of pydantic in this project's words: which key, what it must be, what it is, and the fix where there is one.

What a key must be is read from the JSON schema of the model, so that the schema says it once.
"""

import difflib
import json
from collections.abc import Iterator
from typing import Any

from pydantic_core import ErrorDetails
from ruamel.yaml.error import YAMLError

from posterity.config import yaml12
from posterity.text import printable

_NOUNS = {"integer": "an integer", "number": "a number", "string": "non-empty text", "array": "a list"}
_NOUNS |= {"boolean": "true or false", "object": "a mapping"}
_TYPES = {"integer": (int,), "number": (int, float), "boolean": (bool,)}
_SIGNS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}

# Keys that people look for and that are missing for a reason: the reason is worth more than the nearest key.
REFUSED = {
    "class_weight": "Keras gives each image of a multi-hot batch the weight of its first label only. "
    "Use train.loss: weighted_bce, which weights each label.",
}


# Keys of earlier versions, or the beginning of several, and where they are now.
MOVED = {
    "gpu": "machine.device",
    "preprocess.engine": "machine.workers.run_on",
    "preprocess.reuse": "machine.reuse_folder",
    "preprocess": "machine.workers.run_on and machine.reuse_folder",
    "ray.address": "machine.workers.ray_address",
    "ray": "machine.workers.ray_address",
    "image.workers": "machine.workers.threads",
    "train.distributed.processes": "machine.processes.count",
    "train.distributed.coordinator": "machine.processes.coordinator",
    "train.distributed": "machine.processes.count and machine.processes.coordinator",
}


class Explainer:
    """Says in one line what is wrong with which key.

    Parameters
    ----------
    schema : dict
        JSON schema of the model. ``examples`` of a key holds its documented default.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self.nodes = {"": schema, **dict(_flat(schema, schema))}

    def __call__(self, error: ErrorDetails) -> str:
        """Say in one line what is wrong with which key, and the fix where there is one."""
        loc, key, value = error["loc"], _dotted(error["loc"]), error["input"]
        got = "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else _shown(value)
        got = "an empty list" if value == [] else got
        match error["type"]:
            case "missing":
                return f"{key} is missing. Add `{loc[-1]}: {self._default(key)}`, the default."
            case "extra_forbidden" | "invalid_key" if key in MOVED:
                return "\n".join(_moved(key, value))
            case "extra_forbidden" | "invalid_key":
                return f"{key} is not a known parameter. {self._did_you_mean(_dotted(loc[:-1]), str(loc[-1]))}"
            case "value_error":  # raised by a validator, in whole sentences
                return f"{key} {error['ctx']['error']}"
            case _ if loc and loc[-1] == "[key]" and "additionalProperties" in self.nodes[_dotted(loc[:-2])]:
                return f"{_dotted(loc[:-2])} must have texts on the left. Got {got}. Put it in quotes."
            case _ if loc and loc[-1] == "[key]":
                quotes = _fix({"type": "string"}, value)
                return f"{_dotted(loc[:-2])} must have names made of letters, digits, _ and -. Got {got}.{quotes}"
            case _:
                node = self.nodes.get(key) or self.nodes[_dotted(loc[:-1]) + "[]"]
                return f"{key or 'the file'} must be {_expected(node)}. Got {got}.{_fix(node, value)}"

    def _did_you_mean(self, section: str, name: str) -> str:
        """The key that was probably meant: of the same name elsewhere, else of a similar one here, else anywhere."""
        if name in REFUSED:
            return REFUSED[name]
        anywhere = [key for key, node in self.nodes.items() if "examples" in node]
        here = [f"{section}.{sibling}".lstrip(".") for sibling in self.nodes[section]["properties"]]
        for keys, cutoff in ((anywhere, 1.0), (here, 0.7), (anywhere, 0.7)):
            last = {key: key.rsplit(".", 1)[-1] for key in keys}
            if near := difflib.get_close_matches(name, last.values(), n=1, cutoff=cutoff):
                return f"Did you mean {' or '.join(key for key in keys if last[key] == near[0])}?"
        return "Remove it."

    def _default(self, key: str) -> str:
        if "properties" not in self.nodes[key]:
            return _shown(self.nodes[key]["examples"][0])
        inner = (f"{name}: {self._default(f'{key}.{name}')}" for name in self.nodes[key]["properties"])
        return "{" + ", ".join(inner) + "}"


def _moved(key: str, value: Any) -> Iterator[str]:
    """One line for each parameter below the key ``key`` of an earlier version."""
    if not isinstance(value, dict):
        yield f"{key} has moved to {MOVED[key]}. Write it there and remove it here."
        return
    for name in value:
        new = MOVED.get(f"{key}.{name}", f"{MOVED[key]}.{name}")
        yield f"{key}.{name} has moved to {new}. Write it there and remove it here."


def _dotted(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{printable(part)}" for part in loc).lstrip(".")


def _flat(schema: dict[str, Any], node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each dotted key below ``node`` with its JSON schema: references followed, "or null" turned into a flag."""
    for name, child in node["properties"].items():
        if "anyOf" in child:
            child = {**child, **child["anyOf"][0], "nullable": True}
        if "$ref" in child:
            child = schema["$defs"][child["$ref"].rsplit("/", 1)[1]]
        yield prefix + name, child
        if "properties" in child:
            yield from _flat(schema, child, f"{prefix}{name}.")
        items = [child["items"]] if "items" in child else [*child.get("patternProperties", {}).values()]
        if isinstance(child.get("additionalProperties"), dict):  # a mapping from any texts
            items.append(child["additionalProperties"])
        for item in items:
            yield f"{prefix}{name}[]", item


def _expected(node: dict[str, Any]) -> str:
    text = f"one of {', '.join(node['enum'])}" if "enum" in node else _NOUNS[node["type"]]
    text += " and".join(f" {sign} {node[bound]}" for bound, sign in _SIGNS.items() if bound in node)
    text += f" of at least {node['minItems']}" if "minItems" in node else ""
    if "items" in node:
        text += f" (each item {_expected(node['items'])})"
    if node["type"] == "object":
        values = node.get("additionalProperties")
        text += f" with the keys {', '.join(node['properties'])}" if "properties" in node else ""
        text += f" from texts to {_expected(values)}" if isinstance(values, dict) else ""
        text += " from names to paths" if "patternProperties" in node else ""
    return f"{text} or null" if node.get("nullable") else text


def _fix(node: dict[str, Any], value: Any) -> str:
    """A sentence (with a space before it) that fixes one of the mistakes which YAML invites, or nothing."""
    kind = node["type"]
    if "enum" in node:
        word = "off" if value is False else str(value)  # a YAML 1.1 program writes off as false
        near = difflib.get_close_matches(word, node["enum"], n=1)
        return f" Did you mean {near[0]}?" if near else ""
    if isinstance(value, str) and type(_unquoted(value)) in _TYPES.get(kind, ()):
        return " Remove the quotes."
    if kind == "boolean" and str(value).lower() in ("yes", "on", "no", "off"):
        return " Write true." if str(value).lower() in ("yes", "on") else " Write false."
    if kind == "array" and type(value) in _TYPES.get(node["items"]["type"], (str,)):
        return f" Write [{_shown(value)}]."
    if kind == "string" and not isinstance(value, str | list | dict | None):
        return " Put it in quotes."
    return ""


def _unquoted(text: str) -> Any:
    try:
        return yaml12.parse(text)
    except (YAMLError, ValueError, LookupError):
        return None


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else json.dumps(value, default=str)

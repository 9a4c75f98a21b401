"""params.yaml -> frozen, strictly checked values; every mistake in the file is reported at once.

The classes are the schema: one per section, one field per key. No field has a default, so params.yaml is the full list
of knobs and a key that is missing there is an error. ``examples`` holds the documented default, which only messages
quote. What each key does is written in params.yaml, above the key.
"""

import difflib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from posterity.errors import UserError


def _unique(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if repeated := [item for item in items if items.count(item) > 1]:
        raise ValueError(f"must not repeat an item. Got {repeated[0]!r} more than once. Keep one.")
    return items


# strict=False only lets a YAML list become a tuple; the items stay strict.
Columns = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False), AfterValidator(_unique)]
DeviceIndices = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False), AfterValidator(_unique)]
FileStem = Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$")]  # a name that is safe in a path on every system
Fraction = Annotated[float, Field(ge=0, le=1)]
DropOrFail = Literal["drop", "fail"]
KeepDropOrFail = Literal["keep", "drop", "fail"]
# What oneDNN knows. It ignores any other value without a word.
CpuIsa = Literal[
    "SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16",
    "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16",
]  # fmt: skip


class Section(BaseModel):
    """A mapping with exactly these keys. Strict: no text as a number, no bool as an integer; an integer is a float."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class OnProblem(Section):
    missing_image: DropOrFail = Field(examples=["fail"])
    unreadable_image: DropOrFail = Field(examples=["fail"])
    oversized_image: DropOrFail = Field(examples=["fail"])
    bad_label_cell: DropOrFail = Field(examples=["fail"])
    labels_disagree: DropOrFail = Field(examples=["fail"])
    conflicting_duplicate: KeepDropOrFail = Field(examples=["fail"])
    duplicate_id: KeepDropOrFail = Field(examples=["keep"])
    identical_image: KeepDropOrFail = Field(examples=["keep"])
    no_label: KeepDropOrFail = Field(examples=["keep"])
    rare_label: KeepDropOrFail = Field(examples=["keep"])
    unlisted_image: Literal["keep", "fail"] = Field(examples=["keep"])


class DataParams(Section):
    images: str = Field(min_length=1, examples=["data/sample/images"])
    labels: str = Field(min_length=1, examples=["data/sample/labels.csv"])
    id_column: str = Field(min_length=1, examples=["Id"])
    list_column: str | None = Field(min_length=1, examples=["Genre"])
    list_delimiter: str = Field(min_length=1, examples=["|"])
    label_columns: Columns | None = Field(examples=[None])
    image_pattern: str = Field(examples=["{id}.jpg"])
    image_column: str | None = Field(min_length=1, examples=[None])
    min_positives: int = Field(ge=0, examples=[2])
    max_dropped_fraction: Fraction = Field(examples=[0.01])
    on_problem: OnProblem

    @field_validator("label_columns")
    @classmethod
    def _some_labels(cls, columns: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        # A field validator, not a model validator: it also runs when another field of the section is wrong.
        if columns == () and info.data.get("list_column", "wrong") is None:
            raise ValueError("must name a column while data.list_column is null. Got []. Set one of the two.")
        return columns

    @field_validator("image_pattern")
    @classmethod
    def _only_id(cls, pattern: str) -> str:
        if "{id}" not in pattern or set(pattern.replace("{id}", "")) & set("{}"):
            raise ValueError(f"must contain {{id}} and no other braces. Got {pattern!r}. For example '{{id}}.jpg'.")
        return pattern


class ImageParams(Section):
    height: int = Field(ge=8, le=8192, examples=[400])
    width: int = Field(ge=8, le=8192, examples=[300])
    resampling: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = Field(examples=["bilinear"])
    fit: Literal["stretch", "pad", "crop"] = Field(examples=["stretch"])
    max_pixels: int = Field(ge=1, examples=[89478485])
    rows_per_shard: int = Field(ge=1, le=65536, examples=[256])
    workers: int | None = Field(ge=1, examples=[None])


class SplitParams(Section):
    validation_fraction: float = Field(gt=0, lt=1, examples=[0.1])
    stratify: bool = Field(examples=[False])


class ModelParams(Section):
    name: Literal["compact_cnn", "tutorial_cnn"] = Field(examples=["compact_cnn"])


class TrainParams(Section):
    epochs: int = Field(ge=1, examples=[10])
    batch_size: int = Field(ge=1, examples=[64])
    learning_rate: float = Field(gt=0, examples=[0.001])
    keep_epoch: Literal["last", "best"] = Field(examples=["last"])


class GpuParams(Section):
    visible_devices: DeviceIndices | None = Field(examples=[None])
    memory_growth: bool = Field(examples=[True])
    memory_limit_mb: int | None = Field(ge=1, examples=[None])
    mixed_precision: Literal["off", "float16", "bfloat16"] = Field(examples=["off"])
    xla: bool = Field(examples=[False])
    tf32: bool = Field(examples=[True])
    strategy: Literal["single", "mirrored"] = Field(examples=["single"])
    deterministic: bool = Field(examples=[True])
    required: bool = Field(examples=[False])
    cpu_threads: int | None = Field(ge=1, examples=[None])
    cpu_isa: CpuIsa | None = Field(examples=["AVX2"])

    @field_validator("memory_limit_mb")
    @classmethod
    def _limit_or_growth(cls, limit_mb: int | None, info: ValidationInfo) -> int | None:
        if limit_mb is not None and info.data.get("memory_growth"):
            # TensorFlow refuses both together.
            raise ValueError(f"must be null while gpu.memory_growth is true. Got {limit_mb}. Set memory_growth: false.")
        return limit_mb


class EvaluateParams(Section):
    threshold: Fraction = Field(examples=[0.5])
    bootstrap_samples: int = Field(ge=1, examples=[1000])


class PredictParams(Section):
    images: dict[FileStem, Annotated[str, Field(min_length=1)]] = Field(examples=[{}])
    format: Literal["csv", "jsonl"] = Field(examples=["csv"])
    top_k: int = Field(ge=1, examples=[3])
    threshold: Fraction | None = Field(examples=[None])


class Params(Section):
    seed: int = Field(ge=0, le=2**32 - 1, examples=[42])
    data: DataParams
    image: ImageParams
    split: SplitParams
    model: ModelParams
    train: TrainParams
    gpu: GpuParams
    evaluate: EvaluateParams
    predict: PredictParams


def load_params(path: str | os.PathLike[str] = "params.yaml") -> Params:
    """Read and check ``path``, by YAML 1.2 rules, as DVC writes it: ``1e-05`` is a number and ``off`` is text.

    Raises
    ------
    UserError
        If the file cannot be read, is not YAML, or repeats a key; otherwise with one line for each key that is
        unknown, missing, or has a value it cannot have.
    """
    file = os.fspath(path)
    try:
        params = Params.model_validate(_read_yaml(file))
    except ValidationError as error:
        raise UserError("\n".join(f"{file}: {_problem(details)}" for details in error.errors())) from None
    if conflicts := _conflicts(params):
        raise UserError("\n".join(f"{file}: {conflict}" for conflict in conflicts))
    return params


def _conflicts(params: Params) -> list[str]:
    """Values that are right one by one and not together."""
    found = []
    if params.model.name == "tutorial_cnn":
        # Its four 5 x 5 convolutions do not pad, and leave nothing of a smaller image.
        for key, side in (("height", params.image.height), ("width", params.image.width)):
            if side < 76:
                found.append(f"image.{key} must be at least 76 for model.name: tutorial_cnn. Got {side}.")
    if params.gpu.xla and params.gpu.deterministic:
        # Keras would warn and train without XLA.
        found.append("gpu.xla: true needs gpu.deterministic: false. Got true for both. Change one of them.")
    return found


def _read_yaml(file: str) -> Any:
    try:
        return _parse(Path(file).read_text(encoding="utf-8-sig"))  # -sig: Notepad puts a byte-order mark first
    except OSError as error:
        fix = "Run from the repository's root, or correct the path."
        raise UserError(f"{file}: cannot be read: {error.strerror}. {fix}") from None
    except MarkedYAMLError as error:
        mark, start = error.problem_mark, error.context_mark
        since = f" (from line {start.line + 1})" if start and start.line < mark.line else ""
        says = f"{error.context}{since}, {error.problem}" if error.context else error.problem
        place = f"line {mark.line + 1}, column {mark.column + 1}"
        raise UserError(f"{file}: {place} cannot be read as YAML: {says}.") from None
    except (YAMLError, ValueError, LookupError) as error:  # not UTF-8; a date such as 2020-13-45; `!!bool maybe`
        raise UserError(f"{file}: cannot be read as YAML: {' '.join(str(error).split())}.") from None


def _parse(text: str) -> Any:
    # pure: the C parser words its errors differently, and whether it is installed is not ours to know.
    return YAML(typ="safe", pure=True).load(text)


# From here on: pydantic's errors in this project's words. What a key should be is read from the JSON schema of Params.
def _problem(error: ErrorDetails) -> str:
    """Say in one line what is wrong with which key, and the fix where there is one."""
    loc, key, value = error["loc"], _dotted(error["loc"]), error["input"]
    got = "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else _shown(value)
    match error["type"]:
        case "missing":
            return f"{key} is missing. Add `{loc[-1]}: {_default(key)}`, the default."
        case "extra_forbidden" | "invalid_key":
            return f"{key} is not a known parameter. {_did_you_mean(_dotted(loc[:-1]), str(loc[-1]))}"
        case "value_error":  # raised by a validator above, in whole sentences
            return f"{key} {error['ctx']['error']}"
        case _ if loc and loc[-1] == "[key]":
            quotes = _fix({"type": "string"}, value)
            return f"{_dotted(loc[:-2])} must have names made of letters, digits, _ and -. Got {got}.{quotes}"
        case _:
            node = _NODES.get(key) or _NODES[_dotted(loc[:-1]) + "[]"]
            return f"{key or 'the file'} must be {_expected(node)}. Got {got}.{_fix(node, value)}"


def _dotted(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _flat(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each dotted key below ``node`` with its JSON schema: references followed, "or null" turned into a flag."""
    for name, child in node["properties"].items():
        if "anyOf" in child:
            child = {**child, **child["anyOf"][0], "nullable": True}
        if "$ref" in child:
            child = _SCHEMA["$defs"][child["$ref"].rsplit("/", 1)[1]]
        yield prefix + name, child
        if "properties" in child:
            yield from _flat(child, f"{prefix}{name}.")
        for item in [child["items"]] if "items" in child else child.get("patternProperties", {}).values():
            yield f"{prefix}{name}[]", item


_SCHEMA: dict[str, Any] = Params.model_json_schema()
_NODES = {"": _SCHEMA, **dict(_flat(_SCHEMA))}
_NOUNS = {"integer": "an integer", "number": "a number", "string": "non-empty text", "array": "a list"}
_NOUNS |= {"boolean": "true or false", "object": "a mapping"}
_TYPES = {"integer": (int,), "number": (int, float), "boolean": (bool,)}
_SIGNS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def _expected(node: dict[str, Any]) -> str:
    text = f"one of {', '.join(node['enum'])}" if "enum" in node else _NOUNS[node["type"]]
    text += " and".join(f" {sign} {node[bound]}" for bound, sign in _SIGNS.items() if bound in node)
    if "items" in node:
        text += f" (each item {_expected(node['items'])})"
    if node["type"] == "object":
        text += f" with the keys {', '.join(node['properties'])}" if "properties" in node else " from names to paths"
    return f"{text} or null" if node.get("nullable") else text


def _fix(node: dict[str, Any], value: Any) -> str:
    """A sentence (with a space before it) that mends one of the mistakes which YAML invites, or nothing."""
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


def _did_you_mean(section: str, name: str) -> str:
    """The key that was probably meant: of the same name elsewhere, else of a similar one here, else anywhere."""
    anywhere = [key for key, node in _NODES.items() if "examples" in node]
    here = [f"{section}.{sibling}".lstrip(".") for sibling in _NODES[section]["properties"]]
    for keys, cutoff in ((anywhere, 1.0), (here, 0.7), (anywhere, 0.7)):
        last = {key: key.rsplit(".", 1)[-1] for key in keys}
        if near := difflib.get_close_matches(name, last.values(), n=1, cutoff=cutoff):
            return f"Did you mean {' or '.join(key for key in keys if last[key] == near[0])}?"
    return "Remove it."


def _default(key: str) -> str:
    if "properties" not in _NODES[key]:
        return _shown(_NODES[key]["examples"][0])
    return "{" + ", ".join(f"{name}: {_default(f'{key}.{name}')}" for name in _NODES[key]["properties"]) + "}"


def _unquoted(text: str) -> Any:
    try:
        return _parse(text)
    except (YAMLError, ValueError, LookupError):
        return None


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else json.dumps(value, default=str)

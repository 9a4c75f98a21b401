"""Any values in params.yaml, written as DVC writes them: they load as they are, or the message names their key."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from examples import examples
from posterity import recipes
from posterity.config import yaml12
from posterity.config.load import check_params
from posterity.config.messages import _flat
from posterity.config.schema import Params
from posterity.errors import UserError
from posterity.text import printable

ROOT = Path(__file__).parents[3]
SCHEMA = Params.model_json_schema()
LEAVES = {key: node for key, node in _flat(SCHEMA, SCHEMA) if not key.endswith("[]") and "properties" not in node}
GOOD = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")

# Without the line ends of Unicode: DVC (by ruamel.yaml) writes them so that they are read as others.
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029\ufeff")
TEXTS = st.text(LETTERS, max_size=8) | st.sampled_from([
    "off", "yes", "null", "~", "1e-05", "0x10", "1_000", "2020-01-01", "- a", "a: b", "#", "{id}.jpg", "{id:03d}", "*a",
    "&a", "!!int 1", "%", "@", "`", "a\nb\n", " a ", "\x1b[31m", ".inf", "01", "true", "=",
])  # fmt: skip
NUMBERS = (
    st.integers(-(10**20), 10**20) | st.integers(-2, 100) | st.floats() | st.sampled_from([1e-05, 0.1, 1e22, 5e-324])
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.integers(-3, 3) | st.booleans(), inner, max_size=3)
    ),
    max_leaves=5,
)


def valid(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that the schema allows for a key; rules across keys may refuse them all the same."""
    if node.get("nullable"):
        return st.none() | valid({**node, "nullable": False})
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if node["type"] == "boolean":
        return st.booleans()
    low, high = node.get("minimum", node.get("exclusiveMinimum", 0)), node.get("maximum", node.get("exclusiveMaximum"))
    if node["type"] == "integer":
        return st.integers(low, high)
    if node["type"] == "number":
        return st.floats(
            low,
            high,
            exclude_min="exclusiveMinimum" in node,
            exclude_max="exclusiveMaximum" in node,
            allow_infinity=False,
        )
    if node["type"] == "array":
        return st.lists(valid(node["items"]), max_size=3)
    if node["type"] == "object":
        inner = node.get("additionalProperties")
        texts = st.from_regex("[A-Za-z0-9_-]{1,5}", fullmatch=True) if "patternProperties" in node else TEXTS
        return st.dictionaries(texts, valid(inner) if isinstance(inner, dict) else TEXTS.filter(bool), max_size=3)
    return TEXTS.filter(bool)


def edited(edits: dict[str, Any]) -> Any:
    content = copy.deepcopy(GOOD)
    for dotted, value in edits.items():
        *sections, key = dotted.split(".")
        node = content
        for section in sections:
            node = node[section]
        node[key] = value
    return content


def reread(changes: dict[str, Any], folder: Path) -> Any:
    """params.yaml with these changes, after DVC has written them, as for `dvc exp run --set-param`, and we read them.

    Only the sections that change are written: to read the whole file takes a fifth of a second.
    """
    from dvc.utils.serialize import dump_yaml

    content = edited(changes)
    sections = {key.split(".")[0] for key in changes}
    dump_yaml(str(folder / "params.yaml"), {name: content[name] for name in sections})
    return {**content, **yaml12.read(str(folder / "params.yaml"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("params")


@st.composite
def edits(draw):
    keys = draw(st.lists(st.sampled_from(sorted(LEAVES)), min_size=1, max_size=6, unique=True))
    return {key: draw(valid(LEAVES[key])) for key in keys}


@examples(60)
@given(edits())
def test_valid_values_come_back(folder, changes):
    content = edited(changes)
    try:
        expected = check_params(content, "params.yaml")
    except UserError as error:
        message = str(error)
        with pytest.raises(UserError) as raised:
            check_params(reread(changes, folder), "params.yaml")
        assert str(raised.value) == message
        return
    assert check_params(reread(changes, folder), "params.yaml") == expected
    for key, value in changes.items():
        assert same(at(expected, key), value, key), key


def at(params: Any, dotted: str) -> Any:
    for name in dotted.split("."):
        params = getattr(params, name)
    return params


def same(loaded: Any, value: Any, key: str) -> bool:
    """Whether a value was loaded as it was written, but for what the documentation of the key says."""
    if isinstance(loaded, tuple):
        return list(loaded) == ([value] if isinstance(value, str) else value)
    if key == "data.values":  # keys that are no texts count as what they look like
        return loaded == {str(k).lower() if isinstance(k, bool) else str(k): v for k, v in value.items()}
    if key == "data.delimiter":
        value = value.replace(r"\t", "\t")
    return loaded == value and (type(loaded) is type(value) or (type(loaded), type(value)) == (float, int))


@examples(200)
@given(key=st.sampled_from(sorted(LEAVES)), value=VALUES)
def test_any_value_loads_as_it_is_or_is_refused_by_its_key(folder, key, value):
    try:
        params = check_params(reread({key: value}, folder), "params.yaml")
    except UserError as error:
        message = str(error)
        assert key in message
        assert all(line.startswith("params.yaml: ") for line in message.split("\n"))
        return
    assert same(at(params, key), value, key)


@examples(60)
@given(
    names=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4, unique=True)
)
def test_names_that_posterity_writes_itself_come_back(folder, names):
    """Those of columns, which `posterity init` and `posterity use` put into params.yaml."""
    (folder / "short.yaml").write_text("# a comment\ndata:\n  label_columns: null\n  values: {}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipes, "check_params", lambda content, file: None)
        values = dict.fromkeys(names, "present")
        text, _ = recipes.change(
            folder / "short.yaml", {"data.label_columns": names, "data.values": values}, source="x"
        )
    assert yaml12.parse(text) == {"data": {"label_columns": names, "values": values}}
    assert yaml12.parse(printable(recipes.shown(names))) == names

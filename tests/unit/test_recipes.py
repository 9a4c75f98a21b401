"""Recipe files: the shipped ones are correct and independent; merging keeps comments and says what changes."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from posterity import recipes
from posterity.config.load import load_params
from posterity.errors import UserError

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    return path


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_makes_a_correct_file_and_says_what_to_expect(params: Path, path: Path) -> None:
    text, changes = recipes.merge(params, path)
    params.write_text(text, encoding="utf-8")
    assert changes
    assert load_params(params)
    assert recipes.merge(params, path) == (text, [])
    head = path.read_text(encoding="utf-8").split("\nimage:")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    for word in ("When to use it:", "bce 0.", "map_macro 0.", f"posterity use recipes/{path.name} && dvc repro"):
        assert word in head


@pytest.mark.parametrize("first", RECIPES, ids=lambda path: path.stem)
def test_what_a_recipe_gives_does_not_depend_on_the_recipe_before(params: Path, first: Path) -> None:
    """But for keys of another kind of network, which it does not read."""
    other_kinds = {"backbone", "pyramid_levels", "mode", "head", "finetune"}
    for second in RECIPES:
        params.write_bytes((ROOT / "params.yaml").read_bytes())
        params.write_text(recipes.merge(params, second)[0], encoding="utf-8")
        alone = load_params(params)
        params.write_text(recipes.merge(params, first)[0], encoding="utf-8")
        params.write_text(recipes.merge(params, second)[0], encoding="utf-8")
        after = load_params(params)
        assert (after.train, after.image) == (alone.train, alone.image)
        ignored = other_kinds if alone.model.name != "backbone" else {"finetune"} - {alone.model.mode}
        assert after.model.model_dump(exclude=ignored) == alone.model.model_dump(exclude=ignored)


def test_only_the_lines_of_the_changed_values_differ(params: Path, tmp_path: Path) -> None:
    path = recipe(
        tmp_path, "train: {learning_rate: 1e-05, ema: 0.5, epochs: 10}\nmodel:\n  backbone: [a.keras, b.keras]\n"
    )
    old = params.read_text(encoding="utf-8")
    new, changes = recipes.merge(params, path)
    assert changes == [
        ("train.learning_rate", 0.002, 1e-05),
        ("train.ema", None, 0.5),
        ("model.backbone", ["EfficientNetB0"], ["a.keras", "b.keras"]),
    ]
    pairs = zip(old.splitlines(), new.splitlines(), strict=True)
    assert [after for before, after in pairs if before != after] == [
        "  backbone: [a.keras, b.keras]",
        "  learning_rate: 1e-05",
        "  ema: 0.5",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  epoch: 3\n", "recipe.yaml: train.epoch is not a parameter of"),
        ("trian:\n  epochs: 3\n", "recipe.yaml: trian.epochs is not a parameter of"),
        ("train: 3\n", "recipe.yaml: train is not a parameter of"),
        ("train:\n  epochs:\n    more: 3\n", "recipe.yaml: train.epochs.more is not a parameter of"),
        ("3\n", "recipe.yaml: expected sections of params.yaml, such as `train:`"),
        ("train: [\n", "cannot be read as YAML"),
        ("train:\n  epochs: '3'\n", "recipe.yaml: train.epochs must be an integer >= 1. Got '3'. Remove the quotes."),
        ("model:\n  name: tutorial_cnn\nimage:\n  height: 64\n", "image.height must be at least 76"),
    ],
)
def test_a_wrong_recipe_is_refused(params: Path, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        recipes.merge(params, recipe(tmp_path, text))
    assert message in str(caught.value)


def test_a_mistake_in_params_yaml_is_not_the_recipes(params: Path, tmp_path: Path) -> None:
    params.write_text(params.read_text(encoding="utf-8").replace("epochs: 10", "epochs: ten"), encoding="utf-8")
    with pytest.raises(UserError, match="params.yaml: train.epochs must be an integer"):
        recipes.merge(params, recipe(tmp_path, "train:\n  ema: 0.5\n"))


@pytest.mark.parametrize("value", [None, True, False, 3, 0.5, 1e-05, "off", "bce", ["a", "b c"], []])
def test_a_shown_value_reads_as_the_value(value: object) -> None:
    assert YAML(typ="safe", pure=True).load(f"key: {recipes.shown(value)}") == {"key": value}

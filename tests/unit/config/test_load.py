import copy
import datetime
import io
import operator
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML

from posterity.config.load import load_params
from posterity.config.schema import Params
from posterity.errors import UserError

SHIPPED = Path(__file__).parents[3] / "params.yaml"

# The documented defaults, written out a second time: params.yaml and the messages about missing keys have to agree.
DEFAULTS: dict[str, Any] = {
    "seed": 42,
    "data": {
        "images": "data/sample/images",
        "labels": "data/sample/labels.csv",
        "delimiter": ",",
        "rows": "image",
        "id_column": "Id",
        "list_column": "Genre",
        "list_delimiter": "|",
        "label_columns": None,
        "presence_column": None,
        "values": {},
        "unlisted_labels": "absent",
        "no_label_names": [],
        "image_pattern": "{id}.jpg",
        "image_column": None,
        "min_positives": 2,
        "max_dropped_fraction": 0.01,
        "near_duplicate_similarity": 0.9,
        "on_problem": {
            "missing_image": "fail",
            "ambiguous_image": "fail",
            "unreadable_image": "fail",
            "oversized_image": "fail",
            "outside_link": "fail",
            "constant_image": "keep",
            "grey_levels": "keep",
            "bad_label_cell": "fail",
            "labels_disagree": "fail",
            "unsplit_label": "fail",
            "conflicting_duplicate": "fail",
            "duplicate_id": "keep",
            "identical_image": "keep",
            "near_duplicate": "keep",
            "no_label": "keep",
            "rare_label": "keep",
            "similar_labels": "keep",
            "null_label": "keep",
            "metadata_column": "keep",
            "unlisted_image": "keep",
        },
    },
    "image": {
        "height": 400,
        "width": 300,
        "resampling": "area",
        "fit": "stretch",
        "max_pixels": 89478485,
        "formats": ["jpeg", "png", "webp", "avif", "gif", "tiff", "bmp", "jpeg2000", "ppm"],
        "max_side": 65535,
        "max_scans": 64,
        "grey_range": None,
        "rows_per_shard": 256,
    },
    "split": {
        "validation_fraction": 0.1,
        "stratify": False,
        "test_fraction": 0.0,
        "group_column": None,
        "side_column": None,
        "sides": {
            "train": "train",
            "training": "train",
            "validation": "validation",
            "valid": "validation",
            "val": "validation",
            "dev": "validation",
            "test": "test",
        },
        "side_conflict": "fail",
    },
    "model": {
        "name": "compact_cnn",
        "backbone": ["EfficientNetB0"],
        "backbone_folder": "data/backbones",
        "weights": "imagenet",
        "pyramid_levels": 1,
        "mode": "frozen",
        "head": {"hidden_units": 512, "dropout": 0.5, "both_views": False},
        "finetune": {"epochs": 5, "learning_rate": 0.0001, "layers": None, "lora_rank": None},
    },
    "train": {
        "epochs": 10,
        "batch_size": 32,
        "loss": "bce",
        "positive_weight_cap": 10.0,
        "focal": {"gamma": 2.0, "alpha": None},
        "asymmetric": {"gamma_positive": 0.0, "gamma_negative": 4.0, "clip": 0.05},
        "label_smoothing": 0.0,
        "optimizer": "adamw",
        "weight_decay": 0.05,
        "learning_rate": 0.002,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
        "clip_norm": None,
        "ema": None,
        "early_stopping": None,
        "keep_epoch": "last",
        "mixup": 0.0,
        "augment": {"flip": True, "shift": 0.0, "zoom": 0.0, "brightness": 0.0, "contrast": 0.0, "erase": 0.0},
        "half_size_epochs": 0,
        "shuffle_shards": None,
        "log_to": [],
        "folds": 1,
        "repeats": 1,
    },
    "decide": {
        "calibration": "off",
        "thresholds": "f1",
        "target_precision": 0.7,
        "target_recall": 0.9,
        "min_positives": 10,
        "folds": 5,
        "at_least_one": False,
        "exactly_one": False,
    },
    "evaluate": {"threshold": 0.5, "bootstrap_samples": 1000},
    "predict": {"images": {}, "format": "csv", "threshold": None},
    "report": {"license": None, "backbone_license": None, "dataset_name": None},
    "machine": {
        "device": {
            "visible_devices": None,
            "memory_growth": True,
            "memory_limit_mb": None,
            "mixed_precision": "off",
            "xla": False,
            "tf32": True,
            "strategy": "single",
            "deterministic": True,
            "required": False,
            "cpu_threads": None,
            "cpu_isa": "AVX2",
            "cache_images": False,
            "inference_engine": "auto",
            "inference_precision": "float32",
        },
        "workers": {"run_on": "local", "threads": None, "ray_address": None},
        "processes": {"count": 1, "coordinator": None},
        "reuse_folder": "data/.reuse",
    },
}
REMOVED = object()
SIDES = "one of train, validation, test, leave_out"
SPLIT_KEYS = "validation_fraction, stratify, test_fraction, group_column, side_column, sides, side_conflict"
SPLIT_DEFAULT = (
    "{validation_fraction: 0.1, stratify: false, test_fraction: 0.0, group_column: null, side_column: null, "
    'sides: {"dev": "validation", "test": "test", "train": "train", "training": "train", "val": "validation", '
    '"valid": "validation", "validation": "validation"}, side_conflict: \'fail\'}'
)


def keys(content: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every dotted key of ``content``, sections included, except the names in predict.images and split.sides."""
    for name, value in content.items():
        yield prefix + name
        if isinstance(value, dict) and prefix + name not in ("predict.images", "split.sides"):
            yield from keys(value, f"{prefix}{name}.")


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """The defaults with dotted keys set to other values, or taken out where the value is ``REMOVED``."""
    content = copy.deepcopy(DEFAULTS)
    for key, value in changes.items():
        *sections, name = key.split(".")
        target = content
        for section in sections:
            target = target[section]
        if value is REMOVED:
            del target[name]
        else:
            target[name] = value
    return content


def dump(content: Any) -> str:
    stream = io.StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False  # a line each: as {a: :0} its own reader refuses what it has written
    yaml.dump(content, stream)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # so that the messages begin with "params.yaml", as for a user


def load_text(text: str | bytes) -> Params:
    Path("params.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_params()


def load(changes: dict[str, Any]) -> Params:
    return load_text(dump(changed(changes)))


def message(text: str | bytes) -> str:
    with pytest.raises(UserError) as caught:
        load_text(text)
    return str(caught.value)


def problems(changes: dict[str, Any]) -> list[str]:
    return problems_of(changed(changes))


def problems_of(content: dict[str, Any]) -> list[str]:
    """The lines of the error, without the name of the file, which has to stand at the start of each."""
    lines = message(dump(content)).split("\n")
    assert all(line.startswith("params.yaml: ") for line in lines)
    return [line.removeprefix("params.yaml: ") for line in lines]


def with_line(key: str, value: str, indent: int = 2) -> str:
    """params.yaml with ``value``, as typed, for a key of a section, of a name that occurs once there."""
    pattern = rf"(?m)^( {{{indent}}}{key}:).*$"
    text, count = re.subn(pattern, lambda match: f"{match[1]} {value}", SHIPPED.read_text("utf-8"))
    assert count == 1
    return text


# The file that is shipped


def test_shipped_file_loads_and_has_every_key() -> None:
    # Its values are the user's to change, and the tests must pass all the same.
    assert set(keys(load_params(SHIPPED).model_dump())) >= set(keys(DEFAULTS)) - {"predict.images"}


def test_every_key_of_the_shipped_file_has_one_comment_line_above_it() -> None:
    text = SHIPPED.read_text("utf-8")
    lines, content = text.splitlines(), YAML(typ="rt").load(text)
    for key in keys(DEFAULTS):
        *sections, name = key.split(".")
        node = content
        for section in sections:
            node = node[section]
        number, column = node.lc.key(name)
        assert re.match(r" *# \S", lines[number - 1]), f"{key} has no comment"
        assert lines[number - 1].index("#") == column, f"the comment of {key} is not in line with it"
        assert not lines[number - 2].lstrip().startswith("#"), f"{key} has more than one line of comment"


# Values that are accepted


@pytest.mark.parametrize("typed", ["1e-5", "1e-05", "1E-5", "0.00001"])
def test_floats_follow_yaml_1_2(typed: str) -> None:
    assert load_text(with_line("learning_rate", typed)).train.learning_rate == 1e-5


@pytest.mark.parametrize("typed", ["off", '"off"', "'off'"])
def test_off_is_text(typed: str) -> None:
    assert load_text(with_line("mixed_precision", typed, indent=4)).machine.device.mixed_precision == "off"
    assert load_text(with_line("calibration", typed)).decide.calibration == "off"


def test_n_slash_a_and_no_are_names_of_columns() -> None:
    assert load_text(with_line("label_columns", "[Drama, N/A, No]")).data.label_columns == ("Drama", "N/A", "No")


def test_an_integer_is_accepted_for_a_float() -> None:
    rate = load({"train.learning_rate": 1}).train.learning_rate
    assert rate == 1.0
    assert isinstance(rate, float)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 0),
        ("seed", 2**32 - 1),
        ("data.label_columns", []),
        ("data.image_pattern", ["{id}/{id}.png"]),
        ("data.max_dropped_fraction", 0),
        ("data.max_dropped_fraction", 1),
        ("data.near_duplicate_similarity", 0.5),
        ("data.near_duplicate_similarity", 1),
        ("data.near_duplicate_similarity", None),
        ("image.height", 8),
        ("machine.device.visible_devices", []),
        ("machine.device.visible_devices", [1, 0]),
        ("machine.device.cpu_isa", None),
        ("model.weights", None),
        ("train.positive_weight_cap", 1),
        ("train.warmup_epochs", 0.5),
        ("train.clip_norm", None),
        ("decide.target_precision", 1),
        ("decide.folds", 2),
        ("evaluate.threshold", 0),
        ("evaluate.threshold", 1),
        ("predict.images", {"new-1_B": "data/new", "2024": "a.jpg"}),
    ],
)
def test_value_at_the_edge_of_its_range(key: str, value: Any) -> None:
    params = load({key: value})
    got = operator.attrgetter(key)(params)
    assert got == (tuple(value) if isinstance(value, list) else value)


def test_one_backbone_may_be_given_without_brackets() -> None:
    assert load({"model.backbone": "VGG16"}).model.backbone == ("VGG16",)
    assert load({"model.backbone": ["VGG16", "own.keras"]}).model.backbone == ("VGG16", "own.keras")


def test_empty_label_columns_need_a_list_column_and_the_other_way_round() -> None:
    assert load({"data.list_column": None}).data.label_columns is None
    assert load({"data.label_columns": []}).data.list_column == "Genre"


def test_memory_limit_without_growth() -> None:
    assert (
        load(
            {"machine.device.memory_growth": False, "machine.device.memory_limit_mb": 4096}
        ).machine.device.memory_limit_mb
        == 4096
    )


def test_byte_order_mark_is_ignored() -> None:
    assert load_text(b"\xef\xbb\xbf" + dump(DEFAULTS).encode()) == load({})


def test_any_path() -> None:
    Path("other.yaml").write_text(dump(DEFAULTS), encoding="utf-8")
    assert load_params("other.yaml") == load_params(Path("other.yaml")) == load({})


def test_params_and_every_section_are_frozen() -> None:
    params = load({})
    sections = [value for _, value in params if isinstance(value, BaseModel)]
    inner = [params.data.on_problem, params.model.head, params.train.focal, params.train.augment]
    for section in [params, *sections, *inner]:
        name = next(iter(type(section).model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, name, getattr(section, name))


# One mistake, one line


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("train.epochs", "20", "train.epochs must be an integer >= 1. Got '20'. Remove the quotes."),
        ("train.epochs", "many", "train.epochs must be an integer >= 1. Got 'many'."),
        ("train.epochs", 0, "train.epochs must be an integer >= 1. Got 0."),
        ("train.epochs", 20.0, "train.epochs must be an integer >= 1. Got 20.0."),
        ("train.epochs", True, "train.epochs must be an integer >= 1. Got true."),
        ("train.epochs", None, "train.epochs must be an integer >= 1. Got null."),
        ("train.epochs", [1, 2], "train.epochs must be an integer >= 1. Got a list."),
        ("train.epochs", {"a": 1}, "train.epochs must be an integer >= 1. Got a mapping."),
        ("train.learning_rate", 0, "train.learning_rate must be a number > 0. Got 0."),
        ("train.learning_rate", "1e-3", "train.learning_rate must be a number > 0. Got '1e-3'. Remove the quotes."),
        ("train.learning_rate", True, "train.learning_rate must be a number > 0. Got true."),
        ("train.learning_rate", float("inf"), "train.learning_rate must be a number > 0. Got Infinity."),
        ("train.learning_rate", float("nan"), "train.learning_rate must be a number > 0. Got NaN."),
        ("seed", -1, "seed must be an integer >= 0 and <= 4294967295. Got -1."),
        ("seed", 2**32, "seed must be an integer >= 0 and <= 4294967295. Got 4294967296."),
        ("image.height", 7, "image.height must be an integer >= 8 and <= 8192. Got 7."),
        ("image.width", 7, "image.width must be an integer >= 8 and <= 8192. Got 7."),
        ("machine.workers.threads", 0, "machine.workers.threads must be an integer >= 1 or null. Got 0."),
        ("split.validation_fraction", 0, "split.validation_fraction must be a number > 0 and < 1. Got 0."),
        ("split.test_fraction", 1, "split.test_fraction must be a number >= 0 and < 1. Got 1."),
        ("split.sides", None, f"split.sides must be a mapping from texts to {SIDES}. Got null."),
        ("split.sides", {1: "train"}, "split.sides must have texts on the left. Got 1. Put it in quotes."),
        ("split.sides", {"a": "trian"}, f"split.sides.a must be {SIDES}. Got 'trian'. Did you mean train?"),
        (
            "split.sides",
            {"Train": "train", "train": "test"},
            "split.sides must not hold a text twice, in upper and lower case. Got ['Train', 'train']. Keep one of "
            "them.",
        ),
        ("split.side_conflict", "drop", "split.side_conflict must be one of fail, leave_out, keep. Got 'drop'."),
        ("split.validation_fraction", 1.0, "split.validation_fraction must be a number > 0 and < 1. Got 1.0."),
        ("evaluate.threshold", 1.5, "evaluate.threshold must be a number >= 0 and <= 1. Got 1.5."),
        ("predict.threshold", -0.1, "predict.threshold must be a number >= 0 and <= 1 or null. Got -0.1."),
        ("decide.folds", 1, "decide.folds must be an integer >= 2. Got 1."),
        ("decide.target_precision", 0, "decide.target_precision must be a number > 0 and <= 1. Got 0."),
        ("train.focal.alpha", 1, "train.focal.alpha must be a number > 0 and < 1 or null. Got 1."),
        ("train.asymmetric.clip", 1, "train.asymmetric.clip must be a number >= 0 and < 1. Got 1."),
        ("train.ema", 1, "train.ema must be a number > 0 and < 1 or null. Got 1."),
        (
            "train.loss",
            "weighted-bce",
            "train.loss must be one of bce, weighted_bce, focal, asymmetric. Got 'weighted-bce'. "
            "Did you mean weighted_bce?",
        ),
        (
            "decide.calibration",
            False,  # what a YAML 1.1 program makes of off
            "decide.calibration must be one of off, platt, isotonic. Got false. Did you mean off?",
        ),
        (
            "model.backbone",
            [],
            "model.backbone must be a list of at least 1 (each item non-empty text). Got an empty list.",
        ),
        ("model.backbone", ["A", "A"], "model.backbone must not repeat an item. Got 'A' more than once. Keep one."),
        ("machine.device.xla", "yes", "machine.device.xla must be true or false. Got 'yes'. Write true."),
        ("machine.device.xla", "Off", "machine.device.xla must be true or false. Got 'Off'. Write false."),
        ("machine.device.xla", "true", "machine.device.xla must be true or false. Got 'true'. Remove the quotes."),
        ("machine.device.xla", 1, "machine.device.xla must be true or false. Got 1."),
        (
            "machine.device.mixed_precision",
            "flaot16",
            "machine.device.mixed_precision must be one of off, float16, bfloat16. Got 'flaot16'. Did you mean "
            "float16?",
        ),
        (
            "machine.device.mixed_precision",
            False,  # what a YAML 1.1 program makes of off
            "machine.device.mixed_precision must be one of off, float16, bfloat16. Got false. Did you mean off?",
        ),
        ("image.fit", "zzz", "image.fit must be one of stretch, pad, crop. Got 'zzz'."),
        ("image.fit", None, "image.fit must be one of stretch, pad, crop. Got null."),
        (
            "data.on_problem.missing_image",
            "keep",
            "data.on_problem.missing_image must be one of drop, fail. Got 'keep'.",
        ),
        (
            "machine.device.visible_devices",
            0,
            "machine.device.visible_devices must be a list (each item an integer >= 0) or null. Got 0. Write [0].",
        ),
        (
            "machine.device.visible_devices",
            [0, -1],
            "machine.device.visible_devices[1] must be an integer >= 0. Got -1.",
        ),
        (
            "machine.device.visible_devices",
            ["0"],
            "machine.device.visible_devices[0] must be an integer >= 0. Got '0'. Remove the quotes.",
        ),
        (
            "machine.device.visible_devices",
            [0, 1, 0],
            "machine.device.visible_devices must not repeat an item. Got 0 more than once. Keep one.",
        ),
        (
            "machine.device.memory_limit_mb",
            4096,
            "machine.device.memory_limit_mb must be null while machine.device.memory_growth is true. Got 4096. "
            "Set memory_growth: false.",
        ),
        ("data.images", "", "data.images must be non-empty text. Got ''."),
        ("data.id_column", 5, "data.id_column must be non-empty text. Got 5. Put it in quotes."),
        (
            "data.image_column",
            datetime.date(2020, 1, 2),
            'data.image_column must be non-empty text or null. Got "2020-01-02". Put it in quotes.',
        ),
        (
            "data.label_columns",
            "Drama",
            "data.label_columns must be a list (each item non-empty text) or null. Got 'Drama'. Write ['Drama'].",
        ),
        (
            "data.label_columns",
            ["A", "B", "A"],
            "data.label_columns must not repeat an item. Got 'A' more than once. Keep one.",
        ),
        ("data.label_columns", [2019], "data.label_columns[0] must be non-empty text. Got 2019. Put it in quotes."),
        *(
            (
                "data.image_pattern",
                pattern,
                "data.image_pattern must contain {id}, {id:06d}, {name} or {stem}, no other braces, and * only as **/ "
                f"at the beginning or .* at the end. Got '{pattern}'. For example '{{id}}.jpg'.",
            )
            for pattern in ["poster.jpg", "{id}-{size}.jpg", "{id:5}.jpg", "{{id}}.jpg", "{}.jpg", ""]
        ),
        ("predict.images", "data/new", "predict.images must be a mapping from names to paths. Got 'data/new'."),
        ("predict.images", {"new": 3}, "predict.images.new must be non-empty text. Got 3. Put it in quotes."),
        *(
            (
                "predict.images",
                {name: "data/new"},
                f"predict.images must have names made of letters, digits, _ and -. Got {name!r}.",
            )
            for name in ["my posters", "../up", "new\n", "é", ""]
        ),
        (
            "predict.images",
            {2019: "data/new"},
            "predict.images must have names made of letters, digits, _ and -. Got 2019. Put it in quotes.",
        ),
        ("train.epochs", REMOVED, "train.epochs is missing. Add `epochs: 10`, the default."),
        (
            "machine.device.cpu_threads",
            REMOVED,
            "machine.device.cpu_threads is missing. Add `cpu_threads: null`, the default.",
        ),
        ("split", REMOVED, f"split is missing. Add `split: {SPLIT_DEFAULT}`, the default."),
        ("train.focal", REMOVED, "train.focal is missing. Add `focal: {gamma: 2.0, alpha: null}`, the default."),
        ("split", None, f"split must be a mapping with the keys {SPLIT_KEYS}. Got null."),
        (
            "split",
            [],
            f"split must be a mapping with the keys {SPLIT_KEYS}. Got an empty list.",
        ),
        ("train.epoch", 20, "train.epoch is not a known parameter. Did you mean train.epochs?"),
        ("train.height", 20, "train.height is not a known parameter. Did you mean image.height?"),
        (
            "train.threshold",
            0.5,
            "train.threshold is not a known parameter. Did you mean evaluate.threshold or predict.threshold?",
        ),
        ("data.no_label", "drop", "data.no_label is not a known parameter. Did you mean data.on_problem.no_label?"),
        (
            "train.class_weight",
            None,
            "train.class_weight is not a known parameter. Keras gives each image of a multi-hot batch the weight of "
            "its first label only. Use train.loss: weighted_bce, which weights each label.",
        ),
        ("training", {}, "training is not a known parameter. Did you mean train?"),
        ("epochs", 20, "epochs is not a known parameter. Did you mean model.finetune.epochs or train.epochs?"),
        ("batch-size", 1, "batch-size is not a known parameter. Did you mean train.batch_size?"),
    ],
)
def test_one_mistake(key: str, value: Any, line: str) -> None:
    assert problems({key: value}) == [line]


def test_no_labels_at_all() -> None:
    assert problems({"data.list_column": None, "data.label_columns": []}) == [
        "data.label_columns must name a column while data.list_column is null. Got []. Set one of the two."
    ]


@pytest.mark.parametrize("key", list(keys(DEFAULTS)))
def test_what_is_offered_for_a_missing_key_is_its_default(key: str) -> None:
    (line,) = problems({key: REMOVED})
    offered = re.fullmatch(rf"{key} is missing. Add `(.*)`, the default.", line)
    assert offered, line
    ((name, value),) = YAML(typ="safe").load(offered[1]).items()
    assert name == key.split(".")[-1]
    assert changed({key: value}) == DEFAULTS


# Several mistakes


def test_all_mistakes_are_reported_at_once() -> None:
    assert problems(
        {
            "seed": "42",
            "data.label_columns": [],
            "data.list_column": None,
            "data.on_problem.no_label": "ignore",
            "image.width": 0,
            "split": REMOVED,
            "train.epochs": REMOVED,
            "train.epoch": 5,
            "machine.device.memory_limit_mb": 100,  # wrong together with memory_growth
            "machine.device.xla": "on",
            "extra": 1,
        }
    ) == [
        "seed must be an integer >= 0 and <= 4294967295. Got '42'. Remove the quotes.",
        "data.label_columns must name a column while data.list_column is null. Got []. Set one of the two.",
        "data.on_problem.no_label must be one of keep, drop, fail. Got 'ignore'.",
        "image.width must be an integer >= 8 and <= 8192. Got 0.",
        f"split is missing. Add `split: {SPLIT_DEFAULT}`, the default.",
        "train.epochs is missing. Add `epochs: 10`, the default.",
        "train.epoch is not a known parameter. Did you mean train.epochs?",
        "machine.device.memory_limit_mb must be null while machine.device.memory_growth is true. Got 100. Set "
        "memory_growth: false.",
        "machine.device.xla must be true or false. Got 'on'. Write true.",
        "extra is not a known parameter. Remove it.",
    ]


def test_columns_and_fractions_of_the_split_that_do_not_go_together() -> None:
    assert problems({"split.validation_fraction": 0.4, "split.test_fraction": 0.6}) == [
        "split.test_fraction must leave something to train on beside split.validation_fraction, 0.4. Got 0.6. Lower "
        "one of them."
    ]
    assert problems(
        {
            "data.list_column": None,
            "data.label_columns": ["Drama", "fold"],
            "split.group_column": "Id",
            "split.side_column": "fold",
        }
    ) == [
        "split.group_column must name another column than data.id_column. Got 'Id' for both.",
        "split.side_column must name another column than data.label_columns[1]. Got 'fold' for both.",
    ]
    assert problems({"split.group_column": "fold", "split.side_column": "fold"}) == [
        "split.side_column must name another column than split.group_column. Got 'fold' for both."
    ]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b c", 1]), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=80, deadline=None)
@given(key=st.sampled_from(list(keys(DEFAULTS))), value=JUNK)
def test_whatever_the_value_the_params_load_or_every_line_names_the_key(key: str, value: Any) -> None:
    lines = []
    try:
        load({key: value})
    except UserError as error:
        lines = str(error).split("\n")
    # One problem a line: a value with line breaks in it must not break the line.
    assert all(line.startswith(f"params.yaml: {key}") for line in lines)


# Files that are no parameters at all


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train: [1\nb: 2\n", "line 2, column 2 {not_yaml}while parsing a flow sequence (from line 1), "
         "expected ',' or ']', but got ':'."),
        ("train:\n\tepochs: 1\n", "line 2, column 1 {not_yaml}while scanning for the next token, "
         "found character '\\t' that cannot start any token."),
        ("seed: 1\ntrain:\n  epochs: 10\n  epochs: 20\n", "line 4, column 3 {not_yaml}while constructing a mapping "
         '(from line 3), found duplicate key "epochs" with value "20" (original value: "10").'),
        ("seed: {id}.jpg\n", "line 1, column 11 {not_yaml}while parsing a block mapping, "
         "expected <block end>, but found '<scalar>'."),
        ("a: *x\n", "line 1, column 4 {not_yaml}found undefined alias 'x'."),
        ("a: 1\n---\nb: 2\n", "line 2, column 1 {not_yaml}expected a single document in the stream (from line 1), "
         "but found another document."),
        ("a: 2020-13-45\n", "{not_yaml}month must be in 1..12."),
        ("a: !!bool maybe\n", "{not_yaml}'maybe'."),
        (b"a: \xff\n", "{not_yaml}'utf-8' codec can't decode byte 0xff in position 3: invalid start byte."),
        ("", "{not_mapping}Got null."),
        ("# nothing but a comment\n", "{not_mapping}Got null."),
        ("- seed: 1\n", "{not_mapping}Got a list."),
        ("seed 42\n", "{not_mapping}Got 'seed 42'."),
    ],
)  # fmt: skip
def test_file_that_is_no_mapping(text: str | bytes, expected: str) -> None:
    sections = "seed, data, image, split, model, train, decide, evaluate, predict, report, machine"
    not_mapping = f"the file must be a mapping with the keys {sections}. "
    # str.replace: some messages hold braces of their own.
    expected = expected.replace("{not_yaml}", "cannot be read as YAML: ").replace("{not_mapping}", not_mapping)
    assert message(text) == f"params.yaml: {expected}"


def test_missing_file() -> None:
    with pytest.raises(UserError) as caught:
        load_params("nowhere.yaml")
    fix = "Run from the repository's root, or correct the path."
    assert str(caught.value) == f"nowhere.yaml: cannot be read: No such file or directory. {fix}"


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read: Is a directory\."):
        load_params(tmp_path)


# Values that do not go together


def test_the_tutorial_network_needs_an_image_of_76_pixels() -> None:
    assert problems({"model.name": "tutorial_cnn", "image.height": 75, "image.width": 20}) == [
        "image.height must be at least 76 for model.name: tutorial_cnn. Got 75.",
        "image.width must be at least 76 for model.name: tutorial_cnn. Got 20.",
    ]
    assert load({"model.name": "tutorial_cnn", "image.height": 76, "image.width": 76}).image.width == 76


def test_xla_and_determinism_exclude_each_other() -> None:
    assert problems({"machine.device.xla": True}) == [
        "machine.device.xla: true needs machine.device.deterministic: false. Got true for both. Change one of them."
    ]
    assert load({"machine.device.xla": True, "machine.device.deterministic": False}).machine.device.xla is True


def test_a_warm_up_ends_within_the_training() -> None:
    assert problems({"train.warmup_epochs": 3.0, "train.epochs": 3, "model.finetune.epochs": 3}) == [
        "train.warmup_epochs must be less than train.epochs, 3. Got 3. Change one of them."
    ]
    finetune = {"model.name": "backbone", "model.mode": "finetune", "model.finetune.epochs": 2}
    assert problems({"train.warmup_epochs": 2.5, **finetune}) == [
        "train.warmup_epochs must be less than model.finetune.epochs, 2. Got 2.5. Change one of them."
    ]
    assert load({"train.warmup_epochs": 2.5, **finetune, "model.mode": "frozen"}).train.warmup_epochs == 2.5


def test_exactly_one_excludes_at_least_one() -> None:
    assert problems({"decide.exactly_one": True, "decide.at_least_one": True}) == [
        "decide.at_least_one must be false for decide.exactly_one: true, which gives every image its likeliest label. "
        "Got true for both. Change one of them."
    ]
    assert problems({"decide.exactly_one": True, "decide.thresholds": "recall"}) == [
        "decide.thresholds must be f1 or precision for decide.exactly_one: true, by which no threshold decides. Got "
        "recall, which would promise what is not kept. Change one of them."
    ]
    assert load({"decide.exactly_one": True}).decide.exactly_one is True


def test_mixup_needs_whole_batches() -> None:
    assert problems({"train.mixup": 0.2, "machine.device.strategy": "mirrored"}) == [
        "train.mixup must be 0 for machine.device.strategy: mirrored. Got 0.2. Change one of them."
    ]


def test_half_size_epochs_leave_some_and_are_for_a_network_of_any_size() -> None:
    assert problems({"train.half_size_epochs": 10, "model.name": "tutorial_cnn"}) == [
        "train.half_size_epochs must be 0 for model.name: tutorial_cnn. Got 10. Change one of them.",
        "train.half_size_epochs must be less than train.epochs, 10. Got 10. Change one of them.",
    ]


def test_images_are_cached_on_one_device() -> None:
    assert problems({"machine.device.cache_images": True, "machine.device.strategy": "mirrored"}) == [
        "machine.device.cache_images must be false for machine.device.strategy: mirrored. Got true. Change one of them."
    ]


@pytest.mark.parametrize(
    ("engine", "precision", "possible"),
    [
        ("keras", "int8", "auto or onnxruntime or openvino"),
        ("keras", "bfloat16", "auto or openvino"),
        ("onnxruntime", "bfloat16", "auto or openvino"),
    ],
)
def test_an_engine_computes_at_its_precisions(engine: str, precision: str, possible: str) -> None:
    changes = {"machine.device.inference_engine": engine, "machine.device.inference_precision": precision}
    assert problems({"machine.device.cpu_isa": None, **changes}) == [
        f"machine.device.inference_engine must be {possible} for machine.device.inference_precision: {precision}. "
        f"Got {engine}. Change one of them."
    ]


def test_openvino_needs_the_instructions_that_cpu_isa_leaves_it() -> None:
    bfloat16 = {"machine.device.inference_precision": "bfloat16"}
    int8 = {"machine.device.inference_precision": "int8", "machine.device.inference_engine": "openvino"}
    for changes, isa, fine in (
        (bfloat16, "AVX2", False),
        (bfloat16, "AVX512_CORE_VNNI", False),
        (bfloat16, "AVX512_CORE_BF16", True),
        (bfloat16, None, True),
        (int8, "AVX512_CORE", False),
        (int8, "AVX512_CORE_VNNI", True),
        (int8 | {"machine.device.inference_engine": "onnxruntime"}, "AVX2", True),  # it does not heed cpu_isa
        ({"machine.device.inference_engine": "openvino"}, "AVX2", True),
    ):
        given = {"machine.device.cpu_isa": isa, **changes}
        if fine:
            assert load(given).machine.device.cpu_isa == isa
        else:
            (line,) = problems(given)
            precision = changes["machine.device.inference_precision"]
            assert line.startswith("machine.device.cpu_isa must be null or one of AVX")
            assert line.endswith(f"inference_precision: {precision} by OpenVINO. Got {isa}. Set it to null.")


def test_weight_decay_is_for_adamw() -> None:
    assert problems({"train.optimizer": "adam"}) == [
        "train.weight_decay needs train.optimizer: adamw or muon. Got 0.05 with adam. Change one of them."
    ]
    assert load({"train.weight_decay": 0.0, "train.optimizer": "adam"}).train.optimizer == "adam"


# Keys of earlier versions


@pytest.mark.parametrize(
    ("key", "value", "lines"),
    [
        (
            "gpu",
            {"xla": True, "cpu_isa": None},
            ["gpu.xla has moved to machine.device.xla", "gpu.cpu_isa has moved to machine.device.cpu_isa"],
        ),
        (
            "preprocess",
            {"engine": "ray", "reuse": None},
            [
                "preprocess.engine has moved to machine.workers.run_on",
                "preprocess.reuse has moved to machine.reuse_folder",
            ],
        ),
        ("ray", {"address": "auto"}, ["ray.address has moved to machine.workers.ray_address"]),
        ("image.workers", 2, ["image.workers has moved to machine.workers.threads"]),
        (
            "train.distributed",
            {"processes": 2, "coordinator": None},
            [
                "train.distributed.processes has moved to machine.processes.count",
                "train.distributed.coordinator has moved to machine.processes.coordinator",
            ],
        ),
        ("gpu", None, ["gpu has moved to machine.device"]),
    ],
)
def test_a_key_of_an_earlier_version_is_answered_by_its_new_name(key: str, value: Any, lines: list[str]) -> None:
    assert sorted(problems({key: value})) == sorted(f"{line}. Write it there and remove it here." for line in lines)


def test_a_file_of_an_earlier_version_tells_all_moves_at_once() -> None:
    content = changed({"gpu": {"required": True}, "ray": {"address": None}, "machine": REMOVED})
    assert [line.split(" Add ")[0] for line in problems_of(content)] == [
        "machine is missing.",
        "gpu.required has moved to machine.device.required. Write it there and remove it here.",
        "ray.address has moved to machine.workers.ray_address. Write it there and remove it here.",
    ]


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        (
            ["jpeg", "EPS"],
            "image.formats[1] can never be 'EPS': it is a program, or may hold one, which Pillow has another program "
            "run. Remove it, and convert such files to png or jpeg.",
        ),
        (
            ["png", "heic"],
            "image.formats[1] can never be 'heic': Pillow does not read it. Remove it, and convert such ",
        ),
        (["png", "jpg"], "image.formats[1] must be one of jpeg, png, webp, avif, "),
        ([], "image.formats must be a list of at least 1 (each item one of jpeg, "),
        (["png", "png"], "image.formats must not repeat an item. Got 'png' more than once."),
    ],
)
def test_formats_are_those_that_pillow_decodes_itself(formats: list[str], expected: str) -> None:
    (line,) = problems({"image.formats": formats})
    assert line.startswith(expected)
    assert "jpg" not in formats or line.endswith("Did you mean jpeg?")

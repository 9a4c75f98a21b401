"""params.yaml -> frozen, strictly checked values; every mistake in the file is reported at once.

The classes are the schema: one per section, one field per key. No field has a default, so params.yaml is the full list
of knobs and a key that is missing there is an error. ``examples`` holds the documented default, which only messages
quote. What each key does is written in params.yaml, above the key.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
)

from posterity import choices
from posterity.config.image_pattern import Pattern


def _unique(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if repeated := [item for item in items if items.count(item) > 1]:
        raise ValueError(f"must not repeat an item. Got {repeated[0]!r} more than once. Keep one.")
    return items


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _text_keys(mapping: Any) -> Any:
    """Keys of a mapping as text: -1 and true are what they look like, however they are quoted."""
    return (
        {str(key).lower() if isinstance(key, bool) else str(key): value for key, value in mapping.items()}
        if (isinstance(mapping, dict))
        else mapping
    )


# Formats that people may look for and that are no choices for image.formats.
NEVER_READ = {
    **dict.fromkeys(["eps", "ps", "pdf"], "it is a program, or may hold one, which Pillow has another program run"),
    **dict.fromkeys(["wmf", "emf"], "only Windows draws it"),
    **dict.fromkeys(["hdf5", "grib", "bufr", "mpeg"], "Pillow can name it, but not read it"),
    **dict.fromkeys(["heic", "heif", "svg", "jxl", "dicom"], "Pillow does not read it"),
}


def _harmless(name: Any) -> Any:
    reason = NEVER_READ.get(name.lower()) if isinstance(name, str) else None
    if reason:
        raise ValueError(f"can never be {name!r}: {reason}. Remove it, and convert such files to png or jpeg.")
    return name


# strict=False only lets a YAML list become a tuple; the items stay strict.
Columns = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False), AfterValidator(_unique)]
DeviceIndices = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False), AfterValidator(_unique)]
Networks = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Field(strict=False, min_length=1),
    BeforeValidator(_listed),
    AfterValidator(_unique),
]
Patterns = Annotated[
    tuple[str, ...], Field(strict=False, min_length=1), BeforeValidator(_listed), AfterValidator(_unique)
]
Formats = Annotated[
    tuple[Annotated[choices.ImageFormat, BeforeValidator(_harmless)], ...],
    Field(strict=False, min_length=1),
    AfterValidator(_unique),
]
Trackers = Annotated[
    tuple[choices.Tracker, ...], Field(strict=False), BeforeValidator(_listed), AfterValidator(_unique)
]
FileStem = Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$")]  # a name that is safe in a path on every system
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A mapping with exactly these keys. Strict: no text as a number, no bool as an integer; an integer is a float."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


# What is broken stops the run by default; what may be meant is only noted.
FAIL_BY_DEFAULT = {
    "missing_image", "ambiguous_image", "unreadable_image", "oversized_image", "outside_link",
    "bad_label_cell", "labels_disagree", "unsplit_label", "conflicting_duplicate",
}  # fmt: skip
if TYPE_CHECKING:

    class OnProblem(Section):
        """One policy for each kind of problem in `posterity.choices.POLICIES`."""

else:
    OnProblem = create_model(
        "OnProblem",
        __base__=Section,
        **{
            kind: (Literal[policies], Field(examples=["fail" if kind in FAIL_BY_DEFAULT else "keep"]))
            for kind, policies in choices.POLICIES.items()
        },
    )


class DataParams(Section):
    images: str = Field(min_length=1, examples=["data/sample/images"])
    labels: str = Field(min_length=1, examples=["data/sample/labels.csv"])
    delimiter: str = Field(min_length=1, examples=[","])
    rows: choices.TableRows = Field(examples=["image"])
    id_column: str = Field(min_length=1, examples=["Id"])
    list_column: str | None = Field(min_length=1, examples=["Genre"])
    list_delimiter: str = Field(min_length=1, examples=["|"])
    label_columns: Columns | None = Field(examples=[None])
    presence_column: str | None = Field(min_length=1, examples=[None])
    values: Annotated[dict[str, choices.CellState], BeforeValidator(_text_keys)] = Field(examples=[{}])
    unlisted_labels: choices.AbsentOrUnknown = Field(examples=["absent"])
    no_label_names: Columns = Field(examples=[[]])
    image_pattern: Patterns = Field(examples=["{id}.jpg"])
    image_column: str | None = Field(min_length=1, examples=[None])
    min_positives: int = Field(ge=0, examples=[2])
    max_dropped_fraction: Fraction = Field(examples=[0.01])
    near_duplicate_similarity: float | None = Field(ge=0.5, le=1, examples=[0.9])
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
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            Pattern(pattern)
        return patterns

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str) -> str:
        delimiter = delimiter.replace(r"\t", "\t")
        if delimiter != "whitespace" and (len(delimiter) > 1 or delimiter in '"\r\n'):
            raise ValueError(f"must be one character or whitespace. Got {delimiter!r}. For example ';' or \"\\t\".")
        return delimiter


class ImageParams(Section):
    height: int = Field(ge=8, le=choices.LARGEST_SIDE, examples=[400])
    width: int = Field(ge=8, le=choices.LARGEST_SIDE, examples=[300])
    resampling: choices.Resampling = Field(examples=["area"])
    fit: choices.Fit = Field(examples=["stretch"])
    max_pixels: int = Field(ge=1, le=choices.LARGEST_FILE, examples=[89478485])
    formats: Formats = Field(examples=[list(choices.COMMON_FORMATS)])
    max_side: int = Field(ge=1, le=choices.LARGEST_FILE, examples=[65535])
    max_scans: int = Field(ge=1, le=choices.LARGEST_FILE, examples=[64])
    grey_range: int | None = Field(ge=1, le=2**31 - 1, examples=[None])
    rows_per_shard: int = Field(ge=1, le=65536, examples=[256])


SIDES = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "test": "test",
}  # fmt: skip


class SplitParams(Section):
    validation_fraction: float = Field(gt=0, lt=1, examples=[0.1])
    stratify: bool = Field(examples=[False])
    test_fraction: float = Field(ge=0, lt=1, examples=[0.0])
    group_column: str | None = Field(min_length=1, examples=[None])
    side_column: str | None = Field(min_length=1, examples=[None])
    sides: dict[str, choices.Side] = Field(examples=[SIDES])
    side_conflict: choices.SideConflict = Field(examples=["fail"])

    @field_validator("sides")
    @classmethod
    def _one_meaning(cls, sides: dict[str, choices.Side]) -> dict[str, choices.Side]:
        folded = [text.casefold() for text in sides]
        if repeated := [text for text in sides if folded.count(text.casefold()) > 1]:
            raise ValueError(f"must not hold a text twice, in upper and lower case. Got {repeated}. Keep one of them.")
        return sides


class HeadParams(Section):
    hidden_units: int = Field(ge=0, examples=[512])
    dropout: float = Field(ge=0, lt=1, examples=[0.5])
    both_views: bool = Field(examples=[False])


class FinetuneParams(Section):
    epochs: int = Field(ge=1, examples=[5])
    learning_rate: float = Field(gt=0, examples=[0.0001])
    layers: int | None = Field(ge=1, examples=[None])
    lora_rank: int | None = Field(ge=1, examples=[None])


class ModelParams(Section):
    name: choices.Network = Field(examples=["compact_cnn"])
    backbone: Networks = Field(examples=[["EfficientNetB0"]])
    backbone_folder: str = Field(min_length=1, examples=["data/backbones"])
    weights: str | None = Field(min_length=1, examples=["imagenet"])
    pyramid_levels: int = Field(ge=1, examples=[1])
    mode: choices.BackboneMode = Field(examples=["frozen"])
    head: HeadParams
    finetune: FinetuneParams


class FocalParams(Section):
    gamma: float = Field(ge=0, examples=[2.0])
    alpha: float | None = Field(gt=0, lt=1, examples=[None])


class AsymmetricParams(Section):
    gamma_positive: float = Field(ge=0, examples=[0.0])
    gamma_negative: float = Field(ge=0, examples=[4.0])
    clip: float = Field(ge=0, lt=1, examples=[0.05])


class AugmentParams(Section):
    flip: bool = Field(examples=[True])
    shift: float = Field(ge=0, lt=1, examples=[0.0])
    zoom: float = Field(ge=0, lt=1, examples=[0.0])
    brightness: Fraction = Field(examples=[0.0])
    contrast: float = Field(ge=0, lt=1, examples=[0.0])
    erase: Fraction = Field(examples=[0.0])


class TrainParams(Section):
    epochs: int = Field(ge=1, examples=[10])
    batch_size: int = Field(ge=1, examples=[32])
    loss: choices.Loss = Field(examples=["bce"])
    positive_weight_cap: float = Field(ge=1, examples=[10.0])
    focal: FocalParams
    asymmetric: AsymmetricParams
    label_smoothing: float = Field(ge=0, lt=1, examples=[0.0])
    optimizer: choices.Optimizer = Field(examples=["adamw"])
    weight_decay: float = Field(ge=0, examples=[0.05])
    learning_rate: float = Field(gt=0, examples=[0.002])
    schedule: choices.Schedule = Field(examples=["cosine"])
    warmup_epochs: float = Field(ge=0, examples=[0.5])
    clip_norm: float | None = Field(gt=0, examples=[None])
    ema: float | None = Field(gt=0, lt=1, examples=[None])
    early_stopping: int | None = Field(ge=1, examples=[None])
    keep_epoch: choices.KeptEpoch = Field(examples=["last"])
    mixup: float = Field(ge=0, examples=[0.0])
    augment: AugmentParams
    half_size_epochs: int = Field(ge=0, examples=[0])
    shuffle_shards: int | None = Field(ge=1, examples=[None])
    log_to: Trackers = Field(examples=[[]])
    folds: int = Field(ge=1, examples=[1])
    repeats: int = Field(ge=1, examples=[1])


class DecideParams(Section):
    calibration: choices.CalibrationMethod = Field(examples=["off"])
    thresholds: choices.ThresholdObjective = Field(examples=["f1"])
    target_precision: float = Field(gt=0, le=1, examples=[0.7])
    target_recall: float = Field(gt=0, lt=1, examples=[0.9])
    min_positives: int = Field(ge=1, examples=[10])
    folds: int = Field(ge=2, examples=[5])
    at_least_one: bool = Field(examples=[False])
    exactly_one: bool = Field(examples=[False])


class EvaluateParams(Section):
    threshold: Fraction = Field(examples=[0.5])
    bootstrap_samples: int = Field(ge=1, examples=[1000])


class PredictParams(Section):
    images: dict[FileStem, Annotated[str, Field(min_length=1)]] = Field(examples=[{}])
    format: choices.TableFormat = Field(examples=["csv"])
    threshold: Fraction | None = Field(examples=[None])


class ReportParams(Section):
    license: str | None = Field(min_length=1, examples=[None])
    backbone_license: str | None = Field(min_length=1, examples=[None])
    dataset_name: str | None = Field(min_length=1, examples=[None])


class DeviceParams(Section):
    visible_devices: DeviceIndices | None = Field(examples=[None])
    memory_growth: bool = Field(examples=[True])
    memory_limit_mb: int | None = Field(ge=1, examples=[None])
    mixed_precision: choices.Precision = Field(examples=["off"])
    xla: bool = Field(examples=[False])
    tf32: bool = Field(examples=[True])
    strategy: choices.Strategy = Field(examples=["single"])
    deterministic: bool = Field(examples=[True])
    required: bool = Field(examples=[False])
    cpu_threads: int | None = Field(ge=1, examples=[None])
    cpu_isa: choices.CpuIsa | None = Field(examples=["AVX2"])
    cache_images: bool = Field(examples=[False])
    inference_engine: choices.InferenceEngine = Field(examples=["auto"])
    inference_precision: choices.InferencePrecision = Field(examples=["float32"])

    @field_validator("memory_limit_mb")
    @classmethod
    def _limit_or_growth(cls, limit_mb: int | None, info: ValidationInfo) -> int | None:
        if limit_mb is not None and info.data.get("memory_growth"):
            # TensorFlow refuses both together.
            raise ValueError(
                f"must be null while machine.device.memory_growth is true. Got {limit_mb}. Set memory_growth: false."
            )
        return limit_mb


class WorkersParams(Section):
    run_on: choices.RunOn = Field(examples=["local"])
    threads: int | None = Field(ge=1, examples=[None])
    ray_address: str | None = Field(min_length=1, examples=[None])


class ProcessesParams(Section):
    count: int | None = Field(ge=1, examples=[1])
    coordinator: str | None = Field(min_length=1, examples=[None])


class MachineParams(Section):
    device: DeviceParams
    workers: WorkersParams
    processes: ProcessesParams
    reuse_folder: str | None = Field(min_length=1, examples=["data/.reuse"])


class Params(Section):
    seed: int = Field(ge=0, le=2**32 - 1, examples=[42])
    data: DataParams
    image: ImageParams
    split: SplitParams
    model: ModelParams
    train: TrainParams
    decide: DecideParams
    evaluate: EvaluateParams
    predict: PredictParams
    report: ReportParams
    machine: MachineParams

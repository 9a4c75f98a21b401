"""params.yaml -> frozen, strictly checked values; every mistake in the file is reported at once.

The classes are the schema: one per section, one field per key. No field has a default, so params.yaml is the full list
of knobs and a key that is missing there is an error. ``examples`` holds the documented default, which only messages
quote. What each key does is written in params.yaml, above the key.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)


def _unique(items: tuple[Any, ...]) -> tuple[Any, ...]:
    if repeated := [item for item in items if items.count(item) > 1]:
        raise ValueError(f"must not repeat an item. Got {repeated[0]!r} more than once. Keep one.")
    return items


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


# strict=False only lets a YAML list become a tuple; the items stay strict.
Columns = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False), AfterValidator(_unique)]
DeviceIndices = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False), AfterValidator(_unique)]
Networks = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Field(strict=False, min_length=1),
    BeforeValidator(_listed),
    AfterValidator(_unique),
]
FileStem = Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$")]  # a name that is safe in a path on every system
Fraction = Annotated[float, Field(ge=0, le=1)]
DropOrFail = Literal["drop", "fail"]
KeepDropOrFail = Literal["keep", "drop", "fail"]
Resampling = Literal["area", "nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
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
    resampling: Resampling = Field(examples=["area"])
    fit: Literal["stretch", "pad", "crop"] = Field(examples=["stretch"])
    max_pixels: int = Field(ge=1, examples=[89478485])
    rows_per_shard: int = Field(ge=1, le=65536, examples=[256])
    workers: int | None = Field(ge=1, examples=[None])


class PreprocessParams(Section):
    engine: Literal["local", "ray"] = Field(examples=["local"])
    reuse: str | None = Field(min_length=1, examples=["data/.reuse"])


class RayParams(Section):
    address: str | None = Field(min_length=1, examples=[None])


class SplitParams(Section):
    validation_fraction: float = Field(gt=0, lt=1, examples=[0.1])
    stratify: bool = Field(examples=[False])


class HeadParams(Section):
    hidden_units: int = Field(ge=0, examples=[512])
    dropout: float = Field(ge=0, lt=1, examples=[0.5])


class FinetuneParams(Section):
    epochs: int = Field(ge=1, examples=[5])
    learning_rate: float = Field(gt=0, examples=[0.0001])
    layers: int | None = Field(ge=1, examples=[None])


class ModelParams(Section):
    name: Literal["compact_cnn", "tutorial_cnn", "backbone"] = Field(examples=["compact_cnn"])
    backbone: Networks = Field(examples=[["EfficientNetB0"]])
    backbone_folder: str = Field(min_length=1, examples=["data/backbones"])
    weights: str | None = Field(min_length=1, examples=["imagenet"])
    mode: Literal["frozen", "finetune"] = Field(examples=["frozen"])
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


class DistributedParams(Section):
    processes: int | None = Field(ge=1, examples=[1])
    coordinator: str | None = Field(min_length=1, examples=[None])


class TrainParams(Section):
    epochs: int = Field(ge=1, examples=[10])
    batch_size: int = Field(ge=1, examples=[32])
    loss: Literal["bce", "weighted_bce", "focal", "asymmetric"] = Field(examples=["bce"])
    positive_weight_cap: float = Field(ge=1, examples=[10.0])
    focal: FocalParams
    asymmetric: AsymmetricParams
    label_smoothing: float = Field(ge=0, lt=1, examples=[0.0])
    optimizer: Literal["adam", "adamw", "muon"] = Field(examples=["adamw"])
    weight_decay: float = Field(ge=0, examples=[0.05])
    learning_rate: float = Field(gt=0, examples=[0.002])
    schedule: Literal["constant", "cosine"] = Field(examples=["cosine"])
    warmup_epochs: float = Field(ge=0, examples=[0.5])
    clip_norm: float | None = Field(gt=0, examples=[None])
    ema: float | None = Field(gt=0, lt=1, examples=[None])
    early_stopping: int | None = Field(ge=1, examples=[None])
    keep_epoch: Literal["last", "best"] = Field(examples=["last"])
    mixup: float = Field(ge=0, examples=[0.0])
    augment: AugmentParams
    half_size_epochs: int = Field(ge=0, examples=[0])
    shuffle_shards: int | None = Field(ge=1, examples=[None])
    distributed: DistributedParams


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
    cache_images: bool = Field(examples=[False])
    inference_engine: Literal["auto", "keras", "onnxruntime"] = Field(examples=["auto"])

    @field_validator("memory_limit_mb")
    @classmethod
    def _limit_or_growth(cls, limit_mb: int | None, info: ValidationInfo) -> int | None:
        if limit_mb is not None and info.data.get("memory_growth"):
            # TensorFlow refuses both together.
            raise ValueError(f"must be null while gpu.memory_growth is true. Got {limit_mb}. Set memory_growth: false.")
        return limit_mb


class DecideParams(Section):
    calibration: Literal["off", "platt", "isotonic"] = Field(examples=["off"])
    thresholds: Literal["f1", "precision"] = Field(examples=["f1"])
    target_precision: float = Field(gt=0, le=1, examples=[0.7])
    min_positives: int = Field(ge=1, examples=[10])
    folds: int = Field(ge=2, examples=[5])
    at_least_one: bool = Field(examples=[False])


class EvaluateParams(Section):
    threshold: Fraction = Field(examples=[0.5])
    bootstrap_samples: int = Field(ge=1, examples=[1000])


class PredictParams(Section):
    images: dict[FileStem, Annotated[str, Field(min_length=1)]] = Field(examples=[{}])
    format: Literal["csv", "jsonl"] = Field(examples=["csv"])
    threshold: Fraction | None = Field(examples=[None])


class Params(Section):
    seed: int = Field(ge=0, le=2**32 - 1, examples=[42])
    data: DataParams
    image: ImageParams
    preprocess: PreprocessParams
    ray: RayParams
    split: SplitParams
    model: ModelParams
    train: TrainParams
    gpu: GpuParams
    decide: DecideParams
    evaluate: EvaluateParams
    predict: PredictParams

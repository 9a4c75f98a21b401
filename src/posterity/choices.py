"""The values that parameters may take, each list written once: for the schema of params.yaml and for the library."""

from typing import Literal

Resampling = Literal["area", "nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Fit = Literal["stretch", "pad", "crop"]
# Formats that Pillow decodes by itself. No choices are those for which it starts another program (EPS: Ghostscript),
# that only Windows draws (WMF, EMF) or that Pillow can name but not read (HDF5, GRIB, BUFR, MPEG).
ImageFormat = Literal[
    "jpeg", "png", "webp", "avif", "gif", "tiff", "bmp", "jpeg2000", "ppm", "qoi", "ico", "icns", "dds", "psd", "sgi",
    "pcx", "tga",
]  # fmt: skip
# The default of `image.formats`, and what a model file of a version without that key reads.
COMMON_FORMATS: tuple[ImageFormat, ...] = ("jpeg", "png", "webp", "avif", "gif", "tiff", "bmp", "jpeg2000", "ppm")
Network = Literal["compact_cnn", "tutorial_cnn", "backbone"]
BackboneMode = Literal["frozen", "finetune"]
Loss = Literal["bce", "weighted_bce", "focal", "asymmetric"]
Optimizer = Literal["adam", "adamw", "muon"]
Schedule = Literal["constant", "cosine"]
KeptEpoch = Literal["last", "best"]
Tracker = Literal["mlflow", "dvclive"]
Precision = Literal["off", "float16", "bfloat16"]
Strategy = Literal["single", "mirrored"]
InferenceEngine = Literal["auto", "keras", "onnxruntime", "openvino"]
InferencePrecision = Literal["float32", "bfloat16", "int8"]
RunOn = Literal["local", "ray"]
CalibrationMethod = Literal["off", "platt", "isotonic"]
ThresholdObjective = Literal["f1", "precision", "recall"]
TableFormat = Literal["csv", "jsonl"]
# The instruction sets that oneDNN knows. It ignores any other value without a message.
CpuIsa = Literal[
    "SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16",
    "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16",
]  # fmt: skip
# Which engines compute at which precision; the first of them is what `auto` means on a CPU.
PRECISION_ENGINES: dict[InferencePrecision, tuple[InferenceEngine, ...]] = {
    "float32": ("onnxruntime", "openvino", "keras"),
    "bfloat16": ("openvino",),
    "int8": ("onnxruntime", "openvino"),
}
# The values of `machine.device.cpu_isa` under which OpenVINO has the instructions for a precision; null is another.
OPENVINO_ISAS: dict[InferencePrecision, tuple[CpuIsa, ...]] = {
    "bfloat16": ("AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16"),
    "int8": (
        "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE_VNNI", "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX",
        "AVX512_CORE_AMX_FP16",
    ),
}  # fmt: skip
Policy = Literal["keep", "drop", "fail"]
TableRows = Literal["image", "label"]
CellState = Literal["present", "absent", "unknown"]
AbsentOrUnknown = Literal["absent", "unknown"]
# Where a row of the data can be, and what may be done about copies of an image that a column puts on several sides.
Side = Literal["train", "validation", "test", "leave_out"]
# Words that tables of other people use for a side; params.yaml's split.sides knows the plainest of them.
SIDE_WORDS: dict[str, Side] = {
    "train": "train", "training": "train", "trn": "train", "tr": "train", "trainval": "train",
    "valid": "validation", "val": "validation", "validation": "validation", "dev": "validation", "eval": "validation",
    "test": "test", "testing": "test", "tst": "test", "holdout": "test",
    "unlabeled": "leave_out", "unlabelled": "leave_out", "unused": "leave_out", "none": "leave_out",
}  # fmt: skip
SideConflict = Literal["fail", "leave_out", "keep"]

# The least height and width, in pixels, of an image for a network from scratch. tutorial_cnn has four 5 x 5
# convolutions without padding, each followed by a pooling: they leave nothing of a smaller image.
SMALLEST_SIDE = {"tutorial_cnn": 76, "compact_cnn": 8}

# The most that a model file and params.yaml may ask for: an array of 8,192 x 8,192 pixels takes 200 MB, and libjpeg and
# Pillow count the pixels of a file in 31 bits.
LARGEST_SIDE = 8192
LARGEST_FILE = 2**31 - 1

# The kinds of problem that a data set can have, and what `data.on_problem` may say about each. `keep` only notes the
# problem, `drop` leaves the row (or the label) out, `fail` stops the run.
POLICIES: dict[str, tuple[Policy, ...]] = {
    "missing_image": ("drop", "fail"),
    "ambiguous_image": ("drop", "fail"),
    "unreadable_image": ("drop", "fail"),
    "oversized_image": ("drop", "fail"),
    "outside_link": ("keep", "drop", "fail"),
    "constant_image": ("keep", "drop", "fail"),
    "grey_levels": ("keep", "drop", "fail"),
    "bad_label_cell": ("drop", "fail"),
    "labels_disagree": ("drop", "fail"),
    "unsplit_label": ("keep", "fail"),
    "conflicting_duplicate": ("keep", "drop", "fail"),
    "duplicate_id": ("keep", "drop", "fail"),
    "identical_image": ("keep", "drop", "fail"),
    "near_duplicate": ("keep", "drop", "fail"),
    "no_label": ("keep", "drop", "fail"),
    "rare_label": ("keep", "drop", "fail"),
    "similar_labels": ("keep", "fail"),
    "null_label": ("keep", "fail"),
    "metadata_column": ("keep", "fail"),
    "unlisted_image": ("keep", "fail"),
}

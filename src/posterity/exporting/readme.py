"""The README.md of an export, with a script that predicts an image by its runtime alone."""

from posterity.nn.inference.export_card import ExportCard
from posterity.pixels.spec import ImageSpec
from posterity.text import printable

_PACKAGES = {
    "onnx": "numpy pillow onnxruntime",
    "openvino": "numpy pillow openvino",
    "litert": "numpy pillow ai-edge-litert",
    "savedmodel": "tensorflow",
}
_IMPORTS = {
    "onnx": "import onnxruntime",
    "openvino": "import openvino",
    "litert": "from ai_edge_litert.interpreter import Interpreter",
}
_RUNS = {
    "onnx": [
        'session = onnxruntime.InferenceSession(FOLDER / "model.onnx")',
        'probabilities, decisions = session.run(["probabilities", "decisions"], {"images": images})',
    ],
    "openvino": [
        'run = openvino.Core().compile_model(FOLDER / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})',
        "probabilities, decisions = run(images).to_tuple()",
    ],
    "litert": [
        'run = Interpreter(str(FOLDER / "model.tflite")).get_signature_runner("serving_default")',
        'probabilities, decisions = map(run(images=images).get, ("probabilities", "decisions"))',
    ],
}
_MATRIX = """\
def matrix(old, new):  # weights (new, old): means where a side shrinks, straight lines where it grows
    k, cells = np.arange(new)[:, None], np.arange(old)
    shared = np.minimum((k + 1) * old / new, cells + 1) - np.maximum(k * old / new, cells)
    line = 1 - abs(np.clip((k + 0.5) * old / new - 0.5, 0, old - 1) - cells)
    return shared.clip(0) * new / old if new <= old else np.rint(line.clip(0) * 256) / 256
"""
_AREA = """\
pixels = np.asarray(image, float)
for step, part in enumerate((np.minimum(SIZE, pixels.shape[:2]), SIZE)):  # shrink, then grow
    rows, columns = (matrix(*ends) for ends in zip(pixels.shape, part))
    pixels = np.einsum("ih,hwc,jw->ijc", rows, pixels, columns, optimize=True)
    pixels = np.floor(pixels + 0.5) if step else np.rint(pixels)
"""
_PRINT = """\
for name, score, is_decided in zip(labels, probabilities[0], decisions[0]):
    print(f"{score:.6f}", "yes" if is_decided else "no", name, sep="\\t")
"""
_LABELS = 'labels = json.loads((FOLDER / "labels.json").read_text("utf-8"))["label_names"]\n'
_SAVED = """\
import json, sys
from pathlib import Path
import tensorflow as tf

FOLDER = Path(__file__).parent
model = tf.saved_model.load(str(FOLDER / "model"))
found = model.signatures["serve_jpeg"](jpeg=tf.constant([Path(sys.argv[1]).read_bytes()]))
probabilities, decisions = found["probabilities"].numpy(), found["decisions"].numpy()
"""


def script(card: ExportCard) -> str:
    """The text of ``predict.py``, at most 30 lines: it prints probability, decision and name of every label."""
    if card.format == "savedmodel":
        return _SAVED + _LABELS + _PRINT
    spec = card.card.image
    lines = ["import json, sys", "from pathlib import Path", "import numpy as np", _IMPORTS[card.format]]
    lines += ["from PIL import Image, ImageOps", f"H, W, FOLDER = {spec.height}, {spec.width}, Path(__file__).parent"]
    lines += [*(_MATRIX.splitlines() if spec.resampling == "area" else []), *_opening(spec), *_fitting(spec)]
    hint = "bf16" if card.precision == "bf16" else "f32"
    lines += [line.replace('"f32"', f'"{hint}"') for line in _RUNS[card.format]]
    return "\n".join(lines) + "\n" + _LABELS + _PRINT


def _opening(spec: ImageSpec) -> list[str]:
    """Lines from a file to ``image``, upright and over white."""
    lines = ["image = Image.open(sys.argv[1])"]
    if spec.resampling != "nearest":  # a large JPEG is scaled down by its decoder, to no less than twice the target
        lines.append("image.draft(None, (2 * H, 2 * W) if image.getexif().get(274, 1) > 4 else (2 * W, 2 * H))")
    return [
        *lines,
        'image = ImageOps.exif_transpose(image).convert("RGBA")',
        'image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")',
    ]


def _fitting(spec: ImageSpec) -> list[str]:
    """Lines from ``image`` to ``images``, uint8 (1, H, W, 3)."""
    lines, size = [], ("H", "W")
    if spec.fit == "pad" or (spec.fit == "crop" and spec.resampling == "area"):
        lines.append("w, h = image.size")
    if spec.fit == "pad":
        lines.append("w, h = (W, max(1, round(h / w * W))) if w / h > W / H else (max(1, round(w / h * H)), H)")
        size = ("h", "w")
    method = f"Image.Resampling.{spec.resampling.upper()}"
    if spec.resampling == "area":
        if spec.fit == "crop":
            lines.append("x, y = (w, max(1, round(H / W * w))) if W / H > w / h else (max(1, round(W / H * h)), h)")
            lines.append("left, top = (w - x) // 2, (h - y) // 2")
            lines.append("image = image.crop((left, top, left + x, top + y))")
        lines += _AREA.replace("SIZE", f"({size[0]}, {size[1]})").splitlines()
    elif spec.fit == "crop":
        lines.append(f"pixels = np.asarray(ImageOps.fit(image, (W, H), {method}))")
    else:
        lines.append(f"pixels = np.asarray(image.resize(({size[1]}, {size[0]}), {method}))")
    if spec.fit == "pad":
        lines.append("x, y = round((W - w) / 2), round((H - h) / 2)  # black bars")
        lines.append("pixels = np.pad(pixels, ((y, H - h - y), (x, W - w - x), (0, 0)))")
    return [*lines, "images = pixels.astype(np.uint8)[None]"]


def text(card: ExportCard, outcome: str) -> str:
    """The README.md of an export; ``outcome`` says what it was compared on and how far it was from Keras."""
    spec, shape = card.card.image, f"(n, {len(card.card.label_names)})"
    data = f"data: sha256 of their manifest `{card.data_sha256}`" if card.data_sha256 else "data: not recorded"
    rows = {
        "files": f"{_FILES[card.format]}; labels.json: label names, thresholds, calibration and image spec, which the "
        "metadata of the file hold, too",
        "input": f"`images`: uint8 (n, {spec.height}, {spec.width}, 3), red, green and blue from 0 to 255, any n"
        + (_JPEG if card.format == "savedmodel" else ""),
        "preparation": f"resampling `{spec.resampling}`, fit `{spec.fit}`, EXIF rotation applied, transparency "
        "over white",
        "outputs": f"`probabilities`: float32 {shape}, calibrated; `decisions`: bool {shape}, {_rule(card)}",
        "origin": f"model: sha256 of the Keras file `{card.model_sha256}`; {data}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    model = _FILES[card.format].split()[0]
    return f"""# A model of posterity for {_RUNTIMES[card.format]}

Made by `posterity export {card.format}` of posterity {card.posterity_version}, precision {card.precision}.
{printable(outcome)}

| | |
|---|---|
{table}

In a folder with posterity, `posterity predict --model {model} IMAGE` reads images of any format.
Without posterity, save this as `predict.py` in this folder, then run

```
pip install {_PACKAGES[card.format]}
python predict.py IMAGE
```

It prints probability, decision and name of every label.

```python
{script(card)}```

{_notes(card)}
"""


def _notes(card: ExportCard) -> str:
    notes = [_SAVED_NOTES if card.format == "savedmodel" else _NOTES]
    if card.format == "openvino":
        notes.append(_HINT)
    if card.precision != "float32" and card.format != "litert":
        notes.append(_NEEDS[card.precision])
    return "\n\n".join(notes)


def _rule(card: ExportCard) -> str:
    decisions = card.card.decisions or {}
    if decisions.get("exactly_one"):
        return "the likeliest label and no other"
    rule = "all labels that reach their threshold"
    return f"{rule}, and the likeliest one if none does" if decisions.get("at_least_one") else rule


_RUNTIMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT", "savedmodel": "TensorFlow"}
_FILES = {
    "onnx": "model.onnx",
    "openvino": "model.xml and model.bin",
    "litert": "model.tflite",
    "savedmodel": "model",
}
_JPEG = " (signature `serving_default`); or `jpeg`: the content of JPEG files, strings (n,) (signature `serve_jpeg`)"
_NOTES = """\
The script prepares an image as posterity does, with NumPy and Pillow alone: the same pixels, but for a difference of 1
in a few of them. It does not read images of more than 8 bits a channel rightly, and it takes damaged files that
posterity refuses."""
_SAVED_NOTES = """\
The signature `serve_jpeg` decodes and resizes with TensorFlow. Unlike posterity it does not apply EXIF rotation, and it
does not scale a large file down in its decoder; apart from that, a channel of a pixel differs by 1 now and then."""
_HINT = """\
Tell OpenVINO the precision, as the script does: a CPU that has bfloat16 computes in that unless told otherwise."""
_NEEDS = {
    "int8": "It needs a CPU with AVX512_VNNI or AVX_VNNI: without them sums of 8-bit products overflow.",
    "bf16": "It needs a CPU with AVX512_BF16 or AMX_BF16.",
}

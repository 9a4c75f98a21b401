"""A Keras model as a SavedModel of TensorFlow, which takes arrays or the content of JPEG files."""

from pathlib import Path
from typing import Any

from posterity.evaluation.decisions import Decisions
from posterity.exporting.decision_graph import decision_function
from posterity.exporting.jpeg_graph import decoder
from posterity.nn.inference.export_card import LABELS, ExportCard
from posterity.nn.inference.graph_names import INPUT, JPEG_INPUT, JPEG_SIGNATURE, OUTPUTS, SIGNATURE

NAME = "model"
EXTRA = "assets.extra"  # where TensorFlow leaves files alone


def write(folder: Path, model: Any, decisions: Decisions, card: ExportCard) -> None:
    """Write the folder `NAME` to ``folder``; parameters as of `posterity.exporting.onnx_format.write`."""
    save(folder / NAME, model, decisions, card, with_jpeg=True)
    (folder / NAME / EXTRA).mkdir()
    (folder / NAME / EXTRA / LABELS).write_text(card.to_json(), encoding="utf-8")
    # It holds a random number, and nothing reads it: without it the same model gives the same files.
    (folder / NAME / "fingerprint.pb").unlink(missing_ok=True)


def save(path: Path, model: Any, decisions: Decisions, card: ExportCard, *, with_jpeg: bool) -> None:
    """Write a SavedModel with the signature `SIGNATURE` and, if wanted, `JPEG_SIGNATURE`."""
    import tensorflow as tf

    image, decide = card.card.image, decision_function(decisions)

    def outputs(images: Any) -> dict[str, Any]:
        return dict(zip(OUTPUTS, decide(model(images, training=False)), strict=True))

    images = tf.TensorSpec((None, image.height, image.width, 3), tf.uint8, name=INPUT)
    signatures = {SIGNATURE: tf.function(outputs).get_concrete_function(images)}
    if with_jpeg:
        decode = decoder(image)
        content = tf.TensorSpec((None,), tf.string, name=JPEG_INPUT)
        by_jpeg = tf.function(lambda jpeg: outputs(decode(jpeg)))
        signatures[JPEG_SIGNATURE] = by_jpeg.get_concrete_function(content)
    module = tf.Module()
    # The variables alone, not the layers: who loads it needs no Keras.
    module.variables_of_model = [variable.value for variable in model.variables]
    tf.saved_model.save(module, str(path), signatures=signatures)

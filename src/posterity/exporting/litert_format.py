"""A Keras model as a LiteRT file (.tflite), by the converter that comes with TensorFlow."""

import tempfile
from pathlib import Path
from typing import Any

from posterity.evaluation.decisions import Decisions
from posterity.exporting import saved_model_format
from posterity.nn.inference.export_card import ExportCard

NAME = "model.tflite"


def write(folder: Path, model: Any, decisions: Decisions, card: ExportCard) -> None:
    """Write `NAME` to ``folder``; parameters as of `posterity.exporting.onnx_format.write`.

    For int8 the weights are in 8 bits and the activations are rounded as they come ("dynamic range"): no scale is
    fixed by images.
    """
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as temporary:
        saved_model_format.save(Path(temporary) / "saved", model, decisions, card, with_jpeg=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(temporary) / "saved"))
        if card.precision == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        content = converter.convert()
    (folder / NAME).write_bytes(with_metadata(content, card.to_metadata()))


def with_metadata(content: bytes, metadata: dict[str, str]) -> bytes:
    """A file of LiteRT with further metadata: texts in buffers of their own, by name."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    model.metadata = list(model.metadata or [])
    for name in sorted(metadata):
        buffer = schema.BufferT()
        buffer.data = list(metadata[name].encode())
        model.buffers.append(buffer)
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(model.buffers) - 1
        model.metadata.append(entry)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())

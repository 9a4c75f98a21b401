"""Exported files of LiteRT, in LiteRT."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from posterity.nn.inference.export_card import PREFIX
from posterity.nn.inference.export_file import Facts, Scored, card_of, read
from posterity.nn.inference.fixed_batches import in_batches
from posterity.nn.inference.graph_names import INPUT, OUTPUTS, SIGNATURE
from posterity.pixels.decode import ImageArray


def opened(file: Path, threads: int) -> Facts:
    """What `posterity.nn.inference.runtimes.opened` needs to know of the file."""
    from ai_edge_litert import interpreter, schema_py_generated

    content = read(file)
    with _silence():
        running = interpreter.Interpreter(model_content=content, num_threads=threads)  # it verifies the content
        running.allocate_tensors()
    model = schema_py_generated.Model.GetRootAsModel(content, 0)
    metadata: dict[str, str] = {}
    for place in range(model.MetadataLength()):
        entry = model.Metadata(place)
        name = entry.Name().decode()
        if name.startswith(PREFIX):
            metadata[name] = bytes(model.Buffers(entry.Buffer()).DataAsNumpy()).decode()
    card = card_of(metadata)
    signatures = running.get_signature_list()
    inputs, outputs = (signatures[SIGNATURE][side] for side in ("inputs", "outputs"))
    runner = running.get_signature_runner(SIGNATURE)
    details = {**runner.get_input_details(), **runner.get_output_details()}
    shapes = [
        (name, np.dtype(details[name]["dtype"]).name, tuple(details[name]["shape_signature"][1:].tolist()))
        for name in (*sorted(inputs), *sorted(outputs, reverse=True))
    ]

    def run(images: ImageArray) -> Scored:
        found = runner(**{INPUT: images})
        return found[OUTPUTS[0]], found[OUTPUTS[1]]

    return card, shapes, in_batches(run)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hold back the line by which LiteRT says that it has made a delegate; its errors are exceptions."""
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)

"""Exported files of OpenVINO, in OpenVINO."""

from pathlib import Path
from typing import Any

import numpy as np

from posterity.nn.inference.export_card import PREFIX, ExportCard
from posterity.nn.inference.export_file import Facts, Run, Scored, card_of, read
from posterity.pixels.decode import ImageArray


def opened(file: Path, threads: int) -> Facts:
    """What `posterity.nn.inference.runtimes.opened` needs to know of the file; its weights lie beside it."""
    import openvino

    content = read(file)
    weights = read(file.with_suffix(".bin"))
    core = openvino.Core()
    model = core.read_model(content, weights)
    card = card_of(_rt_info(model))
    types = {"u8": "uint8", "f32": "float32", "boolean": "bool"}
    shapes = []
    for end in (*model.inputs, *model.outputs):
        name, kind = end.get_any_name(), end.get_element_type().get_type_name()
        sizes = tuple(size.get_length() if size.is_static else None for size in list(end.partial_shape)[1:])
        shapes.append((name, types.get(kind, kind), sizes))
    hint = "bf16" if isinstance(card, ExportCard) and card.precision == "bf16" else "f32"
    return card, shapes, _run(core, model, hint, threads)


def _run(core: Any, model: Any, hint: str, threads: int) -> Run:
    """One image a request, and as many requests as threads, see `posterity.nn.inference.openvino_engine`."""
    model.reshape([1, *(size.get_length() for size in list(model.input(0).partial_shape)[1:])])
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads}
    compiled = core.compile_model(model, "CPU", settings)
    requests = [compiled.create_infer_request() for _ in range(threads)]

    def run(images: ImageArray) -> Scored:
        some = np.ascontiguousarray(images) if len(images) else np.zeros((1, *images.shape[1:]), np.uint8)
        found: list[tuple[Any, Any]] = []
        for place in range(len(some) + len(requests)):
            request = requests[place % len(requests)]
            if 0 <= place - len(requests) < len(some):
                request.wait()
                found.append(tuple(request.get_output_tensor(k).data[0].copy() for k in (0, 1)))
            if place < len(some):
                request.start_async({0: some[place : place + 1]})
        probabilities, decisions = (np.stack(column)[: len(images)] for column in zip(*found, strict=True))
        return probabilities, decisions.astype(bool)

    return run


def _rt_info(model: Any) -> dict[str, str]:
    """The metadata of an OpenVINO model under ``posterity``, with the keys that `ExportCard.from_metadata` reads."""
    if not model.has_rt_info([PREFIX.rstrip(".")]):
        return {}
    found = model.get_rt_info([PREFIX.rstrip(".")]).value
    return {PREFIX + key: str(getattr(value, "value", value)) for key, value in found.items()}

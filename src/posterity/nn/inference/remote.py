"""Stage `predict` on a cluster: only the processes of the tasks import Keras, and each loads the model once."""

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from posterity.nn import device
from posterity.predictions import Prediction
from posterity.workers.threads import Mapper, chunks, threads

if TYPE_CHECKING:
    from posterity.config.schema import DeviceParams
    from posterity.nn.inference.classifier import Classifier

FILES_PER_TASK = 64  # four batches, some seconds


def predict_files(
    paths: Sequence[str], mapper: Mapper, *, model: str, settings: "DeviceParams", seed: int
) -> Iterator[Prediction]:
    """Predict image files in tasks of ``mapper``, in their order.

    The predictions are those of `posterity.nn.inference.classifier.Classifier` in one process, to the last bit on the
    same kind of CPU.

    Parameters
    ----------
    paths : sequence of str
        Image files.
    mapper : Mapper
        Runs the tasks.
    model : str
        The model file.
    settings : DeviceParams
        Section ``machine.device`` of params.yaml.
    seed : int
        For `posterity.nn.device.configure`.
    """
    work = functools.partial(_predict_some, model=model, settings=settings, seed=seed, num_images=len(paths))
    with tqdm(total=len(paths), desc="predict", unit=" images", mininterval=1, delay=2) as progress:
        for some in mapper(work, chunks(paths, FILES_PER_TASK)):
            yield from some
            progress.update(len(some))


def _predict_some(
    paths: Sequence[str], *, model: str, settings: "DeviceParams", seed: int, num_images: int
) -> list[Prediction]:
    # One thread decodes ahead while the network computes.
    return list(_classifier(model, settings, seed).predict(paths, mapper=threads(1), num_images=num_images))


@functools.cache
def _classifier(model: str, settings: "DeviceParams", seed: int) -> "Classifier":
    device.configure(device.one_core(settings), seed=seed)

    from posterity.nn.inference.classifier import Classifier

    return Classifier(model, engine=settings.inference_engine, precision=settings.inference_precision, cpu_threads=1)

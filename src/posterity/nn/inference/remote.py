"""Stage `predict` on a cluster. Keras is imported in the processes of the tasks only, and the model loaded once."""

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from posterity.nn import device
from posterity.predictions import Prediction
from posterity.workers.threads import Mapper, chunks, threads

if TYPE_CHECKING:
    from posterity.config.schema import GpuParams
    from posterity.nn.inference.classifier import Classifier

FILES_PER_TASK = 64  # four batches, some seconds


def predict(paths: Sequence[str], mapper: Mapper, *, model: str, gpu: "GpuParams", seed: int) -> Iterator[Prediction]:
    """Predict image files in tasks of ``mapper``, in their order.

    Yields what `inference.classifier.Classifier` gives in one process, to the last bit on the same kind of CPU.

    Parameters
    ----------
    paths : sequence of str
        Image files.
    mapper : Mapper
        Where the work is done.
    model : str
        Model file.
    gpu : GpuParams
        Section `gpu` of params.yaml.
    seed : int
        For `posterity.nn.device.configure`.
    """
    work = functools.partial(_predict_some, model=model, gpu=gpu, seed=seed, num_images=len(paths))
    with tqdm(total=len(paths), desc="predict", unit=" images", mininterval=1, delay=2) as progress:
        for some in mapper(work, chunks(paths, FILES_PER_TASK)):
            yield from some
            progress.update(len(some))


def _predict_some(
    paths: Sequence[str], *, model: str, gpu: "GpuParams", seed: int, num_images: int
) -> list[Prediction]:
    # One thread decodes ahead while the network computes.
    return list(_classifier(model, gpu, seed).predict(paths, mapper=threads(1), num_images=num_images))


@functools.cache
def _classifier(model: str, gpu: "GpuParams", seed: int) -> "Classifier":
    device.configure(device.one_core(gpu), seed=seed)

    from posterity.nn.inference.classifier import Classifier

    return Classifier(model, engine=gpu.inference_engine, cpu_threads=1)

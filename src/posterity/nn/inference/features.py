"""Stage `features` on a cluster: what a task does. Keras is imported in its process, and the network loaded, once."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from posterity.cache.tensors import TensorCache
from posterity.nn import device

if TYPE_CHECKING:
    from posterity.config.schema import GpuParams
    from posterity.nn.inference.engines import BatchFunction

NUM_EXAMPLES = 4  # on which the engine is compared with Keras


def compute_features(rows: Sequence[int], *, network: str, tensors: str, gpu: "GpuParams") -> npt.NDArray[np.float32]:
    """What a network sees in cached images and in their mirror images.

    Parameters
    ----------
    rows : sequence of int
        Rows of the tensor cache.
    network : str
        ``.keras`` file that `posterity.nn.keras_file.save` wrote, images to vectors.
    tensors : str
        Folder of the tensor cache.
    gpu : GpuParams
        Section `gpu` of params.yaml.

    Returns
    -------
    array of float32, shape (n, 2, length)
        The same bytes as in the process that made the network, on the same kind of CPU.
    """
    return both_views(rows, *_load(network, tensors, gpu))


def both_views(rows: Sequence[int], cache: TensorCache, compute: "BatchFunction") -> npt.NDArray[np.float32]:
    """What ``compute`` gives for cached images and for their mirror images: float32 (n, 2, length)."""
    images = cache.images(rows)
    return np.stack([compute(images), compute(images[:, :, ::-1])], axis=1)


@functools.cache
def _load(network: str, tensors: str, gpu: "GpuParams") -> tuple[TensorCache, "BatchFunction"]:
    device.configure(device.one_core(gpu), seed=0)

    from posterity.nn import keras_file
    from posterity.nn.inference import engines

    cache = TensorCache(tensors)
    examples = cache.images(range(min(NUM_EXAMPLES, len(cache))))
    model = keras_file.load(network)
    return cache, engines.batch_function(model, gpu.inference_engine, examples, cpu_threads=1)

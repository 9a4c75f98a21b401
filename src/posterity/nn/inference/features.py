"""Features of cached images and of their mirror images, here or as a task on a cluster.

The process of a task imports Keras and loads the network once, for all tasks.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from posterity.cache.kept_graphs import KeptGraphs
from posterity.cache.tensors import TensorCache
from posterity.nn import device
from posterity.pixels.decode import ImageArray
from posterity.workers.threads import ordered_map

if TYPE_CHECKING:
    from posterity.config.schema import DeviceParams
    from posterity.nn.inference.engines import BatchFunction

NUM_EXAMPLES = 16  # one batch, on which the engine is compared with Keras


def compute_features(
    rows: Sequence[int], *, network: str, tensors: str, settings: "DeviceParams", graphs: KeptGraphs
) -> npt.NDArray[np.float32]:
    """Compute the features of cached images and of their mirror images.

    Parameters
    ----------
    rows : sequence of int
        Rows of the tensor cache.
    network : str
        A ``.keras`` file that `posterity.nn.keras_file.save` wrote; the network turns images into vectors.
    tensors : str
        Folder of the tensor cache.
    settings : DeviceParams
        Section ``machine.device`` of params.yaml.
    graphs : KeptGraphs
        Where the exported network is, if this machine sees that folder.

    Returns
    -------
    array of float32, shape (n, 2, length)
        The same bytes as in the process that wrote the network, on the same kind of CPU.
    """
    cache, compute = _load(network, tensors, settings, graphs)
    (vectors,) = in_both_views([rows], cache, compute)
    return vectors


def in_both_views(
    batches: Iterable[Sequence[int]], cache: TensorCache, compute: "BatchFunction"
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield what ``compute`` gives for the images of every batch of rows and for their mirror images, in order.

    The next images are read while these are computed.

    Yields
    ------
    ndarray of float32, shape (n, 2, length)
    """
    for views in ordered_map(lambda rows: _views(cache.images(rows)), batches, workers=1):
        vectors = compute(views)
        yield np.stack(np.split(vectors, 2), axis=1)


def _views(images: ImageArray) -> ImageArray:
    """The images and behind them their mirror images: uint8 (2 n, height, width, 3)."""
    views = np.empty((2 * len(images), *images.shape[1:]), np.uint8)
    views[: len(images)] = images
    for place, image in enumerate(images, start=len(images)):
        # NumPy takes three times as long to mirror.
        views[place] = Image.fromarray(image).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return views


@functools.cache
def _load(
    network: str, tensors: str, settings: "DeviceParams", graphs: KeptGraphs
) -> tuple[TensorCache, "BatchFunction"]:
    device.configure(device.one_core(settings), seed=0)

    from posterity.nn import keras_file
    from posterity.nn.inference import engines

    cache = TensorCache(tensors)
    examples = cache.images(range(min(NUM_EXAMPLES, len(cache))))
    model = keras_file.load(network)
    return cache, engines.batch_function(
        model, settings.inference_engine, examples, at=settings.inference_precision, cpu_threads=1, graphs=graphs
    )

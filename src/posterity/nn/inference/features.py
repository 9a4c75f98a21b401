"""One task of stage `features` on a cluster: its process imports Keras and loads the network once, for all tasks."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from posterity.cache.kept_graphs import KeptGraphs
from posterity.cache.tensors import TensorCache
from posterity.nn import device

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
    return both_views(rows, *_load(network, tensors, settings, graphs))


def both_views(rows: Sequence[int], cache: TensorCache, compute: "BatchFunction") -> npt.NDArray[np.float32]:
    """Call ``compute`` on cached images and on their mirror images; returns float32 (n, 2, length)."""
    images = cache.images(rows)
    return np.stack([compute(images), compute(images[:, :, ::-1])], axis=1)


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

"""Batches for Keras, read from the memory-mapped cache as they are needed."""

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from posterity.tensors import TensorCache, UInt8Array


class Batches(keras.utils.PyDataset):
    """Batches (images uint8 (n, height, width, 3), targets float32 (n, num_labels)) of some rows of a cache.

    Parameters
    ----------
    cache : TensorCache
        Where the rows lie.
    rows : array of int, shape (n,)
        Rows to serve, in cache numbering.
    batch_size : int
        Rows a batch; the last batch of an epoch may be smaller.
    shuffle_seed : int, optional
        Serve the rows in a new order each epoch, drawn from this seed and the epoch's number. Without it, the order
        is that of ``rows``.
    """

    def __init__(
        self,
        cache: TensorCache,
        rows: npt.NDArray[np.int64],
        batch_size: int,
        shuffle_seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**{"workers": 2, "max_queue_size": 4, **options})
        self.cache = cache
        self.rows = rows
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.epoch = 0
        self._order = self._draw_order()

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[UInt8Array, npt.NDArray[np.float32]]:
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.cache.images(rows), self.cache.targets[rows].astype(np.float32)

    def on_epoch_end(self) -> None:
        # Keras prefetches: the next epoch's first batches are asked for before `on_epoch_begin`.
        self.epoch += 1
        self._order = self._draw_order()

    def _draw_order(self) -> npt.NDArray[np.int64]:
        if self.shuffle_seed is None:
            return self.rows
        return np.random.default_rng([self.shuffle_seed, self.epoch]).permutation(self.rows)

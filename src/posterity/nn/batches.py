"""Batches for Keras, read from a memory-mapped cache as they are needed."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from posterity.features import FeatureCache
from posterity.nn import augment

IntArray = npt.NDArray[np.int64]
Inputs = npt.NDArray[Any] | dict[str, npt.NDArray[Any]]
# Rows and a generator for what chance decides -> the network's inputs for these rows, first axis as long as rows.
Source = Callable[[IntArray, np.random.Generator], npt.NDArray[Any]]


class Batches(keras.utils.PyDataset):
    """Batches (inputs, targets float32 (n, num_labels)) of some rows of a cache.

    Parameters
    ----------
    source : callable
        Gives the inputs of rows: `images_of` or `vectors_of`.
    targets : array of uint8, shape (num_rows, num_labels)
        Multi-hot labels of the whole cache.
    rows : array of int, shape (n,)
        Rows to serve, in cache numbering.
    batch_size : int
        Rows a batch; the last batch of an epoch may be smaller.
    shuffle_seed : int, optional
        Serve the rows in a new order each epoch, drawn from this seed and the epoch's number. Without it, the order
        is that of ``rows``.
    mixup : float, optional
        Serve ``{"input", "partner", "share"}`` as inputs, for `posterity.nn.augment.Mix`, and mixed targets; 0 mixes
        nothing and serves the same form.
    first_epoch : int
        Number of the epoch that is served first: a training that goes on in another call of `keras.Model.fit` says
        where (Keras draws a whole epoch ahead, so that the count itself is wrong by then).
    """

    def __init__(
        self,
        source: Source,
        targets: npt.NDArray[np.uint8],
        rows: IntArray,
        batch_size: int,
        *,
        shuffle_seed: int | None = None,
        mixup: float | None = None,
        first_epoch: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**{"workers": 2, "max_queue_size": 4, **options})
        self.source = source
        self.targets = targets
        self.rows = rows
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.mixup = mixup
        self.epoch = first_epoch
        self._order = self._draw_order()

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[Inputs, npt.NDArray[np.float32]]:
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        # A generator of its own for each batch: batches are made in threads, in any order.
        generator = np.random.default_rng([self.shuffle_seed or 0, self.epoch, index])
        inputs, targets = self.source(rows, generator), self.targets[rows].astype(np.float32)
        if self.mixup is None:
            return inputs, targets
        if self.mixup == 0:
            partner, share = np.arange(len(rows), dtype=np.int32), np.ones(len(rows), np.float32)
        else:
            partner, share = augment.draw_mixup(generator, len(rows), self.mixup)
        return {"input": inputs, "partner": partner, "share": share}, augment.mix_targets(targets, partner, share)

    def on_epoch_end(self) -> None:
        # Keras prefetches: the next epoch's first batches are asked for before `on_epoch_begin`.
        self.epoch += 1
        self._order = self._draw_order()

    def _draw_order(self) -> IntArray:
        if self.shuffle_seed is None:
            return self.rows
        return np.random.default_rng([self.shuffle_seed, self.epoch]).permutation(self.rows)


def images_of(cache: Any) -> Source:
    """The images of a `posterity.tensors.TensorCache`, uint8 (n, height, width, 3); nothing is left to chance."""
    return lambda rows, generator: cache.images(rows)


def vectors_of(cache: FeatureCache, *, flip: bool = False) -> Source:
    """The feature vectors float32 (n, length) of images, or with ``flip`` of half of them mirrored at random."""
    return lambda rows, generator: cache.vectors(rows, generator.random(len(rows)) < 0.5 if flip else False)

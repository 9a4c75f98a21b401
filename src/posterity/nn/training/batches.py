"""Batches for Keras, which are read from a cache when they are needed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from posterity.cache.features import FeatureCache
from posterity.nn.networks import augment
from posterity.nn.processes import SINGLE_PROCESS, Part
from posterity.nn.training.shuffling import epoch_order
from posterity.targets import UNKNOWN, is_known

IntArray = npt.NDArray[np.int64]
Inputs = npt.NDArray[Any] | dict[str, npt.NDArray[Any]]
Served = tuple[Inputs, npt.NDArray[np.float32]] | tuple[Inputs, npt.NDArray[np.float32], npt.NDArray[np.float32]]
# Draws a random number in [0, 1) for each row.
Chance = Callable[[], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Source:
    """Where the inputs of a network come from.

    Attributes
    ----------
    read : callable
        Takes rows, and a function for random numbers; returns inputs, one item of the first axis for each row.
    small : bool
        Whether a batch takes about a millisecond, so that it does not pay to make several at a time, and what Keras
        does around a step counts, see `posterity.nn.training.streams`.
    mixes : bool
        Whether inputs, float (n, ...), are mixed here, and not by `networks.augment.Mix` in the network.
    dropout : float
        With ``mixes``: the share of the values that are dropped here, see `networks.augment.drop`, and not by a layer.
    """

    read: Callable[[IntArray, Chance], npt.NDArray[Any]]
    small: bool = False
    mixes: bool = False
    dropout: float = 0.0


class Batches(keras.utils.PyDataset):
    """Batches (inputs, targets float32 (n, num_labels)) of some rows of a cache.

    An unknown target is NaN: what forgets to mask it cannot pass for a result. A mixed target is NaN if the row's own
    or the partner's is, whatever their shares. If a target of ``rows`` is unknown, the third item of a batch is the
    weights float32 (n,) of its rows, which are all the same: 1 / `share_of_known`, a constant by which a masked loss is
    on the scale of fully known targets.

    Parameters
    ----------
    source : Source
        Of the inputs of rows: `images_of` or `vectors_of`.
    targets : array of uint8, shape (num_rows, num_labels)
        Multi-hot labels of all rows of the cache, see `posterity.targets`.
    rows : array of int, shape (n,)
        Rows to serve, in the numbering of the cache.
    batch_size : int
        Number of rows per batch; the last batch of an epoch may be smaller.
    shuffle_seed : int, optional
        Serve the rows in a new order in each epoch, drawn from this seed and the number of the epoch. Without it, the
        order is that of ``rows``.
    mixup : float, optional
        Serve ``{"input", "partner", "share"}`` as inputs, for `networks.augment.Mix`, and mixed targets. With 0, the
        inputs have the same form and nothing is mixed. A source that ``mixes`` has plain inputs in any case.
    first_epoch : int
        Number of the epoch that is served first, for a training that continues in another call of `keras.Model.fit`.
        (Keras draws a whole epoch ahead, so that counting on would give a wrong number.)
    rows_per_shard, shuffle_shards
        See `posterity.nn.training.shuffling.epoch_order`.
    part : Part
        Serve this part of every batch; ``batch_size``, ``partner`` and the random numbers are those of the whole batch.
        A batch has to divide evenly among the devices. With ``shuffle_seed``, for training, an epoch leaves out the
        few rows that remain, other ones each time. Without it, the last batch is filled up with copies of a row, and
        the weights are the third item in any case: 0 for the copies, and 1 for all others if no target is unknown.

    Attributes
    ----------
    failure : Exception or None
        What stopped a batch from being made, see `posterity.nn.training.streams.own_errors`.
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
        rows_per_shard: int = 1,
        shuffle_shards: int | None = None,
        part: Part = SINGLE_PROCESS,
        **options: Any,
    ) -> None:
        super().__init__(**{"workers": 1 if source.small else 2, "max_queue_size": 4, **options})
        self.source = source
        self.targets = targets
        self.rows = rows
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.mixup = mixup
        self.epoch = first_epoch
        self.rows_per_shard = rows_per_shard
        self.shuffle_shards = shuffle_shards
        self.part = part
        self.has_unknown = bool((targets[rows] == UNKNOWN).any())
        share = share_of_known(targets[rows], mixed=bool(mixup)) if self.has_unknown else 1.0
        self._row_weight = 1 / share if share else 0.0
        self.failure: Exception | None = None
        self._order = self._draw_order()

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self.batch_size)

    def __getitem__(self, index: int) -> Served:
        start = index * self.batch_size
        rows = self._order[start : start + self.batch_size]
        mine = self.part.of(len(rows))
        # Each batch has its own generator: batches are made in threads, in any order.
        generator = np.random.default_rng([self.shuffle_seed or 0, self.epoch, index])
        # What is mixed here has partners in other parts of the batch.
        read = slice(None) if self.source.mixes else mine
        own = self.source.read(rows[read], lambda: generator.random(len(rows))[read])
        inputs: Inputs = own
        targets = self.targets[rows].astype(np.float32)
        if self.has_unknown:
            targets[targets == UNKNOWN] = np.nan
        if self.mixup is not None:
            if self.mixup == 0:
                partner, share = np.arange(len(rows), dtype=np.int32), np.ones(len(rows), np.float32)
            else:
                partner, share = augment.draw_mixup(generator, len(rows), self.mixup)
            if not self.source.mixes:
                inputs = {"input": own, "partner": partner[mine], "share": share[mine]}
            elif self.mixup:
                own = augment.mix_rows(own, partner, share)
            targets = augment.mix_rows(targets, partner, share)
        if self.source.mixes:
            inputs = augment.drop(generator, own, self.source.dropout)[mine]
        may_have_copies = self.shuffle_seed is None and self.part.devices > 1
        if not may_have_copies and not self.has_unknown:
            return inputs, targets[mine]
        weights = np.full(len(rows), self._row_weight, np.float32)
        if may_have_copies:
            weights[np.arange(start, start + len(rows)) >= len(self.rows)] = 0
        return inputs, targets[mine], weights[mine]

    def on_epoch_end(self) -> None:
        # Keras prefetches: the next epoch's first batches are asked for before `on_epoch_begin`.
        self.epoch += 1
        self._order = self._draw_order()

    def _draw_order(self) -> IntArray:
        over = len(self.rows) % self.part.devices
        if self.shuffle_seed is None:
            missing = self.part.devices - over if over else 0
            return np.concatenate([self.rows, np.repeat(self.rows[:1], missing)])
        order = epoch_order(
            self.rows,
            seed=self.shuffle_seed,
            epoch=self.epoch,
            rows_per_shard=self.rows_per_shard,
            shuffle_shards=self.shuffle_shards,
        )
        return order[: len(order) - over]


def share_of_known(targets: npt.NDArray[np.uint8], *, mixed: bool) -> float:
    """Share of the targets that are known, in [0, 1].

    Parameters
    ----------
    targets : array of uint8, shape (num_rows, num_labels)
        Labels of some rows, see `posterity.targets`.
    mixed : bool
        Whether rows are mixed in pairs: a mixed target is known if both are, which is the case for the square of a
        label's share, since partners are drawn at random.

    Examples
    --------
    All rows know the first label and half of them the second: (1 + 1/2) / 2, and in pairs (1 + 1/4) / 2.

    >>> targets = np.array([[0, 1], [1, 2]], np.uint8)
    >>> share_of_known(targets, mixed=False), share_of_known(targets, mixed=True)
    (0.75, 0.625)
    """
    of_label = is_known(targets).mean(axis=0)
    return float(np.mean(of_label**2 if mixed else of_label))


def images_of(cache: Any) -> Source:
    """Read images uint8 (n, height, width, 3) of a `posterity.cache.tensors.TensorCache`, without random numbers."""
    return Source(lambda rows, chance: cache.images(rows))


def vectors_of(cache: FeatureCache, *, flip: bool = False, mirrored: bool = False) -> Source:
    """Read feature vectors float32 (n, length) of images, or of their mirror images; with ``flip``, of half of them."""
    return Source(lambda rows, chance: cache.vectors(rows, chance() < 0.5 if flip else mirrored), small=True)


def standardised_vectors_of(
    cache: FeatureCache,
    mean: npt.NDArray[np.float32],
    deviation: npt.NDArray[np.float32],
    *,
    flip: bool = False,
    dropout: float = 0.0,
) -> Source:
    """Read ``(vector - mean) / deviation``, float32 (n, length), to be mixed and dropped by `Batches`.

    Layers would do the same with the same numbers on each vector, and take three times as long as these few passes over
    a batch. The parameters other than ``mean`` and ``deviation``, both (length,), are those of `vectors_of` and
    `Source`.
    """

    def read(rows: IntArray, chance: Chance) -> npt.NDArray[np.float32]:
        vectors = cache.vectors(rows, chance() < 0.5 if flip else False)
        vectors -= mean
        vectors /= deviation
        return vectors

    return Source(read, small=True, mixes=True, dropout=dropout)

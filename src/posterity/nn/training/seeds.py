"""The seeds of what Keras draws while a network is made and trained: first weights, dropout."""

import contextlib
import random
from collections.abc import Iterator

import keras
from keras.src.random import seed_generator


@contextlib.contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Let all that Keras draws in the block depend on ``seed`` alone: the numbers of `keras.utils.set_random_seed`.

    Keras takes its seeds from Python's own generator, from which threads of other packages draw as well, at any time:
    MLflow's telemetry, for example. A training that is logged would begin from other weights now and then. In the
    block it takes them from a generator that nobody else has. Keras has no public way to say so.

    Examples
    --------
    >>> def first_weight():
    ...     random.random()  # somebody else
    ...     return float(keras.initializers.RandomUniform()((1,))[0])
    >>> with drawn_from(3):
    ...     weight = first_weight()
    >>> keras.utils.set_random_seed(3)
    >>> weight == float(keras.initializers.RandomUniform()((1,))[0])
    True
    """
    keras.utils.set_random_seed(seed)
    shared = seed_generator.python_random
    seed_generator.python_random = random.Random(seed)
    try:
        yield
    finally:
        seed_generator.python_random = shared

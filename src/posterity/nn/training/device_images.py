"""Images that stay in the memory of the device: a training step is given row numbers instead of pixels."""

import keras
import numpy as np
from keras import ops

from posterity.cache.tensors import TensorCache
from posterity.errors import UserError
from posterity.nn.training.batches import Source

# "Dst tensor is not initialized" is how TensorFlow says that an array does not fit on a GPU; MemoryError is NumPy's.
OUT_OF_MEMORY = (
    "RESOURCE_EXHAUSTED",
    "ResourceExhausted",
    "out of memory",
    "OOM",
    "Dst tensor is not initialized",
    "MemoryError",
)


class Images(keras.layers.Layer):
    """All images of a tensor cache: takes row numbers int32 (batch,), returns uint8 (batch, height, width, 3).

    Raises
    ------
    UserError
        If the device has not enough memory for them.
    """

    def __init__(self, cache: TensorCache, **options: str) -> None:
        super().__init__(**{"name": "images", "dtype": "uint8", **options})
        try:
            pixels = cache.images(np.arange(len(cache)))
            self.images = self.add_weight(
                shape=pixels.shape,
                dtype="uint8",
                trainable=False,
                initializer=lambda shape, dtype: ops.convert_to_tensor(pixels),
                name="images",
            )
        except Exception as error:
            # Each backend has its own class for this, and some raise a bare RuntimeError.
            if not any(sign in f"{type(error).__name__} {error}" for sign in OUT_OF_MEMORY):
                raise
            size = len(cache) * cache.spec.height * cache.spec.width * 3
            raise UserError(
                f"params.yaml: machine.device.cache_images: true needs {size / 1e9:.1f} GB for {len(cache):,} images. "
                "The device has less memory left. Set it to false."
            ) from None

    def call(self, rows: keras.KerasTensor) -> keras.KerasTensor:
        stored = self.images.value
        if hasattr(stored, "sparse_read"):
            # A variable of TensorFlow. `ops.take` would gather out of a tensor, for which TensorFlow 2.21 has no uint8
            # kernel on GPUs: it would fetch all images to the CPU in every step. Out of a variable it has one.
            return stored.sparse_read(rows)
        return ops.take(stored, rows, axis=0)

    @property
    def weights(self) -> list[keras.Variable]:
        """No weights: the images are not learned, and must not be counted, copied or saved with a model."""
        return []


def by_rows(model: keras.Model, images: Images) -> keras.Model:
    """Make ``model``, the form ``training`` of an `assemble.Network`, take row numbers in the place of images."""
    rows = keras.Input((), dtype="int32", name="input")
    if not isinstance(model.input, dict):
        return keras.Model(rows, model(images(rows)), name=model.name)
    others = {name: keras.Input((), dtype=given.dtype, name=name) for name, given in model.input.items()}
    others["input"] = rows
    return keras.Model(others, model(others | {"input": images(rows)}), name=model.name)


def rows_only() -> Source:
    """Serve the row numbers themselves, int32 (n,), which a model of `by_rows` takes."""
    return Source(lambda rows, chance: rows.astype(np.int32))

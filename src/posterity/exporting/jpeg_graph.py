"""The content of JPEG files to pixels as TensorFlow operations, as near to `posterity.pixels` as they come.

What differs: a large file is not scaled down by its decoder, EXIF rotation is not applied, and no limit of the image
spec is checked. Sums are rounded in another order: now and then a channel of a pixel differs by 1 of 255.
"""

import math
from collections.abc import Callable
from typing import Any

from posterity.pixels.spec import ImageSpec

# Radius of Pillow's filters, in pixels of the smaller picture (https://pillow.readthedocs.io, Concepts: Filters).
_RADIUS = {"box": 0.5, "bilinear": 1.0, "hamming": 1.0, "bicubic": 2.0, "lanczos": 3.0}


def decoder(spec: ImageSpec) -> Callable[[Any], Any]:
    """Make the function from the content of JPEG files, strings (n,), to images, uint8 (n, height, width, 3)."""
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def decode(content: Any) -> Any:  # traced as it is: there is no Python in it that hangs on a tensor
        pixels = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
        return resized(pixels, spec)

    shape = tf.TensorSpec((spec.height, spec.width, 3), tf.uint8)
    return lambda contents: tf.map_fn(decode, contents, fn_output_signature=shape)


def resized(pixels: Any, spec: ImageSpec) -> Any:
    """Fit a tensor uint8 (any height, any width, 3) to ``spec`` as `posterity.pixels.resize` does."""
    import tensorflow as tf

    size, target = tf.shape(pixels)[:2], tf.constant([spec.height, spec.width])
    inner = _inside(size, target) if spec.fit == "pad" else target
    values = tf.cast(pixels, tf.float32)
    if spec.resampling == "area":
        if spec.fit == "crop":
            cut = _inside(target, size)
            first = (size - cut) // 2
            values = values[first[0] : first[0] + cut[0], first[1] : first[1] + cut[1]]
        values = _by_area(values, inner)
    else:
        values = _by_filter(values, inner, spec)
    fitted = tf.cast(values, tf.uint8)
    if spec.fit == "pad":
        rest = target - inner
        before = tf.cast(tf.round(tf.cast(rest, tf.float32) / 2), tf.int32)
        sides = tf.stack([before, rest - before], axis=1)
        fitted = tf.pad(fitted, tf.concat([sides, tf.zeros((1, 2), tf.int32)], axis=0))
    return tf.ensure_shape(fitted, (spec.height, spec.width, 3))


def _inside(size: Any, limit: Any) -> Any:
    """The largest height and width of the shape of ``size`` within ``limit``; both int32 (2,)."""
    import tensorflow as tf

    size, most = tf.cast(size, tf.float64), tf.cast(limit, tf.float64)
    return tf.maximum(tf.cast(tf.round(size * tf.reduce_min(most / size)), tf.int32), 1)


def _multiplied(rows: Any, pixels: Any, columns: Any) -> Any:
    import tensorflow as tf

    return tf.einsum("jw,iwc->ijc", columns, tf.einsum("ih,hwc->iwc", rows, pixels))


def _by_area(pixels: Any, target: Any) -> Any:
    """Means over areas where a side shrinks, then straight lines where one grows, each rounded as OpenCV does."""
    import tensorflow as tf

    smaller = tf.minimum(tf.shape(pixels)[:2], target)
    rows, columns = (_means(tf.shape(pixels)[axis], smaller[axis]) for axis in (0, 1))
    pixels = tf.round(_multiplied(rows, pixels, columns))
    rows, columns = (_lines(smaller[axis], target[axis]) for axis in (0, 1))
    return tf.floor(_multiplied(rows, pixels, columns) + 0.5)


def _means(old: Any, new: Any) -> Any:
    """Weights, float32 (new, old): the share of each old pixel in the area of each new one."""
    import tensorflow as tf

    scale = tf.cast(old, tf.float32) / tf.cast(new, tf.float32)
    place, pixel = tf.cast(tf.range(new)[:, None], tf.float32), tf.cast(tf.range(old)[None], tf.float32)
    shared = tf.minimum((place + 1.0) * scale, pixel + 1.0) - tf.maximum(place * scale, pixel)
    shared = tf.maximum(shared, 0.0)
    return shared / tf.reduce_sum(shared, axis=1, keepdims=True)


def _lines(old: Any, new: Any) -> Any:
    """Weights, float32 (new, old), of straight lines between pixels, in steps of 1/256 as OpenCV's exact kernel."""
    import tensorflow as tf

    scale = tf.cast(old, tf.float32) / tf.cast(new, tf.float32)
    place, pixel = tf.cast(tf.range(new)[:, None], tf.float32), tf.cast(tf.range(old)[None], tf.float32)
    middle = tf.clip_by_value((place + 0.5) * scale - 0.5, 0.0, tf.cast(old, tf.float32) - 1.0)
    return tf.round(tf.maximum(1.0 - tf.abs(middle - pixel), 0.0) * 256.0) / 256.0


def _by_filter(pixels: Any, target: Any, spec: ImageSpec) -> Any:
    """One of Pillow's filters over all of the picture or, for ``crop``, over the part of the target's shape."""
    import tensorflow as tf

    size, wanted = tf.cast(tf.shape(pixels)[:2], tf.float64), tf.cast(target, tf.float64)
    extent = wanted * tf.reduce_min(size / wanted) if spec.fit == "crop" else size
    start = (size - extent) / 2
    for axis, equation in ((1, "jw,iwc->ijc"), (0, "ih,hwc->iwc")):  # Pillow rounds after each
        weights = _weights(spec.resampling, start[axis], extent[axis], size[axis], wanted[axis])
        pixels = tf.clip_by_value(tf.floor(tf.einsum(equation, weights, pixels) + 0.5), 0.0, 255.0)
    return pixels


def _weights(resampling: str, start: Any, extent: Any, old: Any, new: Any) -> Any:
    """Weights, float32 (new, old), of each old pixel in each new one, for the part of ``extent`` from ``start`` on."""
    import tensorflow as tf

    scale = extent / new
    centre, pixel = start + (tf.range(new)[:, None] + 0.5) * scale, tf.range(old)[None]
    if resampling == "nearest":
        return tf.cast(tf.equal(tf.floor(centre), pixel), tf.float32)
    weights = _kernel(resampling, (pixel + 0.5 - centre) / tf.maximum(scale, 1.0))
    return tf.cast(weights / tf.reduce_sum(weights, axis=1, keepdims=True), tf.float32)


def _kernel(resampling: str, x: Any) -> Any:
    """Pillow's filter at the distance ``x``; 0 outside its radius."""
    import tensorflow as tf

    def sinc(x: Any) -> Any:
        one = tf.ones_like(x)
        safe = tf.where(tf.equal(x, 0.0), one, x * math.pi)
        return tf.where(tf.equal(x, 0.0), one, tf.sin(safe) / safe)

    distance = tf.abs(x)
    if resampling == "box":
        return tf.cast(tf.logical_and(x > -0.5, x <= 0.5), x.dtype)
    if resampling == "bilinear":
        value = 1.0 - distance
    elif resampling == "hamming":
        value = sinc(x) * (0.54 + 0.46 * tf.cos(math.pi * x))
    elif resampling == "bicubic":  # Keys (1981) with a = -1/2
        near = (1.5 * distance - 2.5) * distance * distance + 1.0
        far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
        value = tf.where(distance < 1.0, near, far)
    else:
        value = sinc(x) * sinc(x / 3.0)
    return tf.where(distance < _RADIUS[resampling], value, tf.zeros_like(x))

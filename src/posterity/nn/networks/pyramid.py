"""Feature maps of several resolutions of a network, pooled to one vector.

What a network pretrained on photographs says at its end is about the things in them. The maps before, of finer
resolution, say more about style, colour and texture. Object detectors use the same maps (Lin et al. 2017, "Feature
Pyramid Networks for Object Detection"); on cached features they are free, since they are computed in any case.
"""

import math

import keras
from keras import layers

from posterity.errors import UserError

NO_MAPS = (layers.InputLayer, layers.ZeroPadding2D, layers.Cropping2D)


def pooled(network: keras.Model, levels: int, *, entry: str) -> keras.Model:
    """Pool the output of a network and the maps of its ``levels`` - 1 next finer resolutions; see `find_levels`.

    Parameters
    ----------
    network : keras.Model
        One image input of fixed size, one feature map (batch, rows, columns, channels) as output.
    levels : int, at least 2
        Number of resolutions, the one of the output included.
    entry : str
        Name of the network, for messages.

    Returns
    -------
    keras.Model
        The same input; float32 (batch, length), the mean of every channel of every map, those of the output first.

    Raises
    ------
    UserError
        If the network has fewer levels.
    """
    maps = find_levels(network)
    if len(maps) < levels:
        raise UserError(
            f"params.yaml: model.pyramid_levels must be at most {max(1, len(maps))} for {entry}, the number of "
            f"resolutions of its feature maps. Got {levels}. Lower it."
        )
    names = ["pooled", *(f"pooled_level{number}" for number in range(2, levels + 1))]
    vectors = [
        layers.GlobalAveragePooling2D(dtype="float32", name=name)(found)
        for name, found in zip(names, maps, strict=False)
    ]
    joined = layers.Concatenate(dtype="float32", name="pooled_levels")(vectors)
    return keras.Model(network.input, joined, name=network.name)


def find_levels(network: keras.Model) -> list[keras.KerasTensor]:
    """The feature maps of a network, one for each resolution, from its output to the finest one.

    Resolutions differ by a factor of 2: a map belongs to the level log2(height of the image / height of the map),
    rounded. Of each finer level than that of the output it is the widest map, the one with most channels, and the last
    of them: in networks of inverted bottlenecks the expansion before the next reduction. Images themselves and maps
    that are only padded or cut are left out.

    Returns
    -------
    list of KerasTensor
        Each (batch, rows, columns, channels); empty if the output is no map.

    Examples
    --------
    >>> image = keras.Input((32, 32, 3))
    >>> fine = layers.Conv2D(8, 3, strides=2, padding="same")(image)
    >>> coarse = layers.Conv2D(16, 3, strides=2, padding="same")(layers.Conv2D(4, 1)(fine))
    >>> [tuple(found.shape) for found in find_levels(keras.Model(image, coarse))]
    [(None, 8, 8, 16), (None, 16, 16, 8)]
    """
    output = network.output
    if len(output.shape) != 4:
        return []
    height = network.input_shape[1]
    widest: dict[int, keras.KerasTensor] = {}
    for layer in network.layers:
        found = getattr(layer, "output", None)
        if found is None or isinstance(layer, NO_MAPS) or isinstance(found, list) or len(found.shape) != 4:
            continue
        level = _level(height, found)
        if level >= 1 and (level not in widest or found.shape[-1] >= widest[level].shape[-1]):
            widest[level] = found
    last = _level(height, output)
    return [output, *(widest[level] for level in sorted(widest, reverse=True) if level < last)]


def _level(height: int, found: keras.KerasTensor) -> int:
    return round(math.log2(height / found.shape[1]))

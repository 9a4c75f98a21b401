"""Presets of KerasHub: a folder that holds a pretrained network and says how its images are prepared.

Two forms are read: that of Keras (``config.json``, ``model.weights.h5`` and ``image_converter.json``) and that of the
library transformers (``config.json``, ``model.safetensors`` and ``preprocessor_config.json``) for DINOv2, DINOv3 and
ViT. Nothing here looks outside of the folder, nor uses a network connection.
"""

import inspect
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from posterity.errors import UserError
from posterity.nn import keras_file
from posterity.nn.keras_file import reason

CONFIG = "config.json"
CONVERTER = "image_converter.json"
PREPROCESSOR = "preprocessor_config.json"
Size = tuple[int, int]


@dataclass(frozen=True)
class Scaling:
    """What a network does to the channels of its images first: value · scale + offset.

    Attributes
    ----------
    scale, offset : tuple of float, of length 3
        One for red, green and blue each.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]


@dataclass(frozen=True)
class Family:
    """Networks that take and give the same kind of thing.

    Attributes
    ----------
    takes : function
        Given the network and the size (height, width) of the images, returns the nearest size that it can take.
    sizes : str
        What ``takes`` lets pass, in words, with the fields ``{height}``, ``{width}`` and ``{patch}``.
    class_token : function
        Given the network, whether its first token stands for the whole image.
    others : function
        Given the network, the number of tokens between that one and those of the patches: they are left out.
    """

    takes: Callable[[Any, Size], Size]
    sizes: str
    class_token: Callable[[Any], bool] = lambda network: False
    others: Callable[[Any], int] = lambda network: 0


def _own_size(network: Any, size: Size) -> Size:
    return (network.image_shape[0], network.image_shape[1])


def _square_of_patches(network: Any, size: Size) -> Size:
    side = max(1, round(math.sqrt(size[0] * size[1]) / network.patch_size)) * network.patch_size
    return size if size[0] == size[1] and size[0] % network.patch_size == 0 else (side, side)


def _whole_patches(network: Any, size: Size) -> Size:
    height, width = (max(1, round(side / network.patch_size)) * network.patch_size for side in size)
    return (height, width)


FIXED = "images of {height} x {width} only"
# By class of the network. DINOv2, DINOv3 and the first token of the others: see the docstring of `see`.
TOKENS = {
    "DINOV2Backbone": Family(
        _square_of_patches,
        "square images whose side is a multiple of {patch}",
        class_token=lambda network: True,
        others=lambda network: network.num_register_tokens,
    ),
    "DINOV3Backbone": Family(
        _whole_patches,
        "images whose height and width are multiples of {patch}",
        class_token=lambda network: True,
        others=lambda network: network.num_register_tokens,
    ),
    "ViTBackbone": Family(_own_size, FIXED, class_token=lambda network: network.use_class_token),
    # Its second token learns from a teacher (Touvron et al. 2021) and sees what the first one sees.
    "DeiTBackbone": Family(_own_size, FIXED, class_token=lambda network: True, others=lambda network: 1),
    "CLIPVisionEncoder": Family(_own_size, FIXED, class_token=lambda network: True),
    "SwinTransformerBackbone": Family(_own_size, FIXED),
    "SigLIPVisionEncoder": Family(_own_size, FIXED),  # a vector, by attention over its tokens
}


def is_preset(path: Path) -> bool:
    """Whether ``path`` is a folder with a preset."""
    return (path / CONFIG).is_file()


def known_presets() -> dict[str, str] | None:
    """Names of the presets for images that KerasHub can download, and where each is; None without KerasHub."""
    try:
        from keras_hub.src.utils import preset_utils
    except ImportError:
        return None
    known: dict[str, str] = {}
    for backbone, presets in preset_utils.BUILTIN_PRESETS_FOR_BACKBONE.items():
        options = inspect.signature(backbone.__init__).parameters
        if "image_shape" in options or "vision_encoder" in options:
            known |= {name: facts["kaggle_handle"] for name, facts in presets.items()}
    return dict(sorted(known.items()))


def see(path: Path, pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Put the network of a preset on top of ``pixels``, with its preprocessing in between.

    Of a network that gives tokens, the result has the class token and, beside it, the mean of the tokens of the
    patches, as in the linear evaluation of DINOv2 (Oquab et al. 2023). Register tokens are left out (Darcet et al.
    2023: they hold no part of the image), as is the distillation token of DeiT. A network without a class token gives
    the mean alone. The vision encoder of SigLIP gives the vector that its own attention has pooled (Zhai et al. 2023),
    and of CLIP and SigLIP the text encoder is not used.

    Parameters
    ----------
    path : Path
        Folder of the preset.
    pixels : KerasTensor
        float32 (batch, height, width, 3), RGB, 0 to 255.

    Returns
    -------
    KerasTensor
        A map (batch, rows, columns, channels), or a vector (batch, channels) that is float32.

    Raises
    ------
    UserError
        If KerasHub is not installed; if the folder is no preset that it can read, or of no network for images; if it
        does not say how images are prepared; or if the network cannot take images of this size. They are never resized
        here: that would be a second time.
    """
    scaling = read_scaling(path)
    network = _load(path, (pixels.shape[1], pixels.shape[2]))
    scaled = layers.Rescaling(list(scaling.scale), list(scaling.offset), dtype="float32", name="scaled")(pixels)
    try:
        seen = network(keras.tree.map_structure(lambda _: scaled, network.input))
    except Exception as error:  # a network that wants something else than images says so in its own way
        raise _no_backbone(path, f"Got another network: {reason(error)}") from None
    rank = len(seen.shape) if isinstance(seen, keras.KerasTensor) else 0
    family = TOKENS.get(type(network).__name__)
    if rank == 3 and family is not None:
        return _pooled(keras.ops.cast(seen, "float32"), family.class_token(network), family.others(network))
    if rank not in (2, 4):
        got = tuple(seen.shape) if rank else "several outputs"
        known = ", ".join(name.removesuffix("Backbone") for name in TOKENS)
        raise _no_backbone(path, f"Got a {type(network).__name__} with the output {got}. Networks of tokens: {known}.")
    return seen


def _pooled(tokens: keras.KerasTensor, class_token: bool, others: int) -> keras.KerasTensor:
    skipped = class_token + others
    patches = layers.Cropping1D((skipped, 0), dtype="float32", name="patches")(tokens) if skipped else tokens
    mean = layers.GlobalAveragePooling1D(dtype="float32", name="mean_of_patches")(patches)
    if not class_token:
        return mean
    return layers.Concatenate(dtype="float32", name="tokens")([tokens[:, 0], mean])


def _load(path: Path, size: Size) -> keras.Model:
    hub = keras_file.import_hub(f"params.yaml: model.backbone: {path}")
    # The whole path: KerasHub takes a name such as dinov2_small for that of a preset to download.
    folder = str(path.resolve())
    options: dict[str, Any] = {"dtype": keras.config.dtype_policy().name, "name": "network"}
    try:
        keras_file.check_hub(json.loads((path / CONFIG).read_bytes()), f"params.yaml: model.backbone: {path}")
        for weights in path.glob("*.weights.h5"):
            keras_file.check_weights(weights, weights.stat().st_size)
        whole = hub.models.Backbone.from_preset(folder, load_weights=False, **options)
    except Exception as error:  # what KerasHub, h5py and Keras raise for a damaged preset has no end
        raise _unreadable(path, error) from None
    is_part = hasattr(whole, "vision_encoder")
    network = whole.vision_encoder if is_part else whole
    if not hasattr(network, "image_shape"):
        raise _no_backbone(path, f"Got a {type(network).__name__}.")
    _check_size(path, network, size)
    if not is_part:
        options["image_shape"] = (*size, 3)
    try:
        network = hub.models.Backbone.from_preset(folder, **options)
    except Exception as error:
        if _takes(path, options):
            raise _unreadable(path, error) from None
        raise UserError(
            f"params.yaml: model.backbone: {path} cannot take images of {size[0]} x {size[1]} (height x width): "
            f"{reason(error)} Change image.height and image.width."
        ) from None
    if is_part:
        # Built again: as a part of another network it has the precision that it was saved with.
        part = network.vision_encoder
        network = type(part).from_config(part.get_config() | options)
        network.set_weights(part.get_weights())
    return _with_own_positions(network) if type(network).__name__ == "DINOV2Backbone" else network


def _takes(path: Path, options: dict[str, Any]) -> bool:
    """Whether the network of the preset can be built for the size in ``options``, whatever its weights."""
    hub = keras_file.import_hub(str(path))
    try:
        hub.models.Backbone.from_preset(str(path.resolve()), load_weights=False, **options)
    except Exception:
        return False
    return True


def _check_size(path: Path, network: keras.Model, size: Size) -> None:
    family = TOKENS.get(type(network).__name__)
    if family is None or family.takes(network, size) == size:
        return
    height, width = family.takes(network, size)
    can = family.sizes.format(height=height, width=width, patch=network.patch_size)
    raise UserError(
        f"params.yaml: model.backbone: {path} takes {can}. Got {size[0]} x {size[1]} (height x width). Set "
        f"image.height: {height} and image.width: {width}."
    )


def _with_own_positions(network: keras.Model) -> keras.Model:
    """Return a DINOv2 that holds the positions for its own image size, instead of those that it was trained with.

    KerasHub keeps both, trains the former, and saves the latter, of which it makes the former when it loads: a
    fine-tuned network would come back as another one.
    """
    config = network.get_config()
    resized = type(network).from_config(config | {"position_embedding_shape": config["image_shape"]})
    own = network.embeddings.interpolated_position_embeddings
    # Both have their weights in the same order.
    for target, source in zip(resized.weights, network.weights, strict=True):
        target.assign(own if target is resized.embeddings.position_embeddings else source)
    return resized


def read_scaling(path: Path) -> Scaling:
    """Read how a preset prepares its images: from ``image_converter.json``, or else ``preprocessor_config.json``.

    Resizing, cropping and the order of the library are not read: `image.height`, `image.width` and `image.fit` of
    params.yaml say that.

    Raises
    ------
    UserError
        If neither file is there, or if one does not say it.
    """
    for name, parse in ((CONVERTER, of_image_converter), (PREPROCESSOR, of_preprocessor)):
        if (path / name).is_file():
            try:
                return parse(json.loads((path / name).read_bytes()))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                said = f"{error} is missing" if isinstance(error, KeyError) else error
                raise UserError(
                    f"params.yaml: model.backbone: {path / name}: expected how images are scaled, as the library "
                    f"writes it. Got: {said}. Take the file of the model anew."
                ) from None
    raise UserError(
        f"params.yaml: model.backbone: {path} must hold {CONVERTER} or {PREPROCESSOR}, which says how images are "
        "scaled. Got neither. Add the file that is published with the model."
    )


def of_image_converter(content: Any) -> Scaling:
    """Read what KerasHub writes.

    Parameters
    ----------
    content : dict
        ``config`` has ``scale`` and ``offset``, each a number, a list of 3 or null; older ones have ``mean`` and
        ``variance`` as well, which stand for (value · scale - mean) / √variance.

    Examples
    --------
    >>> of_image_converter({"config": {"scale": 0.5, "offset": [0, -1, 2]}})
    Scaling(scale=(0.5, 0.5, 0.5), offset=(0.0, -1.0, 2.0))
    >>> of_image_converter({"config": {"scale": 0.5, "mean": [1, 2, 3], "variance": [4, 4, 4]}})
    Scaling(scale=(0.25, 0.25, 0.25), offset=(-0.5, -1.0, -1.5))
    """
    config = content["config"]
    scale = _three(1.0 if config.get("scale") is None else config["scale"], "scale")
    if "mean" in config and "variance" in config:
        deviation = np.sqrt(_three(config["variance"], "variance"))
        return _scaling(scale / deviation, -_three(config["mean"], "mean") / deviation)
    return _scaling(scale, _three(0.0 if config.get("offset") is None else config["offset"], "offset"))


def of_preprocessor(content: Any) -> Scaling:
    """Read what the library transformers writes: (value · rescale_factor - image_mean) / image_std.

    Parameters
    ----------
    content : dict
        ``do_rescale`` and ``do_normalize`` say which of the two steps is done; a missing one is, and a missing factor
        is 1 / 255, as in that library.

    Examples
    --------
    >>> of_preprocessor({"rescale_factor": 0.5, "image_mean": [1, 2, 3], "image_std": [2, 2, 2]})
    Scaling(scale=(0.25, 0.25, 0.25), offset=(-0.5, -1.0, -1.5))
    >>> of_preprocessor({"do_rescale": False, "do_normalize": False})
    Scaling(scale=(1.0, 1.0, 1.0), offset=(0.0, 0.0, 0.0))
    """
    factor = content.get("rescale_factor", 1 / 255) if content.get("do_rescale", True) else 1.0
    scale = _three(factor, "rescale_factor")
    if not content.get("do_normalize", True):
        return _scaling(scale, np.zeros(3))
    deviation = _three(content["image_std"], "image_std")
    return _scaling(scale / deviation, -_three(content["image_mean"], "image_mean") / deviation)


def _three(value: Any, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One number for each channel, from one for all or from three."""
    array = np.asarray(value, dtype=np.float64)
    if array.shape not in ((), (1,), (3,)) or not np.isfinite(array).all():
        raise ValueError(f"{name}: {str(value)[:100]}")
    return np.broadcast_to(array, (3,))


def _scaling(scale: np.ndarray[Any, Any], offset: np.ndarray[Any, Any]) -> Scaling:
    if not np.isfinite([scale, offset]).all():
        raise ValueError("a division by 0")
    return Scaling(tuple(scale.tolist()), tuple((offset + 0.0).tolist()))  # + 0.0 turns -0.0 into 0.0


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, ImportError):  # a package that KerasHub wants for this kind of preset only
        said = f"cannot be read with what is installed: {reason(error)}"
        return UserError(f"params.yaml: model.backbone: {path} {said} {keras_file.INSTALL_HUB}")
    return UserError(
        f"params.yaml: model.backbone: {path} must be a folder with a preset that KerasHub can read. Got an error: "
        f"{reason(error)} Fetch or copy the whole folder anew."
    )


def _no_backbone(path: Path, got: str) -> UserError:
    return UserError(
        f"params.yaml: model.backbone: {path} must hold a network from RGB images to a feature map, a vector or "
        f"tokens. {got} Take another preset."
    )

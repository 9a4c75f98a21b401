"""Pretrained networks without their head: raw uint8 RGB images in, features out, with their preprocessing inside."""

import difflib
import inspect
import os
import posixpath
import sys
import traceback
import urllib.error
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np

from posterity.errors import UserError
from posterity.nn import keras_file
from posterity.nn.keras_file import reason
from posterity.nn.networks import pyramid
from posterity.text import printable

NETWORKS: dict[str, Callable[..., keras.Model]] = {
    name: value for name, value in sorted(vars(keras.applications).items()) if inspect.isfunction(value)
}
IMAGENET_STDDEV = (0.229, 0.224, 0.225)


def load(
    entry: str,
    *,
    folder: str | os.PathLike[str],
    weights: str | None,
    height: int,
    width: int,
    name: str = "backbone",
    pyramid_levels: int = 1,
) -> keras.Model:
    """Build one backbone for images of one size.

    Parameters
    ----------
    entry : str
        A network of keras.applications (a key of `NETWORKS`), or the name of a ``.keras`` file in ``folder``: a model
        that takes RGB images (batch, height, width, 3) of 0 to 255 and gives a feature map or a vector.
    folder : path-like
        Where ``.keras`` files and weight files lie.
    weights : str, optional
        For a network of keras.applications: ``"imagenet"`` (downloaded by Keras, once), the name of a weights file in
        ``folder`` (``.h5``, ``.weights.h5``; without the classifier), or None for random weights. A ``.keras`` file
        brings its own.
    height, width : int
        Image size in pixels.
    name : str
        Of the model; models that stand side by side need different names.
    pyramid_levels : int
        Resolutions to take features from, see `posterity.nn.networks.pyramid`; 1 = the output only.

    Returns
    -------
    keras.Model
        Input uint8 (batch, height, width, 3), 0 to 255; output float32 (batch, rows, columns, channels) or
        (batch, channels), which several levels always give. It holds no code of this project: once saved, plain Keras
        can read it.

    Raises
    ------
    UserError
        If there is no such network, file or weights, if they do not fit each other or the image size, or if the
        weights cannot be downloaded.
    """
    images = keras.Input((height, width, 3), dtype="uint8", name="image")
    pixels = keras.ops.cast(images, "float32")
    if entry.endswith(".keras"):
        network = _from_file(entry, Path(folder), (height, width))
    elif entry in NETWORKS:
        network = _from_applications(entry, Path(folder), weights, (height, width))
        # The family's own function, traced: plain Keras operations, which are saved with the model. It does nothing
        # where the network itself scales its input (EfficientNet, MobileNetV3, ConvNeXt).
        pixels = sys.modules[NETWORKS[entry].__module__].preprocess_input(pixels)
    else:
        files = _names(Path(folder), ".keras")
        near = " or ".join(difflib.get_close_matches(entry, [*NETWORKS, *files], n=3))
        raise UserError(
            f"params.yaml: model.backbone must be a network of keras.applications or a .keras file in {folder}. "
            f"Got {entry!r}.{f' Did you mean {near}?' if near else ''}\n"
            f"Networks: {', '.join(NETWORKS)}.\nFiles in {folder}: {', '.join(map(printable, files)) or 'none'}."
        )
    if pyramid_levels > 1:
        network = pyramid.pooled(network, pyramid_levels, entry=entry)
    # float32 whatever the precision policy: heads and the feature cache take it.
    features = keras.layers.Activation("linear", dtype="float32", name="features")(network(pixels))
    return keras.Model(images, features, name=name)


def freeze(model: keras.Model, layers: int | None = None) -> int:
    """Make all layers of ``model`` trainable, or the last ones only; batch normalisation never is.

    A batch normalisation that is not trainable also runs in inference mode: it keeps the statistics of the
    pretraining, which small batches of other images would spoil, and its scale and offset.

    Parameters
    ----------
    model : keras.Model
        A backbone; models nested in it count by their layers.
    layers : int, optional
        Train this many layers, counted from the output, of those that have weights to train and are not batch
        normalisation. None, or more than there are, trains all of them.

    Returns
    -------
    int
        Number of layers that will train.
    """
    candidates = []
    for layer in _leaves(model):
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
        if layer.trainable_weights:
            candidates.append(layer)
    num_frozen = 0 if layers is None else max(0, len(candidates) - layers)
    for layer in candidates[:num_frozen]:
        layer.trainable = False
    return len(candidates) - num_frozen


def _leaves(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers inside ``model`` and the models nested in it, from input to output; no model is left frozen."""
    model.trainable = True
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


def _from_file(entry: str, folder: Path, size: tuple[int, int]) -> keras.Model:
    path = _inside(folder, entry, "backbone", ".keras")
    try:
        model = keras_file.load(path)
    except UserError as error:
        raise UserError(
            f"params.yaml: model.backbone: {error} Save it with `model.save` from Keras 3, without Lambda layers or "
            "classes of your own."
        ) from None
    wanted = (
        f"params.yaml: model.backbone: {path} must be a model of one input, RGB images (batch, height, width, 3), and "
        "one output, a feature map (batch, rows, columns, channels) or a vector (batch, channels)."
    )
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise UserError(f"{wanted} Got a {type(model).__name__} without a declared input. Save a functional model.")
    inputs, outputs = ([tuple(tensor.shape) for tensor in side] for side in (model.inputs, model.outputs))
    ranks_in, ranks_out = ([len(shape) for shape in side] for side in (inputs, outputs))
    if ranks_in != [4] or inputs[0][3] != 3 or ranks_out not in ([2], [4]):
        raise UserError(f"{wanted} Got inputs {inputs} and outputs {outputs}. Remove its head, or take another model.")
    sides = dict(zip(("height", "width"), inputs[0][1:3], strict=True))
    if any(side not in (None, got) for side, got in zip(sides.values(), size, strict=True)):
        fixes = " and ".join(f"image.{key}: {side}" for key, side in sides.items() if side is not None)
        raise UserError(
            f"params.yaml: model.backbone: {path} takes images of one size only. Got {_shown(size)}. Set {fixes}, or "
            "save the model with an input of shape (None, None, 3)."
        )
    try:
        model.compute_output_shape((None, *size, 3))
    except ValueError as error:
        raise UserError(
            f"params.yaml: model.backbone: {path} cannot take images of {_shown(size)}: {reason(error)} Raise "
            "image.height and image.width."
        ) from None
    # Built again for this one size: its layers then know their sizes, which the summary shows and an export uses.
    resized = keras.models.clone_model(model, input_tensors=keras.Input((*size, 3)))
    resized.set_weights(model.get_weights())
    return resized


def _from_applications(name: str, folder: Path, weights: str | None, size: tuple[int, int]) -> keras.Model:
    try:
        with warnings.catch_warnings():
            # MobileNets say that their weights come from 224 x 224 images; that holds for every network here.
            warnings.filterwarnings("ignore", message="`input_shape` is undefined or non-square")
            network = NETWORKS[name](
                include_top=False, weights="imagenet" if weights == "imagenet" else None, input_shape=(*size, 3)
            )
    except ValueError as error:
        if "Input size must be at least" not in str(error):
            raise
        raise UserError(
            f"params.yaml: model.backbone: {name} cannot take images of {_shown(size)}: {reason(error)} Raise "
            "image.height and image.width."
        ) from None
    except Exception as error:  # what a failed download raises is a bare Exception
        if (message := _failed_download(name, folder, error)) is None:
            raise
        raise UserError(message) from None
    if weights not in (None, "imagenet"):
        _load_weights(network, name, _inside(folder, weights, "weights", ".h5"))
    return network


def _load_weights(network: keras.Model, name: str, path: Path) -> None:
    try:
        keras_file.check_weights(path, path.stat().st_size)
        with warnings.catch_warnings():
            # Keras warns that it goes on with random weights.
            warnings.filterwarnings("error", message="Skipping nested container")
            network.load_weights(path)
    except Exception as error:  # what h5py, Keras and TensorFlow raise for a damaged file has no end
        raise UserError(
            f"params.yaml: model.weights: {path} must hold the weights of {name} without its classifier (Keras calls "
            f"such files ..._notop.h5 or ..._no_top.h5). Got another file: {reason(error)}"
        ) from None
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization) and np.allclose(layer.adapt_variance, IMAGENET_STDDEV):
            # Keras' files for EfficientNet hold the standard deviation where the variance belongs. Keras corrects that
            # by one more layer, but only for weights="imagenet": github.com/tensorflow/tensorflow/issues/49930
            layer.adapt_variance.assign(np.square(IMAGENET_STDDEV))
            layer.finalize_state()


def _failed_download(name: str, folder: Path, error: Exception) -> str | None:
    """Say what to do about ``error`` if it means that `keras.utils.get_file` could not reach the network, else None."""
    if not isinstance(error.__context__, urllib.error.URLError) and not isinstance(
        error, ConnectionError | TimeoutError
    ):
        return None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "get_file":  # its arguments say what it wanted, and under which name
            url, file = frame.f_locals["origin"], frame.f_locals["fname"]
            cache = Path(os.environ.get("KERAS_HOME", "~/.keras"), "models", file)
            return (
                f"params.yaml: model.weights: imagenet needs a download for {name}, which failed: {reason(error)} "
                f"Fetch {url} on a machine with a network and put it here as {cache}, or put it into {folder} and set "
                f"model.weights: {posixpath.basename(url)}."
            )
    return None


def _inside(folder: Path, file: str, key: str, suffix: str) -> Path:
    """The path of ``file``, which has to exist in ``folder``."""
    path = posixpath.normpath(file.replace("\\", "/"))
    if path.startswith(("/", "../")) or path == ".." or Path(file).is_absolute():
        raise UserError(
            f"params.yaml: model.{key} must be the name of a file in model.backbone_folder, {folder}, which DVC "
            f"watches. Got {file!r}. Copy the file there and write {posixpath.basename(path)}."
        )
    if not (folder / path).is_file():
        files = _names(folder, suffix)
        near = difflib.get_close_matches(file, files, n=1, cutoff=0.8)
        raise UserError(
            f"params.yaml: model.{key}: there is no file {folder / path}. "
            f"{f'Did you mean {near[0]}? ' if near else ''}{suffix} files there: "
            f"{', '.join(map(printable, files)) or 'none'}."
        )
    return folder / path


def _names(folder: Path, suffix: str) -> list[str]:
    return sorted(path.name for path in folder.glob(f"*{suffix}"))


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} (height x width)"

"""Pretrained networks without their head: raw uint8 RGB images in, features out, with their preprocessing inside."""

import difflib
import inspect
import os
import posixpath
import sys
import traceback
import urllib.error
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from posterity.errors import UserError
from posterity.nn import keras_file
from posterity.nn.keras_file import reason
from posterity.nn.networks import hub, pyramid
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
        A network of keras.applications (a key of `NETWORKS`), the name of a ``.keras`` file in ``folder``: a model
        that takes RGB images (batch, height, width, 3) of 0 to 255 and gives a feature map or a vector, or the name of
        a folder in ``folder`` with a preset of KerasHub, see `posterity.nn.networks.hub`. Such a folder comes first.
    folder : path-like
        Where presets, ``.keras`` files and weight files lie. Nothing is looked for anywhere else.
    weights : str, optional
        For a network of keras.applications: ``"imagenet"`` (downloaded by Keras, once), the name of a weights file in
        ``folder`` (``.h5``, ``.weights.h5``; without the classifier), or None for random weights. A ``.keras`` file and
        a preset bring their own.
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
        can read it, with KerasHub if it is of a preset.

    Raises
    ------
    UserError
        If there is no such network, file, preset or weights, if they do not fit each other or the image size, or if
        the weights cannot be downloaded.
    """

    def see(network: keras.Model, pixels: keras.KerasTensor) -> keras.KerasTensor:
        return (network if pyramid_levels == 1 else pyramid.pooled(network, pyramid_levels, entry=entry))(pixels)

    images = keras.Input((height, width, 3), dtype="uint8", name="image")
    pixels = keras.ops.cast(images, "float32")
    if (preset := _preset_folder(entry, Path(folder))) is not None:
        if pyramid_levels > 1:
            raise UserError(
                f"params.yaml: model.pyramid_levels must be 1 for a preset of KerasHub. Got {pyramid_levels} with "
                f"{entry}. Set it to 1."
            )
        seen = hub.see(preset, pixels)
    elif entry.endswith(".keras"):
        seen = see(_from_file(entry, Path(folder), (height, width)), pixels)
    elif entry in NETWORKS:
        network = _from_applications(entry, Path(folder), weights, (height, width))
        # The family's own function, traced: plain Keras operations, which are saved with the model. It does nothing
        # where the network itself scales its input (EfficientNet, MobileNetV3, ConvNeXt).
        seen = see(network, sys.modules[NETWORKS[entry].__module__].preprocess_input(pixels))
    else:
        raise UserError(_unknown(entry, Path(folder)))
    # float32 whatever the precision policy: heads and the feature cache take it.
    features = keras.layers.Activation("linear", dtype="float32", name="features")(seen)
    return keras.Model(images, features, name=name)


def check_there(entry: str, folder: str | os.PathLike[str]) -> None:
    """Raise the `UserError` of `load` if there is no network, file or preset called ``entry``."""
    if _preset_folder(entry, Path(folder)) is not None:
        return
    if entry.endswith(".keras"):
        _inside(Path(folder), entry, "backbone", ".keras")
    elif entry not in NETWORKS:
        raise UserError(_unknown(entry, Path(folder)))


def _preset_folder(entry: str, folder: Path) -> Path | None:
    """The folder of a preset called ``entry``; None if there is none."""
    try:
        path = _checked(entry, folder, "backbone")
    except UserError:
        if hub.is_preset(Path(entry)) or hub.is_preset(folder / entry):
            raise
        return None
    return path if hub.is_preset(path) else None


def _unknown(entry: str, folder: Path) -> str:
    """Say what ``entry`` could have been."""
    files = _names(folder, ".keras") + sorted(path.parent.name for path in folder.glob(f"*/{hub.CONFIG}"))
    there = f"Files and presets in {folder}: {', '.join(map(printable, files)) or 'none'}."
    presets = hub.known_presets()
    if presets is not None and entry in presets:
        return (
            f"params.yaml: model.backbone: the preset {entry} of KerasHub must be in {folder}: no stage downloads one. "
            f"Got none there. Run `posterity fetch-backbone {entry}`, once.\n{there}"
        )
    near = " or ".join(difflib.get_close_matches(entry, [*NETWORKS, *files, *(presets or ())], n=3))
    return (
        "params.yaml: model.backbone must be a network of keras.applications, or a .keras file or a folder with a "
        f"preset of KerasHub in {folder}. Got {entry!r}.{f' Did you mean {near}?' if near else ''}\n"
        f"Networks: {', '.join(NETWORKS)}.\n{there}\n"
        "`posterity fetch-backbone NAME` brings a preset of KerasHub there."
    )


def _from_file(entry: str, folder: Path, size: tuple[int, int]) -> keras.Model:
    path = _inside(folder, entry, "backbone", ".keras")
    try:
        model = keras_file.load(path)
    except keras_file.MissingHubError as error:
        raise UserError(f"params.yaml: model.backbone: {error}") from None
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
    path = _checked(file, folder, key)
    if not path.is_file():
        files = _names(folder, suffix)
        near = difflib.get_close_matches(file, files, n=1, cutoff=0.8)
        raise UserError(
            f"params.yaml: model.{key}: there is no file {path}. "
            f"{f'Did you mean {near[0]}? ' if near else ''}{suffix} files there: "
            f"{', '.join(map(printable, files)) or 'none'}."
        )
    return path


def _checked(file: str, folder: Path, key: str) -> Path:
    """The path of ``file`` in ``folder``, which it may not leave."""
    path = posixpath.normpath(file.replace("\\", "/"))
    if path.startswith(("/", "../")) or path == ".." or Path(file).is_absolute():
        raise UserError(
            f"params.yaml: model.{key} must be the name of a file in model.backbone_folder, {folder}, which DVC "
            f"watches. Got {file!r}. Copy the file there and write {posixpath.basename(path)}."
        )
    return folder / path


def _names(folder: Path, suffix: str) -> list[str]:
    return sorted(path.name for path in folder.glob(f"*{suffix}"))


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} (height x width)"

"""Fetching a preset of KerasHub into a folder, once, with a note of what it is: no stage downloads one."""

import difflib
import hashlib
import json
import shutil
from pathlib import Path
from typing import Protocol

from posterity import files
from posterity.errors import UserError
from posterity.nn import keras_file
from posterity.nn.keras_file import INSTALL_HUB, reason
from posterity.nn.networks import backbones, hub
from posterity.text import printable

SOURCE = "SOURCE.json"
WEIGHTS = "model.weights.h5"
SHARDS = "model.weights.json"  # in which files of several the weights of a large network are
HOLDS = (hub.CONFIG, hub.CONVERTER, WEIGHTS, SHARDS, "model_*.weights.h5", SOURCE)


class Place(Protocol):
    """Where presets are published."""

    def get(self, handle: str, file: str) -> Path:
        """Download one file and return where it lies now; raise `FileNotFoundError` if the preset has none."""
        ...

    def licence(self, handle: str) -> str | None:
        """The name of the licence of the weights; None if that is not said."""
        ...


class Kaggle:
    """Kaggle Models, from which KerasHub downloads. It shows the progress, and keeps a copy in its own cache."""

    def get(self, handle: str, file: str) -> Path:
        """Download one file, see `Place`."""
        from keras_hub.src.utils import preset_utils

        return Path(preset_utils.get_file(handle, file))

    def licence(self, handle: str) -> str | None:
        """Ask for the licence, see `Place`."""
        from kagglehub.clients import build_kaggle_client
        from kagglehub.handle import parse_model_handle
        from kagglesdk.models.types.model_api_service import ApiGetModelInstanceRequest

        parsed = parse_model_handle(handle.removeprefix("kaggle://"))
        request = ApiGetModelInstanceRequest()
        request.owner_slug, request.model_slug = parsed.owner, parsed.model
        request.framework, request.instance_slug = parsed.framework_enum(), parsed.variation
        with build_kaggle_client() as client:
            return client.models.model_api_client.get_model_instance(request).license_name or None


def fetch(name: str, folder: Path, place: Place | None = None) -> dict[str, object]:
    """Bring the preset ``name`` into ``folder``, as the folder ``name``, which appears when it is whole.

    A preset that is there already is not downloaded again, but compared with its note.

    Parameters
    ----------
    name : str
        Of a preset of KerasHub for images, such as ``dinov2_small``.
    folder : Path
        ``model.backbone_folder`` of params.yaml.
    place : Place, optional
        Where to download from; None for `Kaggle`.

    Returns
    -------
    dict
        What `SOURCE` beside the preset says: ``preset``, ``handle``, ``page``, ``licence`` (None = not said) and
        ``files``, the sha256 of each. It depends on the preset alone.

    Raises
    ------
    UserError
        If KerasHub is not installed or knows no such preset; if a download fails, of which nothing is left in
        ``folder``; or if the preset there is not as its note says.
    """
    keras_file.import_hub("posterity fetch-backbone")
    known = hub.known_presets() or {}
    if name not in known:
        if name in backbones.NETWORKS:
            raise UserError(
                f"posterity fetch-backbone: {name} is a network of keras.applications, which Keras itself downloads. "
                f"Set model.backbone: [{name}] and model.weights: imagenet."
            )
        near = " or ".join(difflib.get_close_matches(name, known, n=3))
        raise UserError(
            f"posterity fetch-backbone: expected the name of a preset of KerasHub for images. Got {name!r}. "
            + (f"Did you mean {near}?" if near else f"Take one of these.\nPresets: {', '.join(known)}.")
        )
    target = folder / name
    if (target / SOURCE).is_file():
        return _compared(target)
    place, handle = place or Kaggle(), known[name]
    with files.replacing_folder(target, holds=HOLDS) as temporary:
        temporary.mkdir()
        for file in (hub.CONFIG, hub.CONVERTER):
            _copy(place, handle, file, temporary, target)
        try:
            _copy(place, handle, WEIGHTS, temporary, target, optional=True)
        except FileNotFoundError:
            _copy(place, handle, SHARDS, temporary, target)
            for file in _shards(temporary / SHARDS):
                _copy(place, handle, file, temporary, target)
        source: dict[str, object] = {
            "preset": name,
            "handle": handle,
            "page": handle.replace("kaggle://", "https://www.kaggle.com/models/"),
            "licence": _licence(place, handle),
            "files": {path.name: _digest(path) for path in sorted(temporary.iterdir())},
        }
        files.write_json(temporary / SOURCE, source)
    return source


def _compared(target: Path) -> dict[str, object]:
    """The note of a preset that is there, if the files are still those that it names."""
    try:
        source = json.loads((target / SOURCE).read_bytes())
        expected = dict(source["files"])
    except (ValueError, KeyError, TypeError):
        expected = {}
    found = {path.name: _digest(path) for path in sorted(target.iterdir()) if path.is_file() and path.name != SOURCE}
    if changed := sorted({name for name, _ in expected.items() ^ found.items()}) or ([] if expected else [SOURCE]):
        raise UserError(
            f"{target}: expected the files that {SOURCE} names, as they were fetched. Got others: "
            f"{', '.join(map(printable, changed))}. Remove the folder and fetch it again, or keep a network of "
            f"your own under another name and without {SOURCE}."
        )
    return dict(source)


def _copy(place: Place, handle: str, file: str, folder: Path, target: Path, *, optional: bool = False) -> None:
    """Download ``file`` and copy it into ``folder``, which becomes ``target``."""
    try:
        path = place.get(handle, file)
    except Exception as error:
        if optional and isinstance(error, FileNotFoundError):
            raise
        if isinstance(error, ImportError):  # Kaggle's client is missing: KerasHub can be installed without it
            raise UserError(f"posterity fetch-backbone cannot download: {reason(error)} {INSTALL_HUB}") from None
        if not _is_of_download(error):
            raise
        raise UserError(
            f"{target}: expected to download {file} from {handle}. It failed: {reason(error)} Nothing was written. "
            "Check the network connection, or download the files of the preset on another machine and put them there. "
            "Some presets want an account of kaggle.com that has accepted their terms."
        ) from None
    shutil.copyfile(path, folder / file)


def _licence(place: Place, handle: str) -> str | None:
    try:
        return place.licence(handle)
    except Exception as error:
        if not _is_of_download(error):
            raise
        return None  # the files are there, and the page says it, too


def _is_of_download(error: Exception) -> bool:
    """Whether the network or the server raised ``error``: the clients of Kaggle have classes of their own."""
    package = type(error).__module__.split(".")[0]
    return isinstance(error, OSError | ValueError) or package in {"kagglehub", "kagglesdk", "requests"}


def _shards(index: Path) -> list[str]:
    """The names of the files that hold the weights, as Keras lists them."""
    names: set[str] = set()
    for listed in json.loads(index.read_bytes())["weight_map"].values():
        names |= {listed} if isinstance(listed, str) else set(listed)
    for name in names:
        if not (name.startswith("model_") and name.endswith(".weights.h5") and Path(name).name == name):
            raise UserError(f"{index.name} of the preset names {name!r}; expected model_NUMBER.weights.h5. Report it.")
    return sorted(names)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

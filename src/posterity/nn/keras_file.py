"""Networks in ``.keras`` files: the same weights give the same bytes."""

import io
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras

from posterity import errors, files, model_archive, reading
from posterity.errors import UserError

WEIGHTS = "model.weights.h5"
CONFIG = "config.json"
HUB = ("keras_hub", "keras_nlp")  # KerasHub registers its classes under its former name, too

INSTALL_HUB = 'Run `pip install -c requirements.lock -e ".[hub]"`.'


class MissingHubError(UserError):
    """A network needs KerasHub, which is not installed."""


def save(model: keras.Model, path: str | os.PathLike[str], extra: Mapping[str, bytes] | None = None) -> None:
    """Write ``model`` to a ``.keras`` file, with ``extra`` members (name to content) that Keras ignores."""
    files.write_archive(path, members(model) | dict(extra or {}))


def load(path: str | os.PathLike[str], stream: io.BufferedReader | None = None) -> keras.Model:
    """Read a network; it is not compiled, and no code from the file is run.

    Of KerasHub a file may ask for networks only, see `check_hub`.

    Parameters
    ----------
    path : path
        The file.
    stream : file, optional
        The same file, opened by somebody who has read more of it: it may have been replaced since.

    Raises
    ------
    MissingHubError
        If the file holds a network of KerasHub, and that is not installed.
    UserError
        If Keras cannot read the file, or refuses it because it holds code (see SECURITY.md).
    """
    if stream is None:
        with reading.opened(path) as opened:
            return load(path, opened)
    try:
        # A copy of the open file: Keras takes a name only, and behind a name there may be another file by now.
        with model_archive.opened(stream, stored=False) as archive, tempfile.TemporaryDirectory() as folder:
            if WEIGHTS in archive.namelist():
                check_weights(io.BytesIO(archive.read(WEIGHTS)), archive.getinfo(WEIGHTS).file_size)
            if CONFIG in archive.namelist():
                check_hub(json.loads(archive.read(CONFIG)), f"{path}: the network")
            copy = Path(folder, "model.keras")
            stream.seek(0)
            with copy.open("wb") as target:
                shutil.copyfileobj(stream, target, 1 << 20)
            return keras.saving.load_model(copy, compile=False, safe_mode=True)
    except MissingHubError:
        raise
    except Exception as error:
        # Whatever it is, it comes of the file: what Keras, h5py and TensorFlow raise for a damaged one has no end.
        if isinstance(error, OSError) and (text := errors.explained(error, tempfile.gettempdir())):
            raise UserError(text) from None
        raise UserError(f"{path}: cannot be read as a Keras model: {reason(error)}") from None


def import_hub(who: str) -> Any:
    """Import KerasHub for ``who``, which begins the message of the error.

    Raises
    ------
    MissingHubError
        If it is not installed.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise MissingHubError(f"{who} needs the package keras-hub. Got none: {reason(error)} {INSTALL_HUB}") from None
    return keras_hub


def check_hub(config: Any, who: str) -> None:
    """Let a configuration ask for no more of KerasHub than its networks: subclasses of ``keras_hub.models.Backbone``.

    Keras looks up every class of KerasHub where that is installed. Among them are tokenizers, which read files, and
    tasks, which nobody needs here.

    Parameters
    ----------
    config : object
        What ``config.json`` holds, as Python objects.
    who : str
        What asks, for the message if KerasHub is not installed.

    Raises
    ------
    MissingHubError
        If it asks for KerasHub, and that is not installed.
    ValueError
        If it asks for anything else of KerasHub.
    """
    for module, name in _asked_of_hub(config):
        hub = import_hub(who)
        found = keras.saving.get_registered_object(name) if name.split(">")[0] in HUB else None
        is_network = isinstance(found, type) and issubclass(found, hub.models.Backbone)
        if not is_network:
            raise ValueError(
                f"it asks for {(name or module)[:100]!r} of KerasHub, of which only networks are loaded (subclasses of "
                "keras_hub.models.Backbone)"
            )


def _asked_of_hub(config: Any) -> Iterator[tuple[str, str]]:
    """The module and the registered name of everything in ``config`` that Keras would look for in KerasHub."""
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            module, name = (str(node.get(key) or "") for key in ("module", "registered_name"))
            if module.split(".")[0] in HUB or name.split(">")[0] in HUB:
                yield module, name
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def check_weights(source: io.BytesIO | Path, size: int) -> None:
    """Look at the directory of an HDF5 file of ``size`` bytes before any values of it are read.

    Keras reads what the file announces, whatever the network needs: 12 kB that announce 3 GB took 13 GB.

    Raises
    ------
    ValueError
        If its arrays are more than `posterity.model_archive.MOST_EXPANSION` times as large as the file (and 16 MiB).
    Exception
        What h5py raises for a file that is damaged or no HDF5.
    """
    total = 0

    def count(_: str, item: Any) -> None:
        nonlocal total
        total += item.nbytes if isinstance(item, h5py.Dataset) else 0

    with h5py.File(source, "r") as file:
        file.visititems(count)
    most = model_archive.MOST_EXPANSION * size + model_archive.SMALL
    if total > most:
        raise ValueError(f"weights of {total:,} bytes in a file of {size:,}, of which {most:,} are allowed")


def reason(error: Exception) -> str:
    """Return the first line of Keras' message that says something, as a sentence."""
    lines = re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() or [type(error).__name__]
    text = next((line for line in lines if line and not line.startswith("Exception encountered when")), lines[0])
    text = text if len(text) <= 500 else f"{text[:500]}..."
    return text if text.endswith((".", "!", "?")) else f"{text}."


def members(model: keras.Model) -> dict[str, bytes]:
    """Return the files of the archive that Keras saves, without what differs from one run to the next.

    Keras writes the time of saving into metadata.json, and numbers shared objects in config.json by their addresses in
    memory. The time is removed and the numbers are replaced, so that DVC sees a change only where there is one.
    """
    numbers: dict[int, int] = {}

    def renumbered(item: dict[str, Any]) -> dict[str, Any]:
        if "shared_object_id" in item:
            item["shared_object_id"] = numbers.setdefault(item["shared_object_id"], len(numbers))
        return item

    with tempfile.TemporaryDirectory() as folder:
        stamped = Path(folder) / "stamped.keras"
        try:
            model.save(stamped)
        except (OSError, RuntimeError) as error:  # h5py words a full disk as either
            if (said := errors.explained(error, folder, "written")) is None:
                raise
            raise UserError(said) from None
        with zipfile.ZipFile(stamped) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(members["metadata.json"])
    metadata.pop("date_saved")
    members["metadata.json"] = json.dumps(metadata, sort_keys=True).encode()
    members["config.json"] = json.dumps(json.loads(members["config.json"], object_hook=renumbered)).encode()
    return members

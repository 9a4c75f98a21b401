"""Networks in ``.keras`` files, byte for byte the same for the same weights."""

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from posterity import files


def save(model: keras.Model, path: str | os.PathLike[str], extra: Mapping[str, bytes] | None = None) -> None:
    """Write ``model`` to a ``.keras`` file, with ``extra`` members (name to content) that Keras does not look at."""
    files.write_archive(path, members(model) | dict(extra or {}))


def load(path: str | os.PathLike[str]) -> keras.Model:
    """Read a network, not compiled."""
    return keras.saving.load_model(path, compile=False)


def members(model: keras.Model) -> dict[str, bytes]:
    """The files of the archive that Keras saves, without what differs from one run to the next.

    Keras stamps metadata.json with the time of saving, and numbers shared objects in config.json by their addresses
    in memory; the stamp is taken out and the numbers are replaced, so that DVC sees a change only where there is one.
    """
    numbers: dict[int, int] = {}

    def renumbered(item: dict[str, Any]) -> dict[str, Any]:
        if "shared_object_id" in item:
            item["shared_object_id"] = numbers.setdefault(item["shared_object_id"], len(numbers))
        return item

    with tempfile.TemporaryDirectory() as folder:
        stamped = Path(folder) / "stamped.keras"
        model.save(stamped)
        with zipfile.ZipFile(stamped) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(members["metadata.json"])
    metadata.pop("date_saved")
    members["metadata.json"] = json.dumps(metadata, sort_keys=True).encode()
    members["config.json"] = json.dumps(json.loads(members["config.json"], object_hook=renumbered)).encode()
    return members

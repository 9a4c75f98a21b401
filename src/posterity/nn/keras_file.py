"""Networks in ``.keras`` files: the same weights give the same bytes."""

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from posterity import files
from posterity.errors import UserError

# What Keras raises for a file that is damaged, foreign, or holds code.
REFUSALS = (ValueError, TypeError, KeyError, OSError, NotImplementedError, zipfile.BadZipFile)


def save(model: keras.Model, path: str | os.PathLike[str], extra: Mapping[str, bytes] | None = None) -> None:
    """Write ``model`` to a ``.keras`` file, with ``extra`` members (name to content) that Keras ignores."""
    files.write_archive(path, members(model) | dict(extra or {}))


def load(path: str | os.PathLike[str]) -> keras.Model:
    """Read a network; it is not compiled, and no code from the file is run.

    Raises
    ------
    UserError
        If Keras cannot read the file, or refuses it because it holds code (see SECURITY.md).
    """
    try:
        return keras.saving.load_model(path, compile=False)
    except REFUSALS as error:
        raise UserError(f"{path}: cannot be read as a Keras model: {reason(error)}") from None


def reason(error: Exception) -> str:
    """Return the first line of Keras' message that says something, as a sentence."""
    lines = re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() or [type(error).__name__]
    text = next((line for line in lines if line and not line.startswith("Exception encountered when")), lines[0])
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
        model.save(stamped)
        with zipfile.ZipFile(stamped) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(members["metadata.json"])
    metadata.pop("date_saved")
    members["metadata.json"] = json.dumps(metadata, sort_keys=True).encode()
    members["config.json"] = json.dumps(json.loads(members["config.json"], object_hook=renumbered)).encode()
    return members

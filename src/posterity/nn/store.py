"""Model files: a Keras archive with the model card inside, byte for byte the same for the same weights."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras

from posterity.card import ModelCard
from posterity.errors import UserError
from posterity.files import replacing

CARD = "posterity.json"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip archive can hold


def save(model: keras.Model, card: ModelCard, path: str | os.PathLike[str]) -> None:
    """Write ``model`` and ``card`` to one ``.keras`` file, which plain `keras.saving.load_model` reads, too.

    Keras stamps the archive and its metadata.json with the time of saving, and numbers shared objects in config.json
    by their addresses in memory; the stamps are taken out and the numbers replaced, so that DVC sees a change only
    where there is one.
    """
    numbers: dict[int, int] = {}

    def renumbered(item: dict[str, Any]) -> dict[str, Any]:
        if "shared_object_id" in item:
            item["shared_object_id"] = numbers.setdefault(item["shared_object_id"], len(numbers))
        return item

    with replacing(path) as temporary:
        stamped = temporary.with_name("stamped.keras")
        model.save(stamped)
        with zipfile.ZipFile(stamped) as source, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as target:
            members = {name: source.read(name) for name in source.namelist()}
            metadata = json.loads(members["metadata.json"])
            metadata.pop("date_saved")
            members["metadata.json"] = json.dumps(metadata, sort_keys=True).encode()
            config = json.loads(members["config.json"], object_hook=renumbered)
            members["config.json"] = json.dumps(config).encode()
            members[CARD] = card.to_json().encode()
            for name in sorted(members):
                target.writestr(zipfile.ZipInfo(name, EPOCH), members[name])


def load(path: str | os.PathLike[str]) -> tuple[keras.Model, ModelCard]:
    """Read what `save` wrote.

    Raises
    ------
    UserError
        If the file is missing or not a model of this project.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: there is no model here. Train one with `dvc repro`, or fetch it with `dvc pull`.")
    try:
        with zipfile.ZipFile(path) as archive:
            card = ModelCard.from_json(archive.read(CARD).decode())
    except (zipfile.BadZipFile, KeyError, TypeError):
        raise UserError(
            f"{path}: expected a model that this pipeline trained (a .keras file with {CARD} inside). "
            "Train one with `dvc repro`."
        ) from None
    return keras.saving.load_model(path, compile=False), card

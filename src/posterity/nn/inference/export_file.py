"""What the runtimes of exported models share: reading their files and their metadata."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posterity import reading
from posterity.errors import UserError
from posterity.nn.inference.export_card import LABELS, ExportCard
from posterity.pixels.decode import ImageArray
from posterity.text import printable

Scored = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]
Run = Callable[[ImageArray], Scored]
# What a file says of itself, or what is wrong with that; input and outputs of its graph, as (name, type, sizes after
# the batch); the function that runs it.
Facts = tuple[ExportCard | Exception, list[tuple[Any, ...]], Run]

SAVED = "saved_model.pb"


def read(path: Path, folder: Path | None = None) -> bytes:
    """The content of a file of an export, which is compared with its digest if `LABELS` lies in ``folder``.

    Raises
    ------
    UserError
        If it cannot be read, or if it has other bytes than `posterity export` wrote.
    """
    folder = path.parent if folder is None else folder
    content = reading.raw_bytes(path) if path.exists() else b""
    expected = _digests(folder / LABELS).get(path.relative_to(folder).as_posix())
    if expected is not None and hashlib.sha256(content).hexdigest() != expected:
        raise UserError(
            f"{printable(path)}: expected the bytes that `posterity export` wrote (sha256 in {LABELS} beside it). Got "
            f"{'others' if content else 'none'}. Copy or export it again."
        )
    return content


def _digests(labels: Path) -> dict[str, str]:
    """The digests that `LABELS` gives by the paths of the files; none if it is missing or somebody else's."""
    try:
        content = json.loads(labels.read_text(encoding="utf-8"))
        return {str(name): str(digest) for name, digest in content["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def card_of(metadata: Any) -> ExportCard | Exception:
    """The card in the metadata of a file, or what is wrong with it."""
    try:
        return ExportCard.from_metadata(metadata)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        return error

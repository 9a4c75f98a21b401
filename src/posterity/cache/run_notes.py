"""Notes that a run leaves for the next one. They save time and change no result, so what is in doubt is not used."""

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
import simplejpeg

from posterity import choices, files
from posterity.errors import RefusedError, UserError
from posterity.pixels import colours, decode, formats, jpeg, opening, resize, spec


class UnusableError(Exception):
    """A note is missing, damaged or from other code; the text says which."""


def write(path: Path, module: str, content: Any) -> None:
    """Write ``content`` (JSON) for `read` in a later run of the same code; ``module`` is the caller's ``__file__``.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    text = json.dumps({"code": _fingerprint(module), "content": content}).encode()
    try:
        with files.replacing(path) as temporary:
            temporary.write_bytes(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
    except (OSError, RefusedError) as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}. Set machine.reuse_folder in params.yaml to a folder that "
            "can be written to, or to null."
        ) from None


def read(path: Path, module: str) -> Any:
    """The content of a note that the same ``module`` wrote.

    Raises
    ------
    UnusableError
        If it is missing or damaged, or if it was written by other code or beside other libraries.
    """
    try:
        digest, _, text = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        raise UnusableError(f"{path} does not exist") from None
    except OSError as error:
        raise UnusableError(f"{path} cannot be read: {error.strerror}") from None
    if digest.decode(errors="replace") != hashlib.sha256(text).hexdigest():
        raise UnusableError(f"{path} is damaged")
    note = json.loads(text)
    now = _fingerprint(module)
    if changed := [name for name in now if note["code"].get(name) != now[name]]:
        raise UnusableError(f"{path} is from before a change of {', '.join(changed)}")
    return note["content"]


def is_note(path: Path) -> bool:
    """Whether `write` wrote this file and nobody has changed it since; of whatever code it is."""
    try:
        digest, _, text = path.read_bytes().partition(b"\n")
    except OSError:
        return False
    return digest.decode(errors="replace") == hashlib.sha256(text).hexdigest()


def _fingerprint(module: str) -> dict[str, str]:
    """What facts and pixels of an image depend on beside its file and the parameters.

    That is the versions of the libraries, the kind of CPU, and the source of all code that touches pixels or the note.
    """
    versions = {library.__name__: str(library.__version__) for library in (PIL, cv2, np, simplejpeg)}
    sources = [
        module,
        __file__,
        *(str(source.__file__) for source in (choices, colours, decode, formats, jpeg, opening, resize, spec)),
    ]
    code = hashlib.sha256(b"".join(Path(source).read_bytes() for source in sources)).hexdigest()
    return {"the code": code, "the CPU": platform.machine()} | versions

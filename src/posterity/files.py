"""Files in and out: whole or not at all, and the same bytes for the same content."""

import contextlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity.errors import UserError

DECIMALS = 6
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip archive can hold


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` for the caller to fill; rename it over ``path`` on success.

    The caller may create a file or a directory there. If the block raises, what it wrote is removed and whatever
    stood at ``path`` before is untouched.

    Raises
    ------
    UserError
        If a file would take the place of a directory.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A fresh private folder gives a name that no parallel run can hold, and keeps the suffix, which writers look at.
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        temporary = folder / target.name
        yield temporary
        if target.is_dir() and not target.is_symlink():
            if not temporary.is_dir():
                raise UserError(f"{target} is a folder; expected the path of a file to write. Name a file in it.")
            # A rename cannot put one directory over another: move the old one out of the way first.
            target.replace(folder / "replaced")
        temporary.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rounded(value: Any) -> Any:
    """Round every float in nested dicts, lists and tuples to `DECIMALS` digits; turn NumPy scalars into Python's."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return round(value, DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0
    return value


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write ``content`` as sorted, indented JSON with floats of `DECIMALS` digits.

    Raises
    ------
    ValueError
        If a float is not finite: a metrics file must be readable by every JSON parser.
    """
    text = json.dumps(rounded(content), allow_nan=False, sort_keys=True, indent=2, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file that an earlier stage made; a `UserError` names the file if it is missing."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing(path) from None


def read_array(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read a ``.npy`` file that an earlier stage made; a `UserError` names the file if it is missing."""
    try:
        return np.asarray(np.load(path))
    except FileNotFoundError:
        raise missing(path) from None


def write_csv(path: str | os.PathLike[str], table: pd.DataFrame) -> None:
    """Write ``table`` without its index as UTF-8, with Unix line ends and floats of `DECIMALS` digits.

    Raises
    ------
    ValueError
        If a float column holds an infinity.
    """
    for name in table.columns:
        if pd.api.types.is_float_dtype(table[name]) and np.isinf(table[name].to_numpy()).any():
            raise ValueError(f"column {name!r} of {path} holds an infinity")
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", float_format=f"%.{DECIMALS}f", encoding="utf-8")


def read_csv(path: str | os.PathLike[str], **dtypes: str) -> pd.DataFrame:
    """Read a CSV file that an earlier stage made.

    Every column is text unless ``dtypes`` names it; an empty cell is the empty string and ``N/A`` stays ``N/A``.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise missing(path) from None
    return table.astype({name: dtype for name, dtype in dtypes.items() if name in table.columns})


def write_archive(path: str | os.PathLike[str], members: dict[str, bytes]) -> None:
    """Write a zip archive, byte for byte the same for the same members: by name, and without the time."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(members):
            target.writestr(zipfile.ZipInfo(name, EPOCH), members[name])


def missing(path: str | os.PathLike[str]) -> UserError:
    """The error for a file that an earlier stage should have made."""
    return UserError(f"{path} does not exist. An earlier stage makes it: run `dvc repro`.")

"""What a reader of a foreign format returns, and what the readers share."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

from posterity.choices import SIDE_WORDS
from posterity.errors import UserError
from posterity.text import printable

# Folders and subsets of these names give a side; those that mean nothing else.
SIDES = {word: side for word, side in SIDE_WORDS.items() if side != "leave_out" and word not in ("tr", "dev", "eval")}


@dataclass
class ImportedTable:
    """A table of text.

    Attributes
    ----------
    columns : dict of str to list of str
        The cells of every column.
    settings : dict of str to value
        Dotted keys of params.yaml with which the pipeline reads the table; empty if its columns are the source's own.
    notes : list of str
        What was done that the reader of the table may not expect.
    left_out : list of str
        What could not be used, and why; one entry each.
    """

    columns: dict[str, list[str]]
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))


# How the pipeline reads the table that `listed` makes.
LISTED = {
    "data.id_column": "image",
    "data.list_column": "labels",
    "data.label_columns": [],
    "data.image_pattern": "{id}",
}


def listed(
    labels: Mapping[str, Iterable[str]],
    sides: Mapping[str, str] | None = None,
    *,
    notes: Sequence[str] = (),
    left_out: Sequence[str] = (),
) -> ImportedTable:
    """Make a table with the columns ``image``, ``labels`` (a JSON list) and, where images have sides, ``side``.

    Examples
    --------
    >>> listed({"a.jpg": ["dog", "cat", "dog"]}, {"a.jpg": "train"}).columns
    {'image': ['a.jpg'], 'labels': ['["dog", "cat"]'], 'side': ['train']}
    """
    columns = {
        "image": list(labels),
        "labels": [json.dumps(list(dict.fromkeys(names)), ensure_ascii=False) for names in labels.values()],
    }
    settings: dict[str, Any] = dict(LISTED)
    if sides and any(sides.values()):
        columns["side"] = [sides.get(image, "") for image in labels]
        settings |= side_settings(columns["side"])
    return ImportedTable(columns, settings, list(notes), list(left_out))


def side_settings(sides: Iterable[str]) -> dict[str, Any]:
    """The settings that read a column ``side``; images without a side are left out."""
    found = sorted(set(sides))
    settings: dict[str, Any] = {"split.side_column": "side"}
    if "" in found:
        settings["split.sides"] = {side: side or "leave_out" for side in found}
    return settings


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises
    ------
    UserError
        If it cannot be read or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"{printable(path)}: expected JSON. Got: {printable(error)}. Export it again.") from None
    except RecursionError:
        raise UserError(f"{printable(path)}: is nested too deeply to be an export.") from None


def read_text(path: Path) -> str:
    """The text of a file in UTF-8.

    Raises
    ------
    UserError
        If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be read: {error.strerror}. Correct the path.") from None
    except UnicodeDecodeError:
        with path.open("rb") as stream:
            packed = stream.read(4).startswith((b"PK\x03\x04", b"\x1f\x8b"))
        if packed:
            raise UserError(
                f"{printable(path)}: is a packed file (zip or gzip). Unpack it, and give what is in it."
            ) from None
        raise UserError(f"{printable(path)}: expected text in UTF-8. Got other bytes. Export it again.") from None


def read_xml(path: Path) -> ElementTree.Element:
    """Parse an XML file without a document type: its entities could grow without limit.

    Raises
    ------
    UserError
        If it cannot be read, declares a document type or an entity, or is no XML.
    """
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UserError(
            f"{printable(path)}: declares a document type or an entity, which no export of annotations does. Refused."
        )
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UserError(f"{printable(path)}: expected XML. Got: {printable(error)}. Export it again.") from None


def item(content: Any, key: str, kind: type | tuple[type, ...], place: str) -> Any:
    """``content[key]`` of a mapping, checked.

    Raises
    ------
    UserError
        If ``content`` is no mapping, lacks the key, or has another type there.
    """
    names = {dict: "a mapping", list: "a list", str: "text", int: "a number"}
    if not isinstance(content, dict) or key not in content:
        got = (
            f"the keys {', '.join(map(repr, list(content)[:10])) or 'none'}"
            if isinstance(content, dict)
            else "no mapping"
        )
        raise UserError(f"{place}: expected a key {key!r}. Got {got}. Is it another format?")
    value = content[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = " or ".join(names[one] for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise UserError(f"{place}: expected {wanted} at {key!r}. Got {value!r:.60}.")
    return value


def file_name(written: str) -> str:
    r"""The path of an image below the folder of the images, from the path or address that a tool has stored.

    A relative path stays. Of an address or an absolute path only the file name is left, of Label Studio's local files
    the path that they are given by.

    Examples
    --------
    >>> [file_name(text) for text in ("a/b.jpg", "s3://bucket/x/b.jpg", r"C:\x\b.jpg", "/data/local-files/?d=x/b.jpg")]
    ['a/b.jpg', 'b.jpg', 'b.jpg', 'x/b.jpg']
    """
    text = written.strip()
    if "/local-files/?" in text:
        found = parse_qs(urlsplit(text).query).get("d", [""])[0]
        return found.replace("\\", "/").lstrip("/")
    if re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE):
        return unquote(urlsplit(text).path).rsplit("/", 1)[-1]
    text = text.replace("\\", "/")
    if text.startswith("/") or re.match(r"[A-Za-z]:", text):
        return text.rsplit("/", 1)[-1]
    return text.removeprefix("./")


def cell_text(value: Any) -> str:
    """A value as the text of a cell: a list as a JSON list, nothing as "".

    Examples
    --------
    >>> [cell_text(value) for value in (None, 3.0, 2.5, True, ["a", "é"], "N/A", float("nan"))]
    ['', '3', '2.5', 'true', '["a", "é"]', 'N/A', '']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


class ImageNames:
    """File names of images, each of one source; two sources with one name are a mistake."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._sources: dict[str, str] = {}
        self._places: dict[str, str] = {}
        self.num_shortened = 0

    def add_new(self, written: str, place: str) -> str:
        """`add` for a format that names each image once: where another image has the name, labels would be lost.

        ``place`` says where it stands. Raises a `UserError` that names both places.
        """
        name = self.add(written)
        before = self._places.setdefault(name, place)
        if before != place:
            raise UserError(
                f"{self._place}: {before} and {place} are both about the image {name!r}, so that their labels "
                f"cannot be told apart. Rename one of the images, or export them apart from each other."
            )
        return name

    def add(self, written: str) -> str:
        """`file_name` of what is written.

        Raises
        ------
        UserError
            If another source has that name, or if there is no name.
        """
        name = file_name(written)
        if not name or name.startswith("data:"):
            raise UserError(f"{self._place}: expected the name of an image. Got {written!r:.60}.")
        before = self._sources.setdefault(name, written)
        if before != written:
            raise UserError(
                f"{self._place}: two images would both be called {name!r}: {before!r} and {written!r}. Only the file "
                f"name of an address is kept. Rename one of them there, and its file."
            )
        self.num_shortened += name != written
        return name

    def notes(self) -> list[str]:
        """What was shortened, for `ImportedTable.notes`."""
        if not self.num_shortened:
            return []
        example = next((source, name) for name, source in self._sources.items() if name != source)
        return [
            f"{self.num_shortened:,} addresses were shortened to file names, such as {example[0]!r} to {example[1]!r}"
        ]

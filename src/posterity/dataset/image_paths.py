"""From the ids of a table to image files: patterns, the index of what the folder holds, hints for what is missing."""

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from posterity.config.image_pattern import ANY_SUFFIX, ANYWHERE, Pattern
from posterity.dataset.csv_table import PLACES_SHOWN, TextTable, shown
from posterity.errors import UserError
from posterity.pixels.image_names import is_image_path
from posterity.text import printable


class FolderIndex:
    """The image files of a folder, to be looked up by parts of their paths.

    Parameters
    ----------
    listing : sequence of str
        Paths of all files relative to the folder.
    """

    def __init__(self, listing: Sequence[str]) -> None:
        self.listing = listing
        self.has_backslash = any("\\" in name for name in listing)
        self._tables: dict[tuple[bool, bool], dict[str, list[str]]] = {}
        self._folded: dict[str, list[str]] | None = None
        self._numbers: dict[int, str] | None = None

    def matches(self, pattern: Pattern, id_: str) -> list[str]:
        """Paths that the pattern makes of an id. Composed and decomposed Unicode (NFC, NFD) are alike."""
        key = (pattern.is_anywhere, pattern.has_any_suffix)
        if key not in self._tables:
            table: dict[str, list[str]] = defaultdict(list)
            for path in filter(is_image_path, self.listing):
                part = posixpath.basename(path) if pattern.is_anywhere else path
                table[_nfc(posixpath.splitext(part)[0] if pattern.has_any_suffix else part)].append(path)
            self._tables[key] = table
        name = _nfc(posixpath.normpath(pattern.name_of(id_)))
        if not pattern.is_anywhere:
            return self._tables[key].get(name, [])
        found = self._tables[key].get(posixpath.basename(name), [])
        if "/" not in name:
            return found
        ends = [(path, _nfc(posixpath.splitext(path)[0] if pattern.has_any_suffix else path)) for path in found]
        return [path for path, end in ends if end == name or end.endswith("/" + name)]

    def hint(self, path: str, id_: str, image_column: str | None) -> str:
        """What lies in the folder in place of a file that is missing, and what to set: a text in brackets, or ""."""
        if self._folded is None:
            self._folded = defaultdict(list)
            for name in filter(is_image_path, self.listing):
                self._folded[posixpath.splitext(posixpath.basename(_fold(name)))[0]].append(name)
            stems = ((posixpath.splitext(posixpath.basename(name))[0], name) for name in self.listing)
            self._numbers = {int(stem): name for stem, name in stems if stem.isdecimal() and len(stem) < 20}
        base = posixpath.basename(_fold(path))
        stem = posixpath.splitext(base)[0]
        # The second try is for ids that carry the suffix already: x.jpg and the pattern {id}.jpg.
        for key in (stem, posixpath.splitext(stem)[0]):
            if found := self._folded.get(key):
                closest = max(found, key=lambda name: (_fold(name) == _fold(path), _stem(name) == _stem(path)))
                return f" (there is {closest!r}{_fix(closest, path, id_, image_column)})"
        if stem.isdecimal() and len(stem) < 20 and (similar := (self._numbers or {}).get(int(stem))):
            digits = len(posixpath.splitext(posixpath.basename(similar))[0])
            suffix = posixpath.splitext(similar)[1]
            fix = (
                "" if image_column or not 0 < digits < 10 else f'; set data.image_pattern: "{{id:0{digits}d}}{suffix}"'
            )
            return f" (there is {similar!r}{fix})"
        return ""


def image_paths(
    table: TextTable,
    folder: Path,
    index: FolderIndex,
    *,
    id_column: str,
    image_pattern: str | Sequence[str],
    image_column: str | None,
) -> tuple[list[str], dict[int, str]]:
    """Find the file of every row.

    Parameters
    ----------
    table : TextTable
        The labels CSV. White space around an id or a file name does not count, and a backslash in it is a slash unless
        files of the folder have one in their names.
    folder : Path
        The folder of the images, for messages.
    index : FolderIndex
        What it holds.
    id_column, image_pattern, image_column
        As in `posterity.dataset.options.TableForm`.

    Returns
    -------
    paths : list of str
        Path of every row's image relative to ``folder``, normalised; "" where the image column is empty. A file that
        does not exist has the path where the first pattern looks for it.
    ambiguous : dict of int to str
        Rows for which several files match, and which.

    Raises
    ------
    UserError
        If a path leads out of the folder.
    """
    column = image_column or id_column
    cells = [cell.strip() for cell in table.columns[column]]
    if not index.has_backslash:
        cells = [cell.replace("\\", "/") for cell in cells]
    patterns = [Pattern(text) for text in ([image_pattern] if isinstance(image_pattern, str) else image_pattern)]
    ambiguous: dict[int, str] = {}
    if image_column:
        written = cells
    elif len(patterns) == 1 and not (patterns[0].is_anywhere or patterns[0].has_any_suffix):
        written = [patterns[0].name_of(cell) for cell in cells]
    else:
        written = []
        for row, cell in enumerate(cells):
            found = list(dict.fromkeys(path for pattern in patterns for path in index.matches(pattern, cell)))
            if len(found) > 1:
                ambiguous[row] = f"{len(found)} files match: {shown([repr(name) for name in found], 3)}"
            written.append(found[0] if found else patterns[0].name_of(cell))
    paths = [posixpath.normpath(path) if path else "" for path in written]
    outside = [row for row, path in enumerate(paths) if path.startswith(("/", "../", "~")) or path in ("..", ".")]
    outside += [row for row, path in enumerate(paths) if re.match(r"[A-Za-z]:|[a-z0-9]+:/|\$", path)]
    if outside:
        raise _outside(table, folder, index, sorted(set(outside)), column, image_column, image_pattern)
    return paths, ambiguous


def _outside(
    table: TextTable,
    folder: Path,
    index: FolderIndex,
    rows: Sequence[int],
    column: str,
    image_column: str | None,
    image_pattern: str | Sequence[str],
) -> UserError:
    places = [f"line {table.lines[row]} {table.columns[column][row]!r}" for row in rows]
    pattern = "" if image_column else f" (data.image_pattern: {image_pattern!r})"
    anywhere = Pattern("**/{name}")
    found = sum(len(index.matches(anywhere, table.columns[column][row].strip())) == 1 for row in rows)
    if found:
        null = (
            f"data.id_column: {printable(column)}, data.image_column: null, data.label_columns: [...], "
            if image_column
            else ""
        )
        fix = (
            f"The file names alone are found in the folder for {found} of {len(rows)} rows: set {null}"
            f'data.image_pattern: "**/{{name}}".'
        )
    else:
        fix = "Write it relative to that folder, without '..'."
        fix += " Nothing is fetched from the network." if "://" in places[0] else ""
        fix += " Neither ~ nor $NAME is replaced." if re.search(r"'[~$]", places[0]) else ""
    return UserError(
        f"{table.path}: column {column!r} must lead to a file inside data.images = {folder}{pattern}. Got a path that "
        f"does not: {shown(places, PLACES_SHOWN)}. {fix}"
    )


def _fix(found: str, path: str, id_: str, image_column: str | None) -> str:
    """What to set so that ``found`` is looked for instead of ``path``: with a semicolon before it, or ""."""
    if image_column:
        if posixpath.basename(found) == posixpath.basename(path):
            return (
                f'; set data.id_column: {image_column}, data.image_column: null, data.image_pattern: "**/{{name}}", '
                f"and name the labels in data.label_columns"
            )
        return ""
    start = "" if posixpath.dirname(found) == posixpath.dirname(path) else ANYWHERE
    base = posixpath.basename(found)
    name = posixpath.basename(id_)
    place = "{id}" if name == id_ else "{name}"
    if base == name:
        return f'; set data.image_pattern: "{start}{place}"'
    if _nfc(_stem(base)) == _nfc(_stem(posixpath.basename(path))) and _nfc(_stem(base)) == _nfc(name):
        suffix = posixpath.splitext(found)[1] if _stem(base) == name and start else ANY_SUFFIX
        return f'; set data.image_pattern: "{start}{place}{suffix}"'
    if _fold(_stem(base)) == _fold(_stem(name)) and _nfc(_stem(base)) == _nfc(_stem(name)):
        # Of another suffix, or the same one in other letters, or composed in another way.
        return f'; set data.image_pattern: "{ANYWHERE}{{stem}}.*"'
    if _fold(base) in (_fold(name), _fold(posixpath.basename(path))):
        return "; the names differ in upper and lower case: rename the file or correct the id"
    return ""


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]


def _nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _fold(text: str) -> str:
    return _nfc(text).casefold()

"""Which column of a table leads to the image files of a folder, and by which pattern."""

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from posterity.config.image_pattern import Pattern
from posterity.dataset.csv_table import TextTable
from posterity.dataset.image_paths import FolderIndex
from posterity.pixels.image_names import is_image_path

SAMPLED = 400
_NAMES = re.compile(r"image|img|file|path|photo|picture|url|name|id$|id[^a-z]", re.IGNORECASE)
FEW = 4  # different cells
FOUND = 0.5  # a column that leads to fewer of the sampled rows' files is none


@dataclass(frozen=True)
class ImageColumn:
    """A column that leads to files.

    Attributes
    ----------
    name, pattern : str
        The column, and what makes a file name of its cells.
    num_found, num_sampled : int
        Rows that were tried, and those of them that lead to exactly one file.
    others : tuple of str
        Patterns that lead from as many cells to other files.
    """

    name: str
    pattern: str
    num_found: int
    num_sampled: int
    others: tuple[str, ...] = ()


def find(table: TextTable, index: FolderIndex) -> ImageColumn | None:
    """The column and the pattern that lead to the most files; None if none leads to half of the sampled rows'.

    Of several that are as good, the simplest pattern is taken, and then the column whose cells differ most.
    """
    files = [name for name in index.listing if is_image_path(name)]
    if not files:
        return None
    step = max(1, len(table.lines) // SAMPLED)
    there = frozenset(index.listing)
    best: tuple[tuple[float, ...], ImageColumn] | None = None
    for name, cells in table.columns.items():
        if len(set(cells)) <= FEW < len(cells) / 4:
            continue  # a label, a side, a flag: thousands of such columns are quickly passed over
        sample = [cell.strip() for cell in cells[::step]]
        if not index.has_backslash:
            sample = [cell.replace("\\", "/") for cell in sample]
        num_different = len(set(cells))
        for place, text in enumerate(_patterns(sample, files)):
            pattern = Pattern(text)
            found = sum(_leads(pattern, cell, index, there) for cell in sample if cell)
            candidate = ImageColumn(name, text, found, len(sample))
            rank = (found / len(sample), -place, _NAMES.search(name) is not None, num_different)
            if found >= FOUND * len(sample) and (best is None or rank > best[0]):
                best = rank, candidate
            if found == len(sample):
                break  # what comes later is less simple
    return _with_others(best[1], table, index) if best else None


def _leads(pattern: Pattern, cell: str, index: FolderIndex, there: frozenset[str]) -> bool:
    """Whether a cell leads to one file by a pattern, in the way the pipeline looks for it."""
    if pattern.is_anywhere or pattern.has_any_suffix:
        return len(index.matches(pattern, cell)) == 1
    return posixpath.normpath(pattern.name_of(cell)) in there


def _with_others(found: ImageColumn, table: TextTable, index: FolderIndex) -> ImageColumn:
    """Add the patterns that differ in the ending only and lead to other files for the first cells."""
    cells = [cell.strip() for cell in table.columns[found.name][:20]]
    start, placeholder, ending = found.pattern.rpartition("{id}")
    if not placeholder or ending == ".*":
        return found
    first = start.removeprefix("**/") + cells[0]
    endings = {
        name[name.index(cells[0]) + len(cells[0]) :] for name in index.listing if first in name and is_image_path(name)
    }
    others = [
        start + placeholder + other
        for other in sorted(endings - {ending})
        if other and all(index.matches(Pattern(start + placeholder + other), cell) for cell in cells)
    ]
    return replace(found, others=tuple(others))


def _patterns(sample: Sequence[str], files: Sequence[str]) -> Iterator[str]:
    """Patterns that may lead from cells to files, the simplest first."""
    suffixes = [suffix for suffix, _ in Counter(posixpath.splitext(name)[1] for name in files).most_common(4)]
    yield "{id}"
    yield from (f"{{id}}{suffix}" for suffix in suffixes)
    yield "{id}.*"
    folder, affix = _around(sample, files)
    if folder or affix:
        yield f"{folder}{{id}}{affix}"
    yield "**/{id}"
    yield from (f"**/{{id}}{suffix}" for suffix in suffixes)
    yield "**/{id}.*"
    lengths = {len(posixpath.splitext(posixpath.basename(name))[0]) for name in files[:1000]}
    if len(lengths) == 1 and (digits := lengths.pop()) < 10:
        yield from (f"{{id:0{digits}d}}{suffix}" for suffix in suffixes[:2])
        yield f"**/{{id:0{digits}d}}.*"
    yield "**/{name}"
    yield "**/{name}.*"
    yield from (f"{{id/{depth}}}" for depth in range(1, 5))
    yield "{stem}.*"
    yield "**/{stem}.*"


def _around(sample: Sequence[str], files: Sequence[str]) -> tuple[str, str]:
    """What stands before and behind the ids in file names: a folder, and an ending such as ``_green.png``."""
    ids = [cell for cell in sample[:50] if cell]
    around: Counter[tuple[str, str]] = Counter()
    for id_ in ids[:10]:
        for name in files:
            folder, base = posixpath.split(name)
            if base.startswith(id_) and not base[len(id_) : len(id_) + 1].isalnum():
                around[folder + "/" if folder else "", base[len(id_) :]] += 1
    return around.most_common(1)[0][0] if around else ("", "")

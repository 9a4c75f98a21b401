"""The Markdown files: README.md, CHANGELOG.md, docs/ and those beside them."""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# Of GitHub's Markdown: cells of dashes, with colons for the alignment.
BELOW_THE_HEADINGS = re.compile(r"\|(\s*:?-+:?\s*\|)+")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_table_is_one_table_with_as_many_cells_in_every_row(name: str) -> None:
    assert [problem for rows in tables((ROOT / name).read_text(encoding="utf-8")) for problem in problems(rows)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("| a | b |\n|---|---:|\n| 1 | 2 |\n", []),
        ("| a | b |\n|---|---:|\n| 1 | 2 |\n\n| 3 | 4 |\n", ["no table begins with | 3 | 4 |"]),
        ("| a | b |\n|---|---:|\n| 1 |\n", ["2 cells expected in | 1 |"]),
        ("| a | b |\n|---|---:|\n| 1 \\| 2 | 3 |\n", []),
        ("```\n| of a program |\n```\n", []),
    ],
)
def test_what_is_wrong_with_a_table_is_found(text: str, found: list[str]) -> None:
    assert [problem for rows in tables(text) for problem in problems(rows)] == found


def tables(text: str) -> Iterator[list[str]]:
    """Blocks of lines that begin with a bar, outside of fenced code."""
    in_code = False
    lines: list[str] = []
    for line in text.splitlines():
        is_fence = line.lstrip().startswith("```")
        in_code ^= is_fence
        lines.append("" if in_code or is_fence else line.strip())
    for has_bar, block in groupby(lines, key=lambda line: line.startswith("|")):
        if has_bar:
            yield list(block)


def problems(rows: list[str]) -> list[str]:
    if len(rows) < 2 or not BELOW_THE_HEADINGS.fullmatch(rows[1]):
        return [f"no table begins with {rows[0]}"]
    expected = cells(rows[0])
    return [f"{expected} cells expected in {row}" for row in rows if cells(row) != expected]


def cells(row: str) -> int:
    return len(re.findall(r"(?<!\\)\|", row)) - 1

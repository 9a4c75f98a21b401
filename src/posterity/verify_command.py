"""The command `posterity verify`: are the files of the finished run what was recorded, and how good is it?"""

import argparse
import dataclasses
import json
import sys
from collections import Counter
from pathlib import Path

from posterity import dvc_state
from posterity.verifying import comparison
from posterity.verifying.finding import HARMLESS, Finding
from posterity.verifying.verify import Verified, verify

EPILOG = """\
examples:
  posterity verify                    show what is wrong, and the commands that mend it
  posterity verify --all              show every file that was checked
  posterity verify --json > verified.json
  posterity verify --against HEAD~1   then compare the figures with those that are committed there

The exit code is 0 if all is right, 1 if something is wrong, 2 if there is nothing that could be verified.
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser of `posterity`."""
    command = commands.add_parser(
        "verify",
        help="check all files of the finished run against what was recorded",
        description="Read every output, every object of DVC's cache that belongs to it and every file with a checksum "
        "of its own, compare them with what was recorded, and compute the figures again from the scores.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--all", action="store_true", help="show what is right, too")
    command.add_argument("--json", action="store_true", help="print all rows as JSON")
    command.add_argument("--against", metavar="REV", help="also compare the figures with those of a Git revision")
    command.add_argument("--params", type=Path, default=Path("params.yaml"), help="file (default: %(default)s)")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run ``posterity verify``; exits with 1 if something is wrong."""
    there = None if args.against is None else comparison.committed(args.against)  # a mistake there shows at once
    verified = verify(args.params)
    compared = None if there is None else comparison.compare(comparison.workspace(), there)
    if args.json:
        print(json.dumps(_content(verified, compared), indent=1))
    else:
        _show(verified, show_all=args.all)
        if compared is not None:
            _show_comparison(compared, args.against)
    if any(finding.is_wrong for finding in verified.findings):
        sys.exit(1)


def _content(verified: Verified, compared: comparison.Comparison | None) -> dict[str, object]:
    rows = [dataclasses.asdict(row) for row in verified.findings]
    is_right = not any(row.is_wrong for row in verified.findings)
    content = {"right": is_right, "bytes": verified.num_bytes, "counts": _counts(verified.findings), "rows": rows}
    if compared is None:
        return content
    figures = [dataclasses.asdict(row) | {"difference": row.difference} for row in compared.figures]
    return content | {"against": {"figures": figures, "noise": compared.source, "notes": compared.notes}}


def _show(verified: Verified, *, show_all: bool) -> None:
    wrong = [row for row in verified.findings if row.is_wrong]
    rows = verified.findings if show_all else wrong
    cells = [(visible(row.state), visible(row.what), visible(row.detail)) for row in rows]
    if cells:
        states, names = (max(len(cell[column]) for cell in cells) for column in (0, 1))
        for state, name, detail in cells:
            print(f"{state:<{states}}  {name:<{names}}  {detail}".rstrip())
    if wrong and (working := dvc_state.process_at_work()):
        print(f"\n{visible(working)} It may be replacing these files: verify again when it has finished.\n")
    elif wrong:
        print("\nWhat mends it, in this order:")
        # One command may mend many files.
        for fix in dict.fromkeys(visible(row.fix) for row in wrong if row.fix):
            print(f"  {fix}")
        print()
    counts = ", ".join(f"{number:,} {state}" for state, number in _counts(verified.findings).items())
    print(f"{'Something is wrong' if wrong else 'All right'}: {counts}; {_size(verified.num_bytes)} read.")


def _show_comparison(compared: comparison.Comparison, revision: str) -> None:
    width = max((len(visible(row.name)) for row in compared.figures), default=0)
    print(f"\nAgainst {visible(revision)}:")
    print(f"{'figure':<{width}}  {'here':>11}  {'there':>11}  {'difference':>11}  {'noise':>9}  verdict")
    for row in compared.figures:
        band = f"±{row.band:.4f}" if row.band is not None else "-"
        values = f"{row.here:>11.6g}  {row.there:>11.6g}  {row.difference:>+11.4g}"
        print(f"{visible(row.name):<{width}}  {values}  {band:>9}  {row.verdict}")
    for line in (compared.source, *compared.notes):
        print(visible(line))


def _counts(findings: list[Finding]) -> dict[str, int]:
    """Number of rows by state, what is harmless first.

    >>> _counts([Finding("a", "missing"), Finding("b", "right"), Finding("c", "missing")])
    {'right': 1, 'missing': 2}
    """
    found = Counter(row.state for row in findings)
    return {state: found[state] for state in sorted(found, key=lambda state: (state not in HARMLESS, state))}


def _size(num_bytes: int) -> str:
    """Say a number of bytes.

    >>> _size(999), _size(2_600_000_000)
    ('999 bytes', '2.60 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= size:
            return f"{num_bytes / size:.2f} {unit}"
    return f"{num_bytes} bytes"


def visible(text: str) -> str:
    r"""Escape what a terminal would act on or not show: a file may have any name.

    >>> visible("a\x1b[2Jb\n\u202e") == r"a\x1b[2Jb\n\u202e"
    True
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)

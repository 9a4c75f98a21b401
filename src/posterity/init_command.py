"""The command `posterity init`: show what a folder and a table seem to be, and write it on confirmation."""

import argparse
import sys
from pathlib import Path

from posterity import files, recipes
from posterity.errors import UserError
from posterity.proposals.propose import Proposal, propose
from posterity.text import json_text, printable

EPILOG = """\
examples:
  posterity init photos/ photos.csv
  posterity init photos/ photos.csv --yes && posterity check && dvc repro
  posterity init photos/ photos.csv --json > proposal.json

Nothing is guessed in silence: what could be read in two ways is listed, with what was chosen. Look at the labels and at
the three rows that are read back before you confirm. Tables that are no CSV become one by `posterity import`.
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser of `posterity`."""
    command = commands.add_parser(
        "init",
        help="propose the settings for a folder of images and a table",
        description="Look at a folder of images and at a table of their labels, show what they seem to be, and write "
        "the settings into params.yaml on confirmation. Comments stay.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("images", type=Path, metavar="IMAGES", help="folder of the images")
    command.add_argument("table", type=Path, metavar="TABLE", help="CSV file of the labels")
    command.add_argument("--params", type=Path, default=Path("params.yaml"), help="file (default: %(default)s)")
    command.add_argument("--yes", action="store_true", help="write without asking")
    command.add_argument("--json", action="store_true", help="print the proposal as JSON; write only with --yes")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run ``posterity init``; exits with 1 if the settings cannot be told."""
    try:
        proposal = propose(args.images, args.table)
        text, changes = recipes.change(args.params, proposal.settings, source="posterity init")
    except UserError as error:
        if args.json:
            print(json_text({"error": str(error)}, indent=1))
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    if args.json:
        _print_json(proposal, changes, written=args.yes)
    else:
        _show(proposal, changes)
    if not changes:
        print(f"{printable(args.params)} has all these values already.", file=sys.stderr)
    elif args.yes or (not args.json and _confirmed(args.params)):
        with files.replacing(args.params) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
        written = f"{len(changes)} values written to {printable(args.params)}"
        print(f"{written}. Next: `posterity check`, `dvc repro`.", file=sys.stderr)
    else:
        print(f"{printable(args.params)} is not changed. `--yes` writes the settings.", file=sys.stderr)


def _confirmed(params: Path) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"Write these settings to {printable(params)}? [y/N] ").strip().casefold() in ("y", "yes")


def _print_json(proposal: Proposal, changes: list[recipes.Change], *, written: bool) -> None:
    content = {
        "settings": proposal.settings,
        "images": proposal.num_images,
        "labels": proposal.labels,
        "unknown_cells": proposal.num_unknown,
        "examples": [{"image": image, "labels": labels} for image, labels in proposal.examples],
        "notes": proposal.notes,
        "ambiguous": proposal.ambiguous,
        "changes": {change.key: [change.old, change.new] for change in changes},
        "written": written and bool(changes),
    }
    print(json_text(content, indent=1))


def _show(proposal: Proposal, changes: list[recipes.Change]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Neither [red] nor :smile: means anything in the text of data.
    console = Console(highlight=False, markup=False, emoji=False)
    unknown = f", {proposal.num_unknown:,} unknown cells" if proposal.num_unknown else ""
    console.print(f"{proposal.num_images:,} images, {len(proposal.labels)} labels{unknown}", style="bold")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    shown = sorted(proposal.labels.items(), key=lambda item: -item[1])[:30]
    for name, rows in shown:
        table.add_row(Text(f"  {printable(name)}"), f"{rows:,}")
    if len(proposal.labels) > len(shown):
        table.add_row(f"  ... {len(proposal.labels) - len(shown)} more", "")
    console.print(table)
    console.print("Rows read back", style="bold")
    for image, labels in proposal.examples:
        console.print(printable(f"  {image}: {', '.join(labels) or '(no label)'}"))
    for title, found in (("Seen", proposal.notes), ("Could be read otherwise", proposal.ambiguous)):
        if found:
            console.print(title, style="bold")
            for text in found:
                console.print(f"  - {printable(text)}")
    console.print("Changes to params.yaml", style="bold")
    for change in changes:
        console.print(printable(f"  {change.key}: {recipes.shown(change.old)} -> {recipes.shown(change.new)}"))
    if not changes:
        console.print("  none")

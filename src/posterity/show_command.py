"""The command `posterity show`: the data, the figures, one label or one image of the run in this folder."""

import argparse
from pathlib import Path

from posterity.config.load import load_params

EPILOG = """\
examples:
  posterity show data
  posterity show metrics
  posterity show label Western
  posterity show image sample-0007 --output seven.png

Nothing is computed anew but intervals and, before stage preprocess has run, the pixels of an image. In a pipe, and with
NO_COLOR set, the output is plain text.
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser of `posterity`."""
    command = commands.add_parser(
        "show",
        help="show the data, the figures, one label or one image",
        description="Show the data, the figures, one label or one image of the run in this folder.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    views = command.add_subparsers(dest="view", required=True, metavar="VIEW")
    view = views.add_parser("data", help="first rows, label counts, shapes of the arrays, problems")
    view.set_defaults(run=run)
    view = views.add_parser("metrics", help="the main figures beside their baseline, with intervals")
    view.set_defaults(run=run)
    view = views.add_parser("label", help="one label: figures, threshold, best and worst images, confusions")
    view.add_argument("name", metavar="NAME", help="name of the label")
    _add_params(view)
    view = views.add_parser("image", help="one image as the network gets it, with labels and scores")
    view.add_argument("id", metavar="ID", help="id of the image in the table of labels")
    view.add_argument("--output", type=Path, metavar="FILE.png", help="draw it, with labels and scores beside it")
    _add_params(view)


def _add_params(view: argparse.ArgumentParser) -> None:
    view.add_argument("--params", type=Path, default=Path("params.yaml"), help="file (default: %(default)s)")
    view.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run ``posterity show``."""
    from posterity.showing.console import open_console

    console = open_console()
    if args.view == "data":
        from posterity.showing import data

        data.show(console)
    elif args.view == "metrics":
        from posterity.showing import metrics

        metrics.show(console)
    elif args.view == "label":
        from posterity.showing import label

        label.show(console, args.name, load_params(args.params))
    else:
        from posterity.showing import image

        image.show(console, args.id, load_params(args.params), args.output)

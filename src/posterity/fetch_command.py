"""The command `posterity fetch-backbone`: a pretrained network of KerasHub in the folder of backbones."""

import argparse
from pathlib import Path

from posterity.config.load import load_params
from posterity.text import printable

EPILOG = """\
example:
  posterity fetch-backbone dinov2_small

Then set model.backbone: [dinov2_small] in params.yaml. No stage of the pipeline downloads such a network. The file
SOURCE.json beside it says where it is from, under which licence, and the sha256 of every file. A NAME that is
like no other lists all of them.
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser of `posterity`."""
    command = commands.add_parser(
        "fetch-backbone",
        help="download a pretrained network of KerasHub, once",
        description="Download a preset of KerasHub into model.backbone_folder of params.yaml. It needs the extra hub: "
        "pip install -c requirements.lock -e '.[hub]'",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("name", metavar="NAME", help="preset, such as dinov2_small or siglip_base_patch16_224")
    command.add_argument("--params", type=Path, default=Path("params.yaml"), help="file (default: %(default)s)")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run ``posterity fetch-backbone``."""
    folder = Path(load_params(args.params).model.backbone_folder)

    from posterity.nn import device

    device.load_backend()  # holds back the lines that TensorFlow logs while it loads

    from posterity.nn.networks import fetching

    source = fetching.fetch(args.name, folder)
    print(printable(f"{folder / args.name}: the preset {args.name} from {source['handle']}."))
    licence = f"Licence: {source['licence']}." if source["licence"] else "Its licence could not be asked for."
    print(printable(f"{licence} Read the terms before you use it: {source['page']}"))
    print(printable(f"Next: set model.backbone: [{args.name}] and model.name: backbone in {args.params}."))

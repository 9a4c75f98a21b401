"""The command `posterity check`: what can be said of params.yaml and the data it names before a stage runs."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from posterity import dvc_state
from posterity.config.load import load_params
from posterity.config.stage_arguments import PATHS
from posterity.errors import UserError
from posterity.text import printable

if TYPE_CHECKING:
    from posterity.config.schema import Params

SAMPLE = Path("data/sample")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser of `posterity`."""
    command = commands.add_parser(
        "check",
        help="check params.yaml, the paths in it, the split, and DVC's own files",
        description="Check params.yaml as the stages do, that the data and the backbones it names are there, and that "
        "the rows can be split and dealt into folds. DVC itself looks only at the parameters that a stage lists, and "
        "says less about a missing file. Before that, look for damage that a kill or a full disk has done to DVC's own "
        "files.",
    )
    command.add_argument(
        "--repair", action="store_true", help="remove damaged files of DVC that it makes anew, and say which"
    )
    command.add_argument("--params", type=Path, default=Path("params.yaml"), help="file (default: %(default)s)")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run ``posterity check``."""
    _check_dvc(repair=args.repair)
    params = load_params(args.params)
    _check_paths(params, args.params)
    _check_reuse_folder(params)
    if params.model.name == "backbone":
        _check_backbones(params)
    expected = _expected_split(params) if Path(params.data.labels).is_file() else ""
    print(f"{printable(args.params)}: no mistake found.{expected}")


def _check_dvc(*, repair: bool) -> None:
    """Say what is damaged of DVC's own files, and mend what can be mended without loss, if that is asked for."""
    damages = dvc_state.find()
    if repair:
        for done in dvc_state.repair(damages):
            print(done)
        damages = dvc_state.find()
    if damages:
        raise UserError("\n".join(f"{damage.path} {damage.what}. {damage.fix}" for damage in damages))


def _check_paths(params: "Params", file: Path) -> None:
    from posterity.dataset import image_folder

    data, folder = params.data, params.model.backbone_folder
    missing = []
    # The sample is drawn by the pipeline, so it may be absent.
    if not Path(data.images).is_dir() and not Path(data.images).is_relative_to(SAMPLE):
        missing.append(f"{file}: data.images must be a folder of images. Got {data.images!r}. Correct the path.")
    elif Path(data.images).is_dir() and (found := image_folder.stops_dvc(Path(data.images))):
        missing.append(f"{file}: {found}")
    if not Path(data.labels).is_file() and not Path(data.labels).is_relative_to(SAMPLE):
        missing.append(f"{file}: data.labels must be a CSV file. Got {data.labels!r}. Correct the path.")
    if not Path(folder).is_dir():
        missing.append(f"{file}: model.backbone_folder must be a folder. Got {folder!r}. Correct the path.")
    if missing:
        raise UserError("\n".join(missing))


def _check_reuse_folder(params: "Params") -> None:
    from posterity.cache import reuse_folder

    if params.machine.reuse_folder is None:
        return
    used = {
        "data.images": params.data.images,
        "data.labels": params.data.labels,
        "model.backbone_folder": params.model.backbone_folder,
    } | {f"--{name}": PATHS[name][0] for name in ("tensors", "rows", "features", "manifest")}
    reuse_folder.check_folder(Path(params.machine.reuse_folder), {name: Path(path) for name, path in used.items()})


def _check_backbones(params: "Params") -> None:
    """Raise a `UserError` if a backbone is not there. Whether it takes the images, only its stage can tell."""
    from posterity.nn import device

    device.load_backend()

    from posterity.nn.networks import backbones

    for entry in params.model.backbone:
        backbones.check_there(entry, params.model.backbone_folder)


def _expected_split(params: "Params") -> str:
    """Say how many rows each side will have, each line after a line break.

    Raises
    ------
    UserError
        That of a split that fails, or of training rows that are too few for their folds.
    """
    from posterity.dataset.dry_split import dry_split, rows_of_several_labels
    from posterity.dataset.options import TableForm
    from posterity.evaluation.folds import training_folds, warn_of_large_part
    from posterity.splitting import sides
    from posterity.splitting.groups import possible_folds
    from posterity.splitting.options import SplitOptions

    form = TableForm(
        **params.data.model_dump(include=set(TableForm.__annotations__)),
        group_column=params.split.group_column,
        side_column=params.split.side_column,
    )
    if params.decide.exactly_one and (numbers := rows_of_several_labels(params.data.labels, form))[0]:
        print(
            f"WARNING: decide.exactly_one is true, and {numbers[0]:,} of {numbers[1]:,} images of {params.data.labels} "
            "have two labels or more. Stage evaluate stops if one of them is for validation.",
            file=sys.stderr,
        )
    options = SplitOptions(**params.split.model_dump(include=set(SplitOptions.__annotations__)))
    split = dry_split(params.data.labels, form, options, seed=params.seed)
    # The stages know of more rows that belong together, and never of fewer.
    groups = split.groups[split.sides == "train"]
    warn_of_large_part(training_folds(groups, folds=params.train.folds, repeats=1, seed=params.seed))
    possible_folds(split.groups[split.sides == "validation"], wanted=params.decide.folds)
    counts = f"{printable(params.data.labels)}: {sides.in_words(sides.count_rows(split.sides))}"
    return "".join(f"\n{printable(line)}" for line in (*split.notes, counts))

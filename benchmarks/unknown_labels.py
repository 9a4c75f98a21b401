"""Is it worth it to say that a label is unknown, instead of writing 0?

    dvc repro && python benchmarks/unknown_labels.py data

Takes the folder `data` of a project whose labels are all known, after `dvc repro` with model.name: backbone. It hides
some cells of the training labels at random and trains the head that params.yaml describes on the cached features: on
all labels, on the ones that are left (the others being unknown, and masked), and on the ones that are left with 0 in
the place of the others. The validation labels are never hidden. Prints Markdown tables: the figures of each (mean over
the seeds, and their standard deviation), and what unknown gains over absent, seed by seed. A seed is that of the
hiding, of the first weights and of the order of batches.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from posterity.cache import rows as cached_rows
from posterity.cache.features import FeatureCache
from posterity.config.load import load_params
from posterity.errors import UserError
from posterity.evaluation import metrics
from posterity.script import run
from posterity.splitting import split_file
from posterity.targets import ABSENT, UNKNOWN, is_known

FIGURES = ("bce", "skill", "map_macro")
CONTENDERS = ("not hidden", "unknown", "absent")


def hide(
    targets: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], share: float, written: int, seed: int
) -> npt.NDArray[np.uint8]:
    """Copy ``targets`` with ``written`` in a random ``share`` of the cells of ``rows``: the same ones for a seed."""
    hidden = targets.copy()
    is_hidden = np.random.default_rng(seed).random((len(rows), targets.shape[1])) < share
    hidden[rows] = np.where(is_hidden, written, targets[rows])
    return hidden


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with rows, features and split.csv")
    parser.add_argument("--params", default="params.yaml", help="recipe of the head (default: %(default)s)")
    parser.add_argument("--hide", type=float, default=0.3, help="share of the cells (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from 1 (default: %(default)s)")
    args = parser.parse_args()

    params = load_params(args.params)
    rows, features = cached_rows.read(args.data / "rows"), FeatureCache(args.data / "features")
    train, validation, _ = split_file.read(args.data / "split.csv", rows.index)
    if not features.backbones:
        raise UserError(f"{args.data / 'features'}: expected features. Got none: set model.name: backbone.")
    if not is_known(rows.targets).all():
        raise UserError(f"{args.data / 'rows'}: expected labels that are all known, so that some can be hidden.")

    from posterity.nn import device

    device.configure(params.machine.device, seed=params.seed)

    import keras

    from posterity.nn.training.trainer import Trainer, TrainingData
    from posterity.nn.training.transfer_learning import fit_head

    def validation_scores(targets: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.float32]:
        """Train a head as `posterity.nn.training.transfer_learning` does; its scores of the validation rows."""
        keras.utils.set_random_seed(seed)
        frequencies = metrics.label_frequencies(targets[train])
        trainer = Trainer(params.train, TrainingData(targets, train, validation, frequencies), seed=seed)
        return fit_head(trainer, features, params.model.head).score(validation)

    prior = metrics.label_frequencies(rows.targets[train])  # the same for all: the skill is over what all labels say
    found = np.empty((len(CONTENDERS), args.seeds, len(FIGURES)))
    for number in range(args.seeds):
        seed = number + 1
        partly = (hide(rows.targets, train, args.hide, written, seed) for written in (UNKNOWN, ABSENT))
        for contender, targets in enumerate((rows.targets, *partly)):
            figures = metrics.evaluate(rows.targets[validation], validation_scores(targets, seed), prior)
            found[contender, number] = [figures[name] for name in FIGURES]

    print(f"\n{len(train):,} rows to train, {len(validation):,} to validate, {rows.targets.shape[1]} labels, ", end="")
    print(f"{args.hide:.0%} of the training cells hidden, {args.seeds} seeds.\n")
    print(f"| hidden cells are | {' | '.join(FIGURES)} |\n|---|{'---:|' * len(FIGURES)}")
    spread = found.std(axis=1, ddof=1) if args.seeds > 1 else np.zeros_like(found[:, 0])
    for name, mean, deviation in zip(CONTENDERS, found.mean(axis=1), spread, strict=True):
        cells = (f"{m:.4f} ± {d:.4f}" for m, d in zip(mean, deviation, strict=True))
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\n| unknown minus absent | {' | '.join(FIGURES)} |\n|---|{'---:|' * len(FIGURES)}")
    for number, gain in enumerate(found[1] - found[2]):
        print(f"| seed {number + 1} | {' | '.join(f'{value:+.4f}' for value in gain)} |")


if __name__ == "__main__":
    run(main)

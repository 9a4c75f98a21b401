"""The command `posterity search`: try values of the parameters of a head, and say which were best, and by how much."""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from posterity import files, recipes, resume_folder
from posterity.cache import rows as cached_rows
from posterity.cache.features import FeatureCache
from posterity.config import yaml12
from posterity.config.load import load_params
from posterity.config.schema import Params
from posterity.config.stage_arguments import PATHS
from posterity.errors import UserError
from posterity.evaluation import bootstrap, fold_figures, metrics
from posterity.evaluation.folds import training_folds
from posterity.evaluation.scored_rows import ScoredRows, checked
from posterity.searching import space as spaces
from posterity.searching.study import Study
from posterity.searching.trials import (
    RECIPE_BEGINS,
    TABLE_BEGINS,
    Kept,
    Outcome,
    Trial,
    best_of,
    check_own,
    failed,
    recipe_text,
    table,
)
from posterity.splitting import split_file
from posterity.splitting.groups import groups_of
from posterity.text import printable, shell_word
from posterity.verifying.recorded import changed_stages

CACHE = Path("data/.resume/search")
STAGES = ("features", "split")
FOLDS = 5  # if train.folds asks for none
MEASURED = 0  # the folds that trials are compared on
NEW = 1  # others, with other seeds, for what nothing may be chosen by
EPILOG = f"""\
examples:
  posterity search --trials 30
  posterity search --trials 50 --space mine.yaml --timeout 60

Every trial trains a head for each of train.folds folds of the training images ({FOLDS} if that is 1) on the cached
features, and scores each image by the head that did not see it. The loss of these scores is minimised; the validation
and the test side have no part. Trial 0 is params.yaml as it is. What is interrupted goes on where it was when the same
command is given again, and a larger --trials goes on from a smaller one.

The best of many trials is a little worse than its figure says: part of what made it the best is luck with its folds.
So it is trained again on new folds with other seeds, and so is params.yaml, and both are shown.

The space, unless --space names a file of the same form: a list of values, or {{low, high}} with `log: true` or a step,
for parameters of train and model.head.

{"".join(f"  {line}" for line in spaces.DEFAULT.splitlines(keepends=True))}"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser of `posterity`."""
    command = commands.add_parser(
        "search",
        help="search parameters of a head on frozen backbones",
        description="Search values of parameters of a head on frozen backbones by Optuna, on out-of-fold scores of the "
        "training images, and write a table of the trials and a recipe with the best values. No output of a stage is "
        "touched. It needs the extra search: pip install -c requirements.lock -e '.[search]'",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--trials", type=_positive, default=20, metavar="N", help="trials (default: %(default)s)")
    command.add_argument(
        "--seed", type=_seed, help="of the values that are tried; the trainings have that of params.yaml (default: it)"
    )
    command.add_argument("--timeout", type=_positive, metavar="MINUTES", help="begin no trial after so many minutes")
    command.add_argument("--space", type=Path, metavar="FILE", help="YAML file with what to search (default: below)")
    command.add_argument(
        "--table", type=Path, default=Path("metrics/search.csv"), help="table of the trials (default: %(default)s)"
    )
    command.add_argument(
        "--best", type=Path, default=Path("data/search_best.yaml"), help="recipe of the best (default: %(default)s)"
    )
    command.add_argument("--params", type=Path, default=Path("params.yaml"), help="file (default: %(default)s)")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run ``posterity search``."""
    params = load_params(args.params)
    _check_searchable(params, args.params)
    check_own(args.table, TABLE_BEGINS, "--table")
    check_own(args.best, RECIPE_BEGINS, "--best")
    space = _space(args.space, params, args.params)
    study = Study(space, params.seed if args.seed is None else args.seed)
    if changed := changed_stages(STAGES, with_upstream=True):
        raise UserError(
            f"A search takes features and split as they are: expected them to be up to date. Got changes of "
            f"{', '.join(changed)}. Run `dvc repro {' '.join(STAGES)}`."
        )
    data = _Data.read(params)
    files.check_writable(args.table, args.best)
    with resume_folder.exclusive(CACHE, "posterity search"):
        inputs = [
            Path(PATHS["split"][0]),
            Path(PATHS["features"][0]) / "meta.json",
            *sorted(Path(PATHS["rows"][0]).iterdir()),
        ]
        kept = Kept(CACHE / resume_folder.work_key(params.machine.device.model_dump_json(), inputs)[:16])
        evaluate = _evaluator(params, data, kept)
        try:
            trials = _try(args, params, space, study, evaluate)
            _conclude(args, params, data, trials, evaluate)
        except KeyboardInterrupt as stopped:
            stopped.add_note("The finished trials are kept; the same command goes on with the next one.")
            raise


@dataclass(frozen=True, eq=False)
class _Data:
    """The training rows, and what is known of them.

    Attributes
    ----------
    targets : ndarray of uint8, shape (num_rows, num_labels)
        Labels of all rows of the cache.
    train_rows : ndarray of int, shape (N,)
        The rows to train on.
    groups : ndarray of int, shape (N,)
        Training rows of one group are copies of each other.
    fold_of_row : ndarray of int, shape (2, N)
        The folds that trials are compared on, and new ones.
    features : FeatureCache
        Of all rows.
    """

    targets: npt.NDArray[np.uint8]
    train_rows: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    fold_of_row: npt.NDArray[np.int64]
    features: FeatureCache

    @classmethod
    def read(cls, params: Params) -> "_Data":
        rows = cached_rows.read(PATHS["rows"][0])
        train_rows = split_file.read(PATHS["split"][0], rows.index).train
        features = FeatureCache(PATHS["features"][0])
        # DVC has looked at params.yaml, and the parameters may be those of another file.
        features.check(params.model.backbone, params.model.pyramid_levels, len(rows))
        groups = groups_of(rows.index.iloc[train_rows])
        folds = max(params.train.folds, 2)
        if params.train.folds == 1:
            folds = min(FOLDS, len(np.unique(groups)))
            if folds < 2:
                raise UserError(
                    "A search needs training images for at least two folds; copies, and images of one "
                    f"split.group_column, count as one. Got {len(train_rows):,} in one group. Train on more."
                )
            print(f"train.folds is 1: the search cuts the {len(train_rows):,} training images into {folds} folds.")
        fold_of_row = training_folds(groups, folds=folds, repeats=2, seed=params.seed)
        return cls(rows.targets, train_rows, groups, fold_of_row, features)

    def rows(self, outcome: Outcome) -> ScoredRows:
        """The training rows with the scores of an outcome."""
        return checked(self.targets[self.train_rows], outcome.scores)

    def figures(self, scores: npt.NDArray[np.float32]) -> dict[str, float]:
        """The figures of the training rows by their out-of-fold scores."""
        labels = self.targets[self.train_rows]
        return fold_figures.main_figures(checked(labels, scores), metrics.label_frequencies(labels))


def _check_searchable(params: Params, file: Path) -> None:
    """Raise a `UserError` unless ``params`` is of a head on features, with nothing chosen by the validation side."""
    wrong = []
    if params.model.name != "backbone" or params.model.mode != "frozen":
        wrong.append(
            "a search trains heads on cached features: expected model.name: backbone and model.mode: frozen. Got "
            f"{params.model.name} and {params.model.mode}. Change them, for instance by `posterity use "
            "recipes/frozen_backbone.yaml`, then `dvc repro features`."
        )
    if params.train.keep_epoch != "last":
        wrong.append(
            "train.keep_epoch must be last for a search, in which the validation side has no part. Got "
            f"{params.train.keep_epoch}. Change it."
        )
    if params.train.early_stopping is not None:
        wrong.append(
            "train.early_stopping must be null for a search, in which the validation side has no part. Got "
            f"{params.train.early_stopping}. Change it; train.epochs can be searched instead."
        )
    if params.machine.processes.count != 1:
        wrong.append(
            f"machine.processes.count must be 1 for a search. Got {params.machine.processes.count}. Change it."
        )
    if params.machine.device.strategy != "single":
        wrong.append(
            f"machine.device.strategy must be single for a search. Got {params.machine.device.strategy}. Change it."
        )
    if wrong:
        raise UserError("\n".join(f"{file}: {line}" for line in wrong))


def _space(file: Path | None, params: Params, params_file: Path) -> spaces.Space:
    if file is not None:
        return spaces.parse(yaml12.read(str(file)), params, str(file))
    if params.train.optimizer != "adamw":
        raise UserError(
            f"{params_file}: the default space of a search is for train.optimizer: adamw. "
            f"Got {params.train.optimizer}. Change it, or name a space of your own by --space."
        )
    return spaces.parse(yaml12.parse(spaces.DEFAULT), params, f"{params_file} with the default space")


Evaluate = Callable[[Params, int], tuple[Outcome, bool]]


def _evaluator(params: Params, data: _Data, kept: Kept) -> Evaluate:
    """A function from parameters and the number of a repeat to the outcome, and whether it was known before."""
    made: list[Any] = []  # TensorFlow is loaded when there is something to train

    def evaluate(tried: Params, repeat: int) -> tuple[Outcome, bool]:
        recipe = {
            "head": tried.model.head.model_dump(mode="json"),
            "train": tried.train.model_dump(mode="json", exclude={"folds", "repeats"}),
            "folds": [params.seed, int(data.fold_of_row.max()) + 1, repeat],
            "rows_per_shard": params.image.rows_per_shard,
        }
        if (found := kept.read(recipe)) is not None:
            return found, True
        if not made:
            made.append(_heads(params, data))

        from posterity.nn.training.fit import DivergedError

        try:
            scores = made[0].out_of_fold(tried.model.head, tried.train, repeat=repeat)
            outcome = Outcome(data.figures(scores), scores)
        except DivergedError:
            outcome = failed("the loss was not finite")
        kept.write(recipe, outcome, with_scores=repeat == NEW)
        return outcome, False

    return evaluate


def _heads(params: Params, data: _Data) -> Any:
    from posterity.nn import device

    device.configure(params.machine.device, seed=params.seed)

    from posterity.nn.training.search import HeadTrials

    return HeadTrials(
        data.features,
        data.targets,
        data.train_rows,
        data.fold_of_row,
        seed=params.seed,
        rows_per_shard=params.image.rows_per_shard,
        xla=params.machine.device.xla,
    )


def _try(
    args: argparse.Namespace, params: Params, space: spaces.Space, study: Study, evaluate: Evaluate
) -> list[Trial]:
    """Run the trials one after the other; after each, the table holds all that are finished."""
    began = time.monotonic()
    trials: list[Trial] = []
    for number in range(args.trials + 1):
        minutes = (time.monotonic() - began) / 60
        if args.timeout is not None and number > 1 and minutes >= args.timeout:
            print(f"{args.timeout} minutes are over: {number - 1} of {args.trials} trials. The same command goes on.")
            break
        values = study.ask() if number else spaces.values_of(params, space)
        started = time.monotonic()
        try:
            tried = spaces.with_values(params, values, f"trial {number}")
        except UserError as error:  # such as more epochs of warm-up than epochs
            outcome, known = failed(" ".join(str(error).split())), False
        else:
            outcome, known = evaluate(tried, MEASURED)
        if number:
            study.tell(outcome.loss)
        trials.append(Trial(number, values, outcome))
        files.write_csv(args.table, table(trials))
        took = "known" if known else f"{time.monotonic() - started:.0f} s"
        best = best_of(trials)
        print(f"{_line(trials[-1])} ({took}); best so far: {'none' if best is None else best.number}", flush=True)
    return trials


def _line(trial: Trial) -> str:
    names = [key.rsplit(".", 1)[-1] for key in trial.values]
    named = zip(names if len(set(names)) == len(names) else trial.values, trial.values.values(), strict=True)
    values = ", ".join(f"{name} {recipes.shown(value)}" for name, value in named)
    what = trial.outcome.problem or _figures(trial.outcome)
    return printable(f"trial {trial.number}{'' if trial.number else ' (params.yaml)'}: {what}; {values}")


def _figures(outcome: Outcome) -> str:
    return ", ".join(f"{name} {outcome.figures[name]:.4f}" for name in ("bce", "map_macro") if name in outcome.figures)


def _conclude(args: argparse.Namespace, params: Params, data: _Data, trials: list[Trial], evaluate: Evaluate) -> None:
    """Train the best trial and params.yaml again on new folds, write the recipe, and say what it is worth."""
    best = best_of(trials)
    if best is None:
        raise UserError(
            f"None of {len(trials)} trials has a finite loss; {args.table} has the reasons. Search lower values of "
            "train.learning_rate."
        )
    which = "The best and params.yaml are" if best.number else "params.yaml is"
    print(f"{which} trained again on new folds, with other seeds ...", flush=True)
    again = evaluate(spaces.with_values(params, best.values, f"trial {best.number}"), NEW)[0]
    base = evaluate(params, NEW)[0] if best.number else again
    lines = [_compared(f"trial {best.number}", best.outcome, again)]
    if best.number:
        lines.append(_compared("params.yaml", trials[0].outcome, base))
    verdict = _verdict(params, data, best, base, again)
    folds = int(data.fold_of_row.max()) + 1
    head = [
        f"{RECIPE_BEGINS.removeprefix('# ')}{len(trials) - 1} trials of `posterity search`, beside what params.yaml "
        "had then.",
        f"Out-of-fold figures of {len(data.train_rows):,} training images in {folds} folds:",
        *lines,
        verdict,
    ]
    with files.replacing(args.best) as temporary:
        text = recipe_text(head, _recipe(spaces.with_values(params, best.values, f"trial {best.number}")))
        temporary.write_text(text, encoding="utf-8", newline="\n")
    print("\n".join(("", *head[1:])))
    if best.number:
        print(
            f"The first figure of the best is too good: it was chosen for it among {len(trials)}. The one on new folds "
            f"is not.\nNext: `posterity use {shell_word(args.best)}`, then `dvc repro`."
        )
    print(printable(f"Table: {args.table}"))


def _compared(name: str, first: Outcome, new: Outcome) -> str:
    return f"{name}: {first.problem or _figures(first)}; on new folds {new.problem or _figures(new)}."


def _verdict(params: Params, data: _Data, best: Trial, base: Outcome, again: Outcome) -> str:
    """What the values of the best trial are worth on folds that nothing was chosen by."""
    if not best.number:
        return "No trial was better than params.yaml as it is."
    if base.problem or again.problem:
        return "On new folds the two cannot be compared."
    lower, low, high = bootstrap.loss_difference(
        data.rows(base),
        data.rows(again),
        num_samples=params.evaluate.bootstrap_samples,
        seed=params.seed,
        groups=data.groups,
    )
    interval = f"{lower:.4f} (95 % interval over the images: {low:.4f} to {high:.4f})"
    if low <= 0 <= high:
        return f"On new folds its bce is lower by {interval}: no more than chance."
    return f"On new folds its bce is {'lower' if lower > 0 else 'HIGHER'} by {interval}."


def _recipe(params: Params) -> Mapping[str, Any]:
    """All that was measured together, in the sections of params.yaml."""
    model = params.model.model_dump(
        mode="json", include={"name", "backbone", "weights", "pyramid_levels", "mode", "head"}
    )
    return {"model": model, "train": params.train.model_dump(mode="json", exclude={"folds", "repeats"})}


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**32 - 1}, got {text}")
    return int(text)

"""The command `posterity noise`: train with several seeds, and say how far the figures move by that alone."""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from posterity import files, recipes, resume_folder
from posterity.config.load import load_params
from posterity.config.stage_arguments import PATHS
from posterity.errors import UserError
from posterity.verifying import noise
from posterity.verifying.lock_file import LockFile, digest
from posterity.verifying.recorded import LOCK, changed_stages

CACHE = Path("data/.resume/noise")
EPILOG = """\
example:
  posterity noise --seeds 3

The data, the split and the recipe are those of the finished run, which counts as the first seed. Each other seed costs
a training. What is interrupted goes on with the next seed when the command is given again. `posterity verify --against`
uses the result, metrics/noise.json, as long as recipe, data, split and code stay the same; commit it to Git.
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser of `posterity`."""
    command = commands.add_parser(
        "noise",
        help="measure how far the figures move with the seed",
        description="Train and evaluate with several seeds, and write mean and spread of every figure to "
        f"{noise.NOISE}. No output of a stage is touched.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--seeds", type=_several, default=3, help="number of seeds, at least 2 (default: %(default)s)")
    command.add_argument("--params", type=Path, default=Path("params.yaml"), help="file (default: %(default)s)")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Run ``posterity noise``."""
    first = load_params(args.params).seed
    _check_finished()
    depends = noise.depends_on(LockFile(Path(LOCK).read_text(encoding="utf-8"), LOCK))
    known = CACHE / digest(depends)[:16]
    runs: dict[int, dict[str, float]] = {}
    with _alone():
        for number, seed in enumerate(noise.seeds_from(first, args.seeds), start=1):
            place = f"seed {seed} ({number} of {args.seeds})"
            kept = known / f"seed-{seed}.json"
            if seed == first:
                runs[seed] = _figures(Path(PATHS["metrics"][0]), Path(PATHS["train-metrics"][0]))
                print(f"{place}: the finished run.", flush=True)
            elif (found := _kept(kept)) is not None:
                runs[seed] = found
                print(f"{place}: known from an earlier run of this command.", flush=True)
            else:
                print(f"{place}: training ...", flush=True)
                started = time.monotonic()
                runs[seed] = _train(args.params, seed, known / f"seed-{seed}")
                files.write_json(kept, {"figures": runs[seed], "sum": digest(files.rounded(runs[seed]))})
                print(f"{place}: trained and evaluated in {time.monotonic() - started:.0f} s.", flush=True)
    content: dict[str, Any] = files.rounded(noise.summary(runs, depends))
    files.write_json(noise.NOISE, content)
    _show(content)


def _train(params: Path, seed: int, folder: Path) -> dict[str, float]:
    """Run the stages with another seed, with all outputs in ``folder``, which is removed in the end."""
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir(parents=True)
    try:
        text, _ = recipes.change(params, {"seed": seed}, source="posterity noise")
        (folder / "params.yaml").write_text(text, encoding="utf-8")
        written = {
            "train": {"summary", "history", "metrics", "environment"},
            "evaluate": {"model", "table", "suspects", "metrics", "folds", "plots"},
        }
        made = {"trained": "trained.keras", "scores": "scores.npy", "out-of-fold": "out_of_fold.npy"}
        for stage, options in written.items():
            paths = {"params": "params.yaml"} | made | {name: f"{stage}-{name}" for name in options}
            paths |= {"metrics": f"{stage}.json"}
            _script(stage, {name: str(folder / file) for name, file in paths.items()}, seed)
        return _figures(folder / "evaluate.json", folder / "train.json")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _script(stage: str, paths: dict[str, str], seed: int) -> None:
    script = Path("src", f"{stage}.py")
    if not script.is_file():
        raise UserError(f"{script} does not exist here. Run from the repository's root.")
    options = [word for name, path in sorted(paths.items()) for word in (f"--{name}", path)]
    # What the scripts say of each epoch is the progress; the outcome of evaluate is not that of the finished run.
    silent = {"stdout": subprocess.DEVNULL} if stage == "evaluate" else {}
    with subprocess.Popen([sys.executable, str(script), *options], **silent) as process:  # type: ignore[call-overload]
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            raise
    if code:
        raise UserError(
            f"{script} with seed {seed} ended with {code}; its message stands above. What earlier seeds gave is kept: "
            "correct the cause and give the command again."
        )


def _check_finished() -> None:
    """Make sure that the outputs of train and evaluate are those of the parameters, the data and the code."""
    if status := changed_stages(noise.STAGES):
        raise UserError(
            f"Noise is measured beside a finished run: expected stages train and evaluate to be up to date. "
            f"Got changes of {', '.join(status)}. Run `dvc repro` first."
        )


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold the cache for this process, and remove the folders that killed ones left in it."""
    with resume_folder.exclusive(CACHE, "posterity noise"):
        for left in CACHE.glob("*/seed-*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
        yield


def _kept(path: Path) -> dict[str, float] | None:
    """The figures of a seed that an earlier run has kept; None if there are none, or if they have been changed."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        found: dict[str, float] = content["figures"]
        return found if content["sum"] == digest(found) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _figures(evaluate: Path, train: Path) -> dict[str, float]:
    return noise.figures(files.read_json(evaluate), files.read_json(train))


def _show(content: dict[str, Any]) -> None:
    seeds = content["seeds"]
    moving = {name: found for name, found in content["figures"].items() if found["std"] > 0}
    width = max((len(name) for name in moving), default=0)
    print(f"\n{'figure':<{width}}  {'mean':>10}  {'spread':>10}  {'min':>10}  {'max':>10}")
    for name, found in moving.items():
        values = "  ".join(f"{found[key]:>10.4f}" for key in ("mean", "std", "min", "max"))
        print(f"{name:<{width}}  {values}")
    same = len(content["figures"]) - len(moving)
    print(
        f"\n{len(seeds)} seeds, {seeds[0]} to {seeds[-1]}; {same} figures do not move. Spread is the standard "
        f"deviation: two runs differ by more than {noise.band(1, len(seeds)):.1f} of it in 1 of 20 cases.\n"
        f"Written to {noise.NOISE}; commit it to Git."
    )


def _several(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 2, got {text}")
    return int(text)

"""The long part of the fault harness: thousands of faults, and a table of what came of them.

    python tests/faults/long_run.py --kills 1000 --flips 2000 --soak 200 --seed 0

Exit code 0 = all went right without a traceback and without help. The table is on stdout in the end; the folder
``--output`` gets it after every part (table.md), with one line for each trial that went wrong (wrong.txt). The same
seed tries the same faults in the same order; where in a run a kill at a time falls depends on the machine all the same.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "src")]

from faults import determinism, disk, flips, hostile, kills, signals, soak, stage_files, together  # noqa: E402
from faults.bench import Bench  # noqa: E402
from faults.outcomes import Table, Trial  # noqa: E402

PARTS = ("kills", "flips", "disk", "signals", "together", "hostile", "determinism", "soak")
# Shares of the kills and flips: a trial of the first three stages takes a second, one of train twenty.
KILLS = {
    ("scratch", "validate"): 5.0, ("scratch", "preprocess"): 6.0, ("scratch", "split"): 4.0,
    ("scratch", "features"): 2.0, ("scratch", "evaluate"): 6.0, ("scratch", "final_test"): 1.5,
    ("scratch", "report"): 1.0,
    ("scratch", "predict"): 1.5, ("scratch", "train"): 0.6, ("frozen", "features"): 1.5, ("frozen", "train"): 1.0,
    ("frozen", "evaluate"): 0.5, ("finetune", "train"): 0.3, ("rich", "train"): 0.3,
}  # fmt: skip
DVC_KILLS = {"split": 1.0, "validate": 1.0, "preprocess": 0.6, "evaluate": 0.6, "train": 0.2}
THREE_KILLS = 0.1
PROGRESS_S = 30
FLIPS = {
    ("scratch", "preprocess"): 6.0, ("scratch", "split"): 6.0, ("scratch", "evaluate"): 9.0,
    ("frozen", "features"): 2.0, ("frozen", "train"): 3.0, ("scratch", "train"): 1.0, ("scratch", "final_test"): 2.0,
    ("scratch", "predict"): 1.0, ("scratch", "report"): 1.0,
}  # fmt: skip
PARAMS_FLIPS, LOCK_FLIPS, DVC_FLIPS, FLIPS_AT_REST = 1.5, 0.6, 0.3, 0.9
DVC_FLIPPED = ("preprocess", "split", "evaluate")
SIGNALLED = {"validate": 6, "preprocess": 6, "split": 6, "features": 6, "train": 6, "evaluate": 6, "final_test": 6,
             "report": 6, "predict": 6}  # fmt: skip


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000, help="kills of stages and of DVC (default: %(default)s)")
    parser.add_argument("--flips", type=int, default=2000, help="flipped bits (default: %(default)s)")
    parser.add_argument("--soak", type=int, default=200, help="cycles of edits, runs and kills (default: %(default)s)")
    parser.add_argument("--each", type=int, default=6, help="trials per stage of other faults (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all random choices (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--afresh", action="store_true", help="a Python of its own for every run; ten times slower")
    parser.add_argument("--folder", type=Path, help="where the projects lie (default: a temporary folder)")
    parser.add_argument("--output", type=Path, help="folder for table.md and wrong.txt")
    return parser.parse_args(argv)


def killed(workbench: Bench, number: int, generator: random.Random) -> Iterator[Trial]:
    """About ``number`` kills: half of them at changes of files, the rest in writes and at times."""
    whole = sum(KILLS.values()) + sum(DVC_KILLS.values()) + 3 * THREE_KILLS * 4
    for (recipe, stage), share in KILLS.items():
        part = max(3, round(number * share / whole))
        done = 0
        for older in (True, False):
            for trial in kills.at_changes(workbench, recipe, stage, max(1, part // 4), older=older):
                done += 1
                yield trial
        in_writes = max(1, part // 5)
        yield from kills.in_writes(workbench, recipe, stage, in_writes, generator)
        # There may be fewer changes than were to be tried.
        yield from kills.at_times(workbench, recipe, stage, max(1, part - done - in_writes), generator)
    for recipe, stage in (("rich", "train"), ("frozen", "train"), ("finetune", "train"), ("frozen", "features")):
        runs = max(1, round(number * THREE_KILLS / whole))
        yield from kills.again_and_again(workbench, recipe, stage, runs, generator)
    for name, share in DVC_KILLS.items():
        part = max(2, round(number * share / whole))
        yield from kills.of_dvc(workbench, name, part // 2, generator, at_each=part - part // 2)


def flipped(workbench: Bench, number: int, generator: random.Random) -> Iterator[Trial]:
    """About ``number`` flips, spread over all files that a stage reads."""
    whole = sum(FLIPS.values()) + PARAMS_FLIPS + LOCK_FLIPS + len(DVC_FLIPPED) * DVC_FLIPS + FLIPS_AT_REST

    def part(share: float) -> int:
        return max(1, round(number * share / whole))

    for (recipe, stage), share in FLIPS.items():
        files = stage_files.files_of(workbench.finished(recipe), stage_files.reads(stage))
        yield from flips.in_inputs(workbench, recipe, stage, max(1, -(-part(share) // len(files))), generator)
    yield from flips.in_params(workbench, part(PARAMS_FLIPS), generator)
    yield from flips.in_lock(workbench, part(LOCK_FLIPS), generator)
    for stage in DVC_FLIPPED:
        yield from flips.by_dvc(workbench, "scratch", stage, part(DVC_FLIPS), generator)
    yield from flips.at_rest(workbench, "frozen", part(FLIPS_AT_REST), generator)


def on_full_disks(workbench: Bench, each: int, generator: random.Random) -> Iterator[Trial]:
    """Disks that are full and files that may not be read or written, for every stage."""
    can_mount = workbench.can_mount()
    if not can_mount:
        print("No file system can be mounted here (root may): full disks are skipped.", file=sys.stderr)
    for stage in stage_files.STAGES:
        yield from disk.writes_refused(workbench, "scratch", stage, each, generator)
        if can_mount:
            yield from disk.full(workbench, "scratch", stage, each, generator)
        yield from disk.not_writable(workbench, "scratch", stage)
        yield from disk.not_readable(workbench, "scratch", stage)
    yield from disk.not_readable(workbench, "frozen", "features")
    yield from disk.not_writable(workbench, "frozen", "features")
    yield from disk.full_device(workbench)
    if can_mount:
        yield from disk.full(workbench, "frozen", "features", each, generator)
        yield from disk.full_under_dvc(workbench, 2 * each, generator)


def signalled(workbench: Bench, each: int, generator: random.Random) -> Iterator[Trial]:
    """SIGINT and SIGTERM in every stage."""
    for stage in stage_files.STAGES:
        yield from signals.at_times(workbench, "scratch", stage, each, generator)
    yield from signals.at_times(workbench, "frozen", "features", each, generator)
    yield from signals.at_times(workbench, "finetune", "train", each, generator)


def at_once(workbench: Bench, each: int, generator: random.Random) -> Iterator[Trial]:
    """Two runs at once, and stages whose DVC dies."""
    for stage in stage_files.STAGES:
        yield from together.two_stages(workbench, "scratch", stage, max(1, each // 2), generator)
    for name in ("split", "preprocess"):
        yield from together.two_dvc(workbench, name, max(1, each // 2), generator)
    # A training: whatever else a stage does on this project is done before anybody looks.
    yield from together.orphans(workbench, "train", each, generator)


def attacked(workbench: Bench, generator: random.Random) -> Iterator[Trial]:
    """Hostile models, pickles and special files."""
    for stage in hostile.READERS:
        yield from hostile.models(workbench, stage, generator)
        yield from hostile.models(workbench, stage, generator, with_lock=True)
    yield from hostile.pickles(workbench, ["split", "evaluate", "train", "final_test"])
    for stage in hostile.PLACES:
        yield from hostile.special_files(workbench, stage)


def elsewhere(workbench: Bench) -> Iterator[Trial]:
    """Clean runs under other circumstances."""
    for recipe in ("scratch", "frozen"):
        for name in determinism.VARIANTS:
            yield determinism.elsewhere(workbench, recipe, name)
        yield determinism.threads(workbench, recipe)[0]


def main() -> None:
    args = parse_args()
    table = Table()
    with tempfile.TemporaryDirectory() as temporary, Bench(args.folder or Path(temporary), afresh=args.afresh) as bench:
        parts: dict[str, Callable[[random.Random], Iterator[Trial]]] = {
            "kills": lambda generator: killed(bench, args.kills, generator),
            "flips": lambda generator: flipped(bench, args.flips, generator),
            "disk": lambda generator: on_full_disks(bench, args.each, generator),
            "signals": lambda generator: signalled(bench, args.each, generator),
            "together": lambda generator: at_once(bench, args.each, generator),
            "hostile": lambda generator: attacked(bench, generator),
            "determinism": lambda _: elsewhere(bench),
            "soak": lambda generator: soak.Soak(bench, generator).cycles(args.soak, check_every=50),
        }
        try:
            for name in args.only:
                started = reported = time.monotonic()
                # Each part has its own generator, so that --only does not change what it tries.
                for number, trial in enumerate(parts[name](random.Random(f"{args.seed} {name}")), 1):
                    table.extend([trial])
                    if time.monotonic() - reported > PROGRESS_S:
                        reported = time.monotonic()
                        print(f"{name}: {number:,} tried in {reported - started:,.0f} s", file=sys.stderr)
                        report(table, args.output)
                    if not trial.is_right or trial.is_manual:
                        print(f"wrong: {trial.kind}, {trial.stage}: {trial.what}: {trial.problems}", file=sys.stderr)
                print(f"{name}: {time.monotonic() - started:,.0f} s", file=sys.stderr)
                report(table, args.output)
        finally:
            report(table, args.output)
    print(table.as_text())
    sys.exit(0 if table.is_clean else 1)


def report(table: Table, folder: Path | None) -> None:
    """Write what is known so far."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table.md").write_text(table.as_text() + "\n", encoding="utf-8")
        (folder / "wrong.txt").write_text(table.wrong() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Full disks, and files and folders that may not be read or written.

Right is exit code 2 with one message, outputs that are as before or whole, and the right bytes from the next run once
the fault is gone. A full disk is a file system of its own where that can be mounted, otherwise a limit of the size of
a file, which Python sees in the same place of the code.
"""

import random
import stat
from collections.abc import Iterator
from pathlib import Path

from faults import bench, stage_files
from faults.bench import Bench
from faults.outcomes import Trial
from faults.runner import Ended

TOO_LARGE, FULL, FULL_DVC, DEVICE, READ_ONLY, UNREADABLE = (
    "write refused", "full disk", "full disk under dvc repro", "/dev/full", "read-only", "unreadable",
)  # fmt: skip
SPACE_KB = 60_000  # an undisturbed training of the tiny project has 36,000 on the disk at its peak
NOT_THE_FILE = ("data", "models", "metrics", "TMPDIR", "tmp", "stdout", "disk", "space")


def writes_refused(workbench: Bench, recipe: str, stage: str, number: int, generator: random.Random) -> Iterator[Trial]:
    """The system refuses a write that makes a file longer than so many bytes (EFBIG; a full disk gives ENOSPC)."""
    sizes = _sizes(workbench, recipe, stage)
    for _ in range(number):
        older = generator.random() < 0.5
        workbench.fresh(recipe, without=stage, older=older)
        largest = generator.randrange(max(1, max(sizes) if generator.random() < 0.5 else generator.choice(sizes)))
        ended = workbench.run(stage, largest_file=largest)
        yield _trial(workbench, TOO_LARGE, recipe, stage, f"{recipe}, older={older}, {largest} bytes", ended)


def full(workbench: Bench, recipe: str, stage: str, number: int, generator: random.Random) -> Iterator[Trial]:
    """The project lies on a file system with little space left: from nothing to what the stage writes."""
    needed_kb = sum(_sizes(workbench, recipe, stage)) // 1024 + 4 * len(_sizes(workbench, recipe, stage))
    for _ in range(number):
        older, spare_kb = generator.random() < 0.5, 4 * generator.randint(0, needed_kb // 4)
        with workbench.on_a_small_disk(SPACE_KB):
            workbench.fresh(recipe, without=stage, older=older)
            used_kb = workbench.used_kb()
            bench.remount(workbench.disk, used_kb + spare_kb)
            ended = workbench.run(stage)
            problems = workbench.lost(recipe, stage)
            bench.remount(workbench.disk, SPACE_KB)
            what = f"{recipe}, older={older}, {spare_kb} KB left"
            yield _trial(workbench, FULL, recipe, stage, what, ended, problems)


def full_under_dvc(workbench: Bench, number: int, generator: random.Random) -> Iterator[Trial]:
    """`dvc repro` on a disk that is soon full: whatever it says, the next one with more space makes everything."""
    from faults.kills import DvcCase

    cases = [DvcCase(workbench, name) for name in ("split", "preprocess", "evaluate")]
    for _ in range(number):
        case, spare_kb = generator.choice(cases), 4 * generator.randint(0, 100)
        with workbench.on_a_small_disk(2 * SPACE_KB):
            case.start()
            bench.remount(workbench.disk, workbench.used_kb() + spare_kb)
            case.repro()
            bench.remount(workbench.disk, 2 * SPACE_KB)
            again, is_manual, problems = case.repro(), False, []
            if again.code != 0:
                is_manual = True
                problems = [f"the next dvc repro ended with {again.code}: {again.last_line}"]
                workbench.posterity("check", "--repair")
                again = case.repro()
                problems += [] if again.code == 0 else [f"no better after posterity check --repair: {again.last_line}"]
            problems += bench.differences(case.right, bench.snapshot(workbench.project))
            problems += bench.leftovers(workbench.project)
            yield bench.judged(FULL_DVC, case.name, f"{spare_kb} KB left", problems, again, is_manual=is_manual)


def full_device(workbench: Bench) -> Iterator[Trial]:
    """Outputs of which one is a link to /dev/full: refused, and the device is still one."""
    options = {"split": ["--split", "--metrics"], "evaluate": ["--metrics", "--table"], "validate": ["--manifest"]}
    for stage, names in options.items():
        for option in names:
            workbench.fresh()
            link = workbench.project / "full"
            link.symlink_to("/dev/full")
            ended = workbench.run(stage, option, "full")
            problems = bench.refusal(ended, "full") if ended.code else []
            if not stat.S_ISCHR(Path("/dev/full").stat().st_mode):
                problems.append("/dev/full is no device any more")
            yield bench.judged(DEVICE, stage, f"{option} full -> /dev/full", problems, ended)


def not_writable(workbench: Bench, recipe: str, stage: str, wanted: int | None = None) -> Iterator[Trial]:
    """Each folder that the stage writes to, and each folder that it replaces, may not be changed."""
    outputs = stage_files.writes(stage)
    places = sorted({Path(path).parent.as_posix() for path in outputs} | {path for path in outputs if "." not in path})
    for place in places[:wanted]:
        for older in (True, False):
            workbench.fresh(recipe, without=stage, older=older)
            path = workbench.project / place
            if path.is_dir():
                yield _without_permission(workbench, READ_ONLY, recipe, stage, path, 0o555)


def not_readable(workbench: Bench, recipe: str, stage: str, wanted: int | None = None) -> Iterator[Trial]:
    """Each file and folder that the stage reads may not be read."""
    names = stage_files.reads(stage)
    names += [name for name in stage_files.files_of(workbench.finished(recipe), names) if name not in names]
    if stage == "validate":
        names += ["labels.csv", "images", "images/i05.jpg"]
    for name in ["params.yaml", *names][:wanted]:
        workbench.fresh(recipe, without=stage)
        yield _without_permission(workbench, UNREADABLE, recipe, stage, workbench.project / name, 0o000)


def _without_permission(workbench: Bench, kind: str, recipe: str, stage: str, path: Path, mode: int) -> Trial:
    before = path.stat().st_mode
    name = path.relative_to(workbench.project).as_posix()
    path.chmod(mode)
    ended = workbench.run(stage, no_privileges=True)
    # What cannot be read is a problem of the data for `validate`, which lists it; that list is no remainder.
    is_listed = stage == "validate" and name.startswith("images")
    problems = [] if is_listed else workbench.lost(recipe, stage)
    path.chmod(before)
    if is_listed:
        workbench.run("validate")
        workbench.run("preprocess")  # which completes the other list
    return _trial(workbench, kind, recipe, stage, f"{recipe}, {name}", ended, problems, name)


def _trial(
    workbench: Bench, kind: str, recipe: str, stage: str, what: str, ended: Ended, found: list[str] | None = None,
    name: str | None = None,
) -> Trial:  # fmt: skip
    """Judge a run under a fault, lift the fault and run once more."""
    problems = workbench.lost(recipe, stage) if found is None else found
    if ended.code != 0:  # some stages need less than they might
        problems += bench.refusal(ended, *([name, Path(name).name] if name else NOT_THE_FILE))
    again = workbench.run(stage)
    problems += workbench.problems(recipe, again)
    return bench.judged(kind, stage, what, problems, ended, again, is_manual=again.code != 0)


def _sizes(workbench: Bench, recipe: str, stage: str) -> list[int]:
    folder = workbench.finished(recipe)
    return [(folder / file).stat().st_size for file in stage_files.files_of(folder, stage_files.writes(stage))]

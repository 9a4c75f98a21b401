"""Flipped bits in every file that one stage hands to another, in dvc.lock and in params.yaml.

Right is a refusal with one message that names the file, or outputs that are the same to the byte: some bits mean
nothing, such as those of a zip archive's time stamps. Wrong is any other result that is accepted in silence.
"""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from faults import bench, stage_files
from faults.bench import Bench
from faults.outcomes import Trial

READ, LOCK, PARAMS, BY_DVC, AT_REST = (
    "flip in an input", "flip in dvc.lock", "flip in params.yaml", "flip, then dvc repro", "flip that DVC does not see",
)  # fmt: skip


def flip(path: Path, place: int, bit: int, *, keep_time: bool = False) -> None:
    """Flip one bit of a file; with ``keep_time`` as a disk does it, so that size and time stay the same."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    with path.open("r+b") as stream:  # in place: the file stays the same one
        stream.write(content)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _drawn(path: Path, generator: random.Random) -> tuple[int, int]:
    """A place and a bit: in half of the cases in the first or last 200 bytes, where what describes the rest lies."""
    size = path.stat().st_size
    if generator.random() < 0.5:
        place = generator.randrange(min(200, size))
        return (place if generator.random() < 0.5 else size - 1 - place), generator.randrange(8)
    return generator.randrange(size), generator.randrange(8)


def in_inputs(workbench: Bench, recipe: str, stage: str, per_file: int, generator: random.Random) -> Iterator[Trial]:
    """``per_file`` flips in every file that ``stage`` reads, and its script alone on them."""
    folder = workbench.finished(recipe)
    for name in stage_files.files_of(folder, stage_files.reads(stage)):
        for _ in range(per_file if (folder / name).stat().st_size else 0):
            place, bit = _drawn(folder / name, generator)
            yield in_input(workbench, recipe, stage, name, place, bit)


def in_input(workbench: Bench, recipe: str, stage: str, name: str, place: int, bit: int) -> Trial:
    """One flip in one file, which ``stage`` then reads."""
    project = workbench.fresh(recipe, without=stage)
    flip(project / name, place, bit)
    right = {path: digest for path, digest in workbench.right(recipe).items() if path != name}
    ended = workbench.run(stage)
    problems = []
    if ended.code == 0:
        now = {path: digest for path, digest in bench.snapshot(project).items() if path != name}
        problems = [f"accepted in silence: {found}" for found in bench.differences(right, now)]
    else:
        problems = bench.refusal(ended, *bench.names_of(name))
    return bench.judged(READ, stage, f"{recipe}, {name}, byte {place}, bit {bit}", problems, ended)


def in_params(workbench: Bench, number: int, generator: random.Random) -> Iterator[Trial]:
    """Flips in params.yaml: a value may become another valid one; a text that is none is refused by its name."""
    from posterity.config.load import load_params
    from posterity.errors import UserError

    stages = [stage for stage in stage_files.WITHOUT_TENSORFLOW if stage != "features"]
    for _ in range(number):
        stage = generator.choice(stages)
        project = workbench.fresh(without=stage)
        before = load_params(project / "params.yaml")
        place, bit = _drawn(project / "params.yaml", generator)
        flip(project / "params.yaml", place, bit)
        try:
            is_same = load_params(project / "params.yaml") == before
        except (UserError, ValueError, OSError):
            is_same = False
        ended = workbench.run(stage)
        problems = []
        if is_same and ended.code == 0:
            right = {path: digest for path, digest in workbench.right("scratch").items() if path != "params.yaml"}
            now = {path: digest for path, digest in bench.snapshot(project).items() if path != "params.yaml"}
            problems = bench.differences(right, now)
        elif ended.code != 0:
            problems = bench.refusal(ended)
        yield bench.judged(PARAMS, stage, f"byte {place}, bit {bit}", problems, ended)


def in_lock(workbench: Bench, number: int, generator: random.Random) -> Iterator[Trial]:
    """Flips in dvc.lock, and `dvc repro evaluate`: DVC refuses the file, or everything is as it was in the end.

    A value of a parameter there is no more than what the stage was last run with, so the stage runs again.
    """
    for _ in range(number):
        project = workbench.fresh(with_dvc=True)
        place, bit = _drawn(project / "dvc.lock", generator)
        flip(project / "dvc.lock", place, bit)
        ended = workbench.dvc("repro", "evaluate")
        problems = []
        if ended.code == 0:
            names = [name for stage in ("validate", "preprocess", "split", "features", "train", "evaluate")
                     for name in stage_files.writes(stage)]  # fmt: skip
            right = bench.snapshot(workbench.finished(), names)
            problems = bench.differences(right, bench.snapshot(project, names))
        elif "dvc.lock" not in ended.stderr + ended.stdout:
            problems = [f"no message names dvc.lock: {ended.last_line}"]
        yield bench.judged(LOCK, "evaluate", f"byte {place}, bit {bit}", problems, ended)


def by_dvc(workbench: Bench, recipe: str, stage: str, number: int, generator: random.Random) -> Iterator[Trial]:
    """Flips that DVC can see, in files that ``stage`` reads: alone (`-s`) it refuses them, a full run mends them."""
    folder = workbench.finished(recipe)
    names = stage_files.files_of(folder, stage_files.reads(stage))
    for k in range(number):
        project = workbench.fresh(recipe, with_dvc=True)
        name = generator.choice(names)
        place, bit = _drawn(project / name, generator)
        flip(project / name, place, bit)
        is_alone = k % 2 == 0
        ended = workbench.dvc("repro", "-s", stage) if is_alone else workbench.dvc("repro", stage)
        problems = []
        if ended.code == 0:
            left_out = {name, "dvc.lock"} if is_alone else set()
            right = {path: digest for path, digest in workbench.right(recipe).items() if path not in left_out}
            now = {path: digest for path, digest in bench.snapshot(project).items() if path not in left_out}
            problems = bench.differences(right, now)
        elif not is_alone:
            problems = [f"dvc repro does not mend it: {ended.last_line}"]
        elif not any(one in ended.stderr + ended.stdout for one in bench.names_of(name)):
            problems = [f"no message names {name}: {ended.last_line}"]
        what = f"{recipe}, {'dvc repro -s' if is_alone else 'dvc repro'}, {name}, byte {place}, bit {bit}"
        yield bench.judged(BY_DVC, stage, what, problems, ended, is_manual=bool(ended.code) and not is_alone)


def at_rest(workbench: Bench, recipe: str, number: int, generator: random.Random) -> Iterator[Trial]:
    """Flips after which size, time and inode are the same, so that DVC cannot see them: `posterity verify` does."""
    project = workbench.fresh(recipe, with_dvc=True)
    workbench.dvc("status")  # DVC has seen all files of this copy now
    by_name = {name: stage for stage in stage_files.STAGES
               for name in stage_files.files_of(project, stage_files.writes(stage))}  # fmt: skip
    names = [name for name in by_name if (project / name).stat().st_size]
    for _ in range(number):
        name = generator.choice(names)
        place, bit = _drawn(project / name, generator)
        shutil.copy2(project / name, workbench.folder / "before")
        flip(project / name, place, bit, keep_time=True)
        ended = workbench.posterity("verify")
        problems = [] if ended.code not in (0, 130, 143) else [f"posterity verify ended with {ended.code}"]
        if not any(one in ended.stdout + ended.stderr for one in bench.names_of(name)):
            problems.append(f"posterity verify does not name it: {ended.last_line}")
        yield bench.judged(AT_REST, by_name[name], f"{recipe}, {name}, byte {place}, bit {bit}", problems, ended)
        flip(project / name, place, bit, keep_time=True)

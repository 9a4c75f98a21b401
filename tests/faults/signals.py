"""SIGINT and SIGTERM at random times, while modules load as well.

Right is one line that begins with ``interrupted`` or ``terminated``, exit code 130 or 143, no traceback, nothing hidden
left behind, and the right bytes from the next run.
"""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from faults import bench
from faults.bench import Bench
from faults.outcomes import Trial
from faults.runner import Ended
from small_project import SRC, environment

KIND = "SIGINT or SIGTERM"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
MORE_LINES = 6  # that `train` may print to say how to go on


def start_of_python_s() -> float:
    """Seconds until Python runs the first line of a script, the longest of three."""
    longest = 0.0
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", ""], check=True, env=environment())
        longest = max(longest, time.monotonic() - started)
    return longest


def at_times(workbench: Bench, recipe: str, stage: str, number: int, generator: random.Random) -> Iterator[Trial]:
    """``number`` signals, each at a random time of a stage that a Python of its own runs; half of them come early."""
    workbench.fresh(recipe, without=stage)
    earliest, started = start_of_python_s(), time.monotonic()
    workbench.run_afresh(stage)
    whole = time.monotonic() - started
    done = tries = 0
    while done < number and tries < 3 * number + 10:
        tries += 1
        kind = generator.choice(list(CODES))
        older = generator.random() < 0.5
        after_s = generator.uniform(earliest, max(1.5 * earliest, whole * generator.choice((0.4, 1.0))))
        workbench.fresh(recipe, without=stage, older=older)
        ended = workbench.run_afresh(stage, signal=int(kind), after_s=after_s)
        if is_too_early(ended):
            continue
        done += 1
        what = f"{recipe}, older={older}, {kind.name} after {after_s:.3f} s, ended with {ended.code}"
        yield judge(workbench, recipe, stage, kind, what, ended)


def is_too_early(ended: Ended) -> bool:
    """Whether the signal came before the first line of the script, where no script can do anything about it."""
    by_default = ended.code in (-signal.SIGINT, -signal.SIGTERM) and not ended.stderr.strip()
    return by_default or (ended.has_traceback and str(SRC) not in ended.stderr)


def judge(workbench: Bench, recipe: str, stage: str, kind: signal.Signals, what: str, ended: Ended) -> Trial:
    """The trial of a run that got the signal ``kind``; it runs the stage once more."""
    problems = workbench.lost(recipe, stage) + bench.leftovers(workbench.project, may_go_on=True)
    problems += [f"left in TMPDIR: {path.name}" for path in workbench.temporary.iterdir()]
    if ended.code != 0:  # the signal may come when everything is done
        if ended.code != CODES[kind]:
            problems.append(f"exit code {ended.code}, expected {CODES[kind]}")
        lines = [line for line in ended.stderr.replace("\r", "\n").splitlines() if line.strip()]
        said = [line for line in lines if line.startswith(WORDS[kind])]
        if len(said) != 1 and not ended.has_traceback:
            problems.append(f"{len(said)} lines begin with {WORDS[kind]}, expected 1: {ended.last_line}")
        after = lines[lines.index(said[0]) + 1 :] if said else []
        if len(after) > (MORE_LINES if stage in ("train", "features") else 0):
            problems.append(f"{len(after)} lines after it: {after[-1][:100]}")
    again = workbench.run(stage)
    problems += workbench.problems(recipe, again)
    return bench.judged(KIND, stage, what, problems, ended, again, is_manual=again.code != 0)

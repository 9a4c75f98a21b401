"""Two runs at once, of a stage and of DVC, and stages whose DVC was killed."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from faults import bench, kills, runner, stage_files
from faults.bench import Bench
from faults.outcomes import Trial
from faults.runner import Ended

STAGES, DVC, ORPHANS = "two runs of a stage", "two dvc repro at once", "stage of a killed DVC"
LONGEST_LEAD_S = 1.5


def two_stages(workbench: Bench, recipe: str, stage: str, number: int, generator: random.Random) -> Iterator[Trial]:
    """Two runs of a stage, the second a little later: each ends well or with one message, and the outputs are right."""
    command = [sys.executable, runner.script_of(stage), *stage_files.arguments(stage)]
    for _ in range(number):
        older, lead_s = generator.random() < 0.5, generator.uniform(0, LONGEST_LEAD_S)
        workbench.fresh(recipe, without=stage, older=older)
        runs = _both(workbench, command, lead_s, workbench.environment())
        problems = [problem for ended in runs if ended.code for problem in bench.refusal(ended)]
        if all(ended.code for ended in runs):
            problems.append("neither run has ended well")
        problems += workbench.problems(recipe, runs[0] if runs[0].code == 0 else runs[1])
        what = f"{recipe}, older={older}, the second {lead_s:.2f} s later"
        yield bench.judged(STAGES, stage, what, problems, *runs)


def two_dvc(workbench: Bench, name: str, number: int, generator: random.Random) -> Iterator[Trial]:
    """Two `dvc repro`: DVC lets one of them wait or refuses it, and the state is right after one more at the latest."""
    case = kills.DvcCase(workbench, name)
    for _ in range(number):
        lead_s = generator.uniform(0, 2 * LONGEST_LEAD_S)
        case.start()
        runs = _both(
            workbench, [sys.executable, "-m", "dvc", "repro", case.target], lead_s, workbench.dvc_environment()
        )
        again = case.repro()
        problems = [] if again.code == 0 else [f"the next dvc repro ended with {again.code}: {again.last_line}"]
        problems += bench.differences(case.right, bench.snapshot(workbench.project))
        problems += bench.leftovers(workbench.project)
        what = f"the second {lead_s:.2f} s later"
        yield bench.judged(DVC, name, what, problems, *runs, again, is_manual=again.code != 0)


def orphans(workbench: Bench, name: str, number: int, generator: random.Random) -> Iterator[Trial]:
    """DVC alone is killed as soon as a stage runs: the stage ends within seconds, and the next run is right."""
    case = kills.DvcCase(workbench, name)
    for _ in range(number):
        case.start()
        process = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", case.target],
            cwd=workbench.project, env=workbench.dvc_environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        while process.poll() is None and not _stages_of(workbench, process.pid):
            time.sleep(0.02)
        time.sleep(generator.uniform(0, LONGEST_LEAD_S))
        process.send_signal(signal.SIGKILL)
        process.wait()
        running = kills.wait_for_none(workbench)
        problems = [f"{len(running)} processes still run after {kills.WAIT_FOR_CHILDREN_S:.0f} s"] if running else []
        for pid in running:
            bench.end(pid)
        again = case.repro()
        problems += [] if again.code == 0 else [f"the next dvc repro ended with {again.code}: {again.last_line}"]
        problems += bench.differences(case.right, bench.snapshot(workbench.project))
        yield bench.judged(ORPHANS, name, "killed while a stage ran", problems, again, is_manual=again.code != 0)


def _stages_of(workbench: Bench, dvc: int) -> list[int]:
    return [pid for pid in bench.processes_in(workbench.project) if pid != dvc]


def _both(workbench: Bench, command: list[str], lead_s: float, env: dict[str, str]) -> list[Ended]:
    processes = []
    for wait_s in (lead_s, 0.0):
        processes.append(
            subprocess.Popen(
                command,
                cwd=workbench.project,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        time.sleep(wait_s)
    ended = []
    for process in processes:
        stdout, stderr = process.communicate(timeout=4 * runner.LIMIT_S)
        ended.append(Ended(process.returncode, stdout, stderr))
    return ended

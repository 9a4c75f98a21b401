"""kill -9: at every change of a file, in the middle of writes, and at random times, of stages and of DVC itself.

After each kill the same command runs again. The trial is right if that run makes every output as the undisturbed run
did, nothing is left behind, and no output was half-written in between.
"""

import contextlib
import json
import random
import re
import signal
import time
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from faults import bench, stage_files
from faults.bench import Bench, Snapshot
from faults.outcomes import Trial
from faults.runner import Ended

AT_CHANGES, IN_WRITES, AT_TIMES, OF_DVC = "kill at a change", "kill in a write", "kill at a time", "kill of dvc repro"
THRICE = "killed three times"
DIFFERENT_LOCK = "differs: dvc.lock"  # as `bench.differences` says it
# By such a file DVC tries what links the disk has, or copies; nothing reads it afterwards.
DVC_TEMPORARY = re.compile(r"/\.[\w-]{22}\.tmp$")
# What `posterity check --repair` says.
RESTORE_LOCK, RWLOCK_IS_GONE = "git checkout HEAD -- dvc.lock", ".dvc/tmp/rwlock: removed."
DEAD = -signal.SIGKILL
WAIT_FOR_CHILDREN_S = 5.0


def points(number: int, wanted: int | None) -> list[int]:
    """``wanted`` of the changes 1 ... ``number``, spread evenly; None = all of them."""
    if wanted is None or wanted >= number:
        return list(range(1, number + 1))
    return sorted({1 + round(k * (number - 1) / max(1, wanted - 1)) for k in range(wanted)})


def at_changes(workbench: Bench, recipe: str, stage: str, wanted: int | None, *, older: bool) -> Iterator[Trial]:
    """A kill before each of ``wanted`` changes of a stage, which finds outputs of an ``older`` run or none."""
    workbench.fresh(recipe, without=stage, older=older)
    number = workbench.changes(stage)
    for point in points(number, wanted):
        yield _trial(workbench, AT_CHANGES, recipe, stage, older=older, fault={"kill_at": point})


def in_writes(workbench: Bench, recipe: str, stage: str, number: int, generator: random.Random) -> Iterator[Trial]:
    """``number`` kills in the middle of a write: by the kernel, when a file is longer than so many bytes."""
    files = stage_files.files_of(workbench.finished(recipe), stage_files.writes(stage))
    sizes = [(workbench.finished(recipe) / file).stat().st_size for file in files]
    for _ in range(number):
        largest = generator.randrange(max(1, generator.choice(sizes)))
        fault = {"largest_file": largest, "deadly": True}
        yield _trial(workbench, IN_WRITES, recipe, stage, older=generator.random() < 0.5, fault=fault)


def at_times(workbench: Bench, recipe: str, stage: str, number: int, generator: random.Random) -> Iterator[Trial]:
    """``number`` kills at times that are spread over the whole run."""
    whole = workbench.seconds(recipe, stage)
    for _ in range(number):
        fault = {"signal": int(signal.SIGKILL), "after_s": generator.uniform(0, whole)}
        yield _trial(workbench, AT_TIMES, recipe, stage, older=generator.random() < 0.5, fault=fault)


def again_and_again(
    workbench: Bench, recipe: str, stage: str, number: int, generator: random.Random
) -> Iterator[Trial]:
    """``number`` runs that are killed three times, each time a little later, before they may end."""
    whole = workbench.seconds(recipe, stage)
    for _ in range(number):
        workbench.fresh(recipe, without=stage)
        times, codes, problems = sorted(generator.uniform(0.3, 1) * whole for _ in range(3)), [], []
        for after_s in times:
            codes.append(workbench.run(stage, signal=int(signal.SIGKILL), after_s=after_s).code)
            problems += workbench.lost(recipe, stage)
        again = workbench.run(stage)
        problems += workbench.problems(recipe, again)
        what = f"{recipe}, after {', '.join(f'{after_s:.2f} s' for after_s in times)}, ended with {codes}"
        yield bench.judged(THRICE, stage, what, problems, again, is_manual=again.code != 0)


def _trial(workbench: Bench, kind: str, recipe: str, stage: str, *, older: bool, fault: dict[str, Any]) -> Trial:
    workbench.fresh(recipe, without=stage, older=older)
    killed = workbench.run(stage, **fault)
    problems = workbench.lost(recipe, stage)
    if killed.code not in (0, DEAD, -signal.SIGXFSZ):
        problems.append(f"the run to be killed ended with {killed.code}: {killed.last_line}")
    again = workbench.run(stage)
    problems += workbench.problems(recipe, again)
    what = f"{recipe}, {'older outputs' if older else 'no outputs'}, {fault}, ended with {killed.code}"
    return bench.judged(kind, stage, what, problems, again, is_manual=again.code != 0)


# What changes before a `dvc repro`, and the stage to go to.
CASES: dict[str, tuple[dict[str, object], str]] = {
    # Without N/A, which the list names, too; some rows have no label then.
    "validate": (
        {
            "data.on_problem.no_label": "drop",
            "data.list_column": None,
            "data.label_columns": ["Bright", "Red"],
            "data.max_dropped_fraction": 0.9,
        },
        "split",
    ),
    "preprocess": ({"image.height": 36}, "preprocess"),
    "split": ({"split.validation_fraction": 0.4}, "split"),
    "evaluate": ({"decide.folds": 3}, "evaluate"),
    "train": ({"train.epochs": 3}, "final_test"),
}
LIGHT_CASES = ("validate", "preprocess", "split", "evaluate")


class DvcCase:
    """A `dvc repro` after a change of parameters, and what it makes if nothing disturbs it."""

    def __init__(self, workbench: Bench, name: str, recipe: str = "scratch") -> None:
        self.workbench, self.name, self.recipe = workbench, name, recipe
        self.values, self.target = CASES[name]
        self.start()
        ended = self.repro()
        if ended.code != 0:
            raise RuntimeError(f"dvc repro without a fault: {ended.stdout}{ended.stderr}")
        self.seconds = ended.seconds
        self.right = bench.snapshot(workbench.project)
        self.lock = (workbench.project / "dvc.lock").read_text(encoding="utf-8")

    def start(self) -> None:
        """A new copy of the finished project, with the parameters of the case."""
        self.workbench.fresh(self.recipe, with_dvc=True)
        set_params(self.workbench, self.values)

    def repro(self, **fault: Any) -> Ended:
        return self.workbench.dvc("repro", self.target, **fault)

    def has_lost_entries_only(self) -> bool:
        """Whether dvc.lock is right for the target, and what is missing or cut off is the end of other entries.

        DVC writes the file in place, so a kill in this moment cuts it. The next `dvc repro` of these stages takes
        their results from the run cache.
        """
        now, right = stages_of((self.workbench.project / "dvc.lock").read_text(encoding="utf-8")), stages_of(self.lock)
        return now.get(self.target) == right[self.target] and is_cut_from(now, right)

    def repair(self) -> bool:
        """Do what `posterity check --repair` advises after a kill of DVC; False if it finds nothing to mend."""
        ended = self.workbench.posterity("check", "--repair")
        said = ended.stdout + ended.stderr
        if RESTORE_LOCK in said:
            return self.workbench.command(RESTORE_LOCK.split()).code == 0
        return RWLOCK_IS_GONE in said

    def trial(self, fault: dict[str, Any]) -> Trial:
        """Kill DVC, or DVC and its stages, and let it run again."""
        self.start()
        self.repro(**fault)
        problems = []
        if not fault.get("whole_group") and (running := wait_for_none(self.workbench)):
            problems.append(f"{len(running)} processes still run {WAIT_FOR_CHILDREN_S:.0f} s after DVC was killed")
        return self.run_again(str(fault), problems)

    def run_again(self, what: str, problems: list[str]) -> Trial:
        """Let DVC run after ``what``, which had these ``problems``; after `repair` and once more if it refuses to."""
        again, is_manual, problems = self.repro(), False, list(problems)
        if again.code != 0:
            is_manual = True
            if not self.repair():
                problems += [f"the next dvc repro ended with {again.code}: {again.last_line}"]
            again = self.repro()
            problems += [] if again.code == 0 else [f"no better after posterity check --repair: {again.last_line}"]
        differs = bench.differences(self.right, without_temporary(bench.snapshot(self.workbench.project)))
        problems += [one for one in differs if one != DIFFERENT_LOCK or not self.has_lost_entries_only()]
        problems += bench.leftovers(self.workbench.project)
        return bench.judged(OF_DVC, self.name, what, problems, again, is_manual=is_manual)


def of_dvc(
    workbench: Bench, name: str, number: int, generator: random.Random, *, at_each: int | None = None
) -> Iterator[Trial]:
    """``number`` kills at random times and ``at_each`` at changes that DVC makes itself, half of them of DVC alone."""
    case = DvcCase(workbench, name)
    for k in range(number):
        fault: dict[str, Any] = {"signal": int(signal.SIGKILL), "after_s": generator.uniform(0, case.seconds)}
        yield case.trial(fault | {"whole_group": k % 2 == 0})
    if at_each:
        case.start()
        target = workbench.folder / "changes"
        case.repro(count_to=str(target))
        for point in points(int(target.read_text()), at_each):
            yield case.trial({"kill_at": point, "whole_group": generator.random() < 0.5})


def without_temporary(snapshot: Snapshot) -> Snapshot:
    """A snapshot without the files that a killed DVC leaves beside outputs."""
    return {path: digest for path, digest in snapshot.items() if not DVC_TEMPORARY.search(path)}


def stages_of(lock: str) -> dict[str, Any]:
    """The entries of dvc.lock by stage; none if it is cut off so early that there are none, or is no YAML."""
    with contextlib.suppress(YAMLError):
        content = YAML(typ="safe").load(lock)
        if isinstance(content, dict) and isinstance(content.get("stages"), dict):
            return content["stages"]
    return {}


def is_cut_from(now: Any, right: Any) -> bool:
    """Whether ``now`` is what YAML makes of ``right`` if its text, or that of values in it, ends too early.

    That is nothing, a dict without some keys, a list without its end, and text or a number without its last characters.

    >>> is_cut_from({"deps": [{"path": "a", "size": 1}]}, {"cmd": "b", "deps": [{"path": "a", "size": 12}, {}]})
    True
    >>> is_cut_from({"size": 2}, {"size": 12})
    False
    """
    if now is None or now == right:
        return True
    if isinstance(now, dict) and isinstance(right, dict):
        return all(key in right and is_cut_from(value, right[key]) for key, value in now.items())
    if isinstance(now, list) and isinstance(right, list):
        whole = now[:-1]
        is_start = len(now) <= len(right) and whole == right[: len(whole)]
        return is_start and all(map(is_cut_from, now[-1:], right[len(whole) :]))
    if isinstance(right, dict):
        right = next(iter(right), "")  # the text may end before the colon of the first key
    text = right if isinstance(right, str) else json.dumps(right)
    cuts = [text[:length] for length in range(1, len(text) + 1)]
    return now in cuts or now in map(_value, cuts)


def _value(text: str) -> Any:
    """What YAML reads: the start of an md5 may be a number. None if it is no YAML."""
    with contextlib.suppress(YAMLError):
        return YAML(typ="safe").load(text)
    return None


def set_params(workbench: Bench, values: dict[str, object]) -> None:
    """Set dotted keys of params.yaml of the project that is worked in."""
    yaml, path = YAML(), workbench.project / "params.yaml"
    content = yaml.load(path)
    for dotted, value in values.items():
        *sections, key = dotted.split(".")
        node = content
        for section in sections:
            node = node[section]
        node[key] = value
    yaml.dump(content, path)


def wait_for_none(workbench: Bench) -> list[int]:
    """The processes that still work in the project after a few seconds."""
    end = time.monotonic() + WAIT_FOR_CHILDREN_S
    while (running := bench.processes_in(workbench.project)) and time.monotonic() < end:
        time.sleep(0.1)
    return running

"""Many cycles of `dvc repro` and `dvc exp run` with random edits and kills, which end as a clean rebuild does.

A cycle edits parameters, rows or images, or nothing, and runs DVC, which is killed in a part of the cycles. Every so
often DVC runs once more to its end, and all that it made is compared with what a new folder with the same inputs makes.
"""

import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from faults import bench, kills, stage_files
from faults.bench import Bench
from faults.outcomes import Trial
from faults.runner import Ended

KIND = "soak"
KILLED = 0.4  # share of the cycles
LONGEST_S = 25.0  # of the time of a kill
FEWEST_ROWS, MOST_ROWS = 34, 46
EDITS: dict[str, list[object]] = {
    "seed": [42, 43],
    "split.validation_fraction": [0.3, 0.4],
    "split.stratify": [False, True],
    "decide.folds": [2, 3],
    "decide.calibration": ["off", "platt"],
    "evaluate.threshold": [0.5, 0.4],
    "evaluate.bootstrap_samples": [20, 30],
    "image.height": [32, 36],
    "image.rows_per_shard": [10, 7],
    "train.epochs": [1, 2],
    "train.learning_rate": [0.002, 0.001],
    "predict.threshold": [None, 0.4],
    # A head on cached features trains in a fraction of the time.
    "model.name": ["compact_cnn", "backbone", "backbone", "backbone"],
}
INPUTS = ["images", "new", "labels.csv", "params.yaml", "data/backbones", *bench.COPIED]


class Soak:
    """A project that is edited, run and killed; ``generator`` decides what happens."""

    def __init__(self, workbench: Bench, generator: random.Random) -> None:
        self._workbench, self._generator = workbench, generator
        self._project = workbench.fresh("frozen", with_dvc=True)
        self._number = 0
        kills.set_params(workbench, {"train.epochs": 1})

    def cycles(self, number: int, *, check_every: int) -> Iterator[Trial]:
        """Do ``number`` cycles; yield what each came to."""
        for cycle in range(1, number + 1):
            if cycle % check_every == 0 or cycle == number:
                yield self._settle(cycle)
            else:
                yield self._cycle(cycle)

    def _cycle(self, cycle: int) -> Trial:
        draw = self._generator
        edit = draw.choice([self._parameter, self._parameter, self._add, self._remove, self._relabel, self._repaint,
                            lambda: "nothing"])()  # fmt: skip
        if by_experiment := draw.random() < 0.25:
            key, values = draw.choice([(key, values) for key, values in EDITS.items() if None not in values])
            command = ["exp", "run", "-S", f"{key}={draw.choice(values)}".replace("True", "true")]
            command[-1] = command[-1].replace("False", "false")
        else:
            # Half of the runs spare the training, which takes longer than all the rest.
            command = ["repro", *draw.choice([[], [], ["preprocess"], ["split"]])]
        fault: dict[str, Any] = {}
        if draw.random() < KILLED:
            kind = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
            after_s, whole_group = draw.uniform(0, draw.choice((3, LONGEST_S))), draw.random() < 0.5
            fault = {"signal": int(kind), "after_s": after_s, "whole_group": whole_group}
        ended = self._workbench.dvc(*command, **fault)
        problems = []
        if fault and (running := kills.wait_for_none(self._workbench)):
            problems.append(f"{len(running)} processes still run")
            for pid in running:
                bench.end(pid)
        elif not fault and ended.code != 0:
            problems.append(f"ended with {ended.code}: {ended.last_line}")
        is_manual = not fault and self._repair_if_needed(ended)
        what = f"cycle {cycle}: {edit}; dvc {' '.join(command)} {fault or ''}"
        # A killed DVC may show what it likes.
        shown = [] if fault else [ended]
        return bench.judged(KIND, "dvc exp run" if by_experiment else "dvc repro", what, problems, *shown,
                            is_manual=is_manual)  # fmt: skip

    def _settle(self, cycle: int) -> Trial:
        """Run to the end, and compare with a new folder that has the same inputs."""
        ended = self._workbench.dvc("repro")
        problems = [] if ended.code == 0 else [f"ended with {ended.code}: {ended.last_line}"]
        is_manual = self._repair_if_needed(ended)
        if is_manual:
            self._workbench.dvc("repro")
        clean = self._workbench.folder / "clean"
        shutil.rmtree(clean, ignore_errors=True)
        for name in INPUTS:
            bench.copy(self._project / name, clean / name)
        for command in (["git", "init", "-q", "-b", "main"], ["dvc", "init", "-q", "-f"]):
            self._workbench.command(command, clean)
        bench.copy(self._project / ".dvc/config", clean / ".dvc/config")
        rebuilt = self._workbench.dvc("repro", folder=clean)
        if rebuilt.code != 0:
            problems.append(f"the clean rebuild ended with {rebuilt.code}: {rebuilt.last_line}")
        names = [name for stage in stage_files.STAGES for name in stage_files.writes(stage)]
        names = [*names, "dvc.lock"]
        found = bench.differences(bench.snapshot(clean, names), bench.snapshot(self._project, names))
        problems += [f"not as a clean rebuild: {difference}" for difference in found]
        problems += bench.leftovers(self._project, may_go_on=True)  # by another recipe
        what = f"cycle {cycle}: compared with a clean rebuild"
        return bench.judged(KIND, "clean rebuild", what, problems, ended, rebuilt, is_manual=is_manual)

    def _repair_if_needed(self, ended: Ended) -> bool:
        if ended.code == 0:
            return False
        self._workbench.posterity("check", "--repair")
        return True

    # Edits; each says what it did.

    def _parameter(self) -> str:
        key = self._generator.choice(list(EDITS))
        value = self._generator.choice(EDITS[key])
        kills.set_params(self._workbench, {key: value})
        return f"{key}: {value}"

    def _add(self) -> str:
        header, *lines = self._lines()
        if len(lines) >= MOST_ROWS:
            return self._remove()
        self._number += 1
        id_ = f"n{self._number}"
        self._paint(self._project / "images" / f"{id_}.jpg")
        red, bright = self._generator.randrange(2), self._generator.randrange(2)
        self._write([header, *lines, _row(id_, bright, red)])
        return f"{id_} added"

    def _remove(self) -> str:
        header, *lines = self._lines()
        if len(lines) <= FEWEST_ROWS:
            return self._add()
        line = lines.pop(self._generator.randrange(len(lines)))
        id_ = line.split(",")[0]
        (self._project / "images" / f"{id_}.jpg").unlink(missing_ok=True)
        self._write([header, *lines])
        return f"{id_} removed"

    def _relabel(self) -> str:
        header, *lines = self._lines()
        # The last two images of the project are the same, and must not contradict each other.
        k = self._generator.choice([k for k, line in enumerate(lines) if line.split(",")[0] not in ("i38", "i39")])
        id_ = lines[k].split(",")[0]
        lines[k] = _row(id_, self._generator.randrange(2), self._generator.randrange(2))
        self._write([header, *lines])
        return f"{id_} relabelled"

    def _repaint(self) -> str:
        ids = [line.split(",")[0] for line in self._lines()[1:]]
        id_ = self._generator.choice([id_ for id_ in ids if id_ not in ("i38", "i39")])
        self._paint(self._project / "images" / f"{id_}.jpg")
        return f"{id_} repainted"

    def _paint(self, path: Path) -> None:
        # Noise: pictures of one colour would look alike to `preprocess`.
        noise = self._generator.randbytes(8 * 6 * 3)
        Image.frombytes("RGB", (6, 8), noise).resize((24, 32)).save(path, quality=95)

    def _lines(self) -> list[str]:
        return (self._project / "labels.csv").read_text().splitlines()

    def _write(self, lines: list[str]) -> None:
        (self._project / "labels.csv").write_text("\n".join(lines) + "\n")


def _row(id_: str, bright: int, red: int) -> str:
    listed = "|".join([*(["Bright"] if bright else []), "N/A", *(["Red"] if red else [])])
    return f"{id_},{listed},{bright},1,{red}"

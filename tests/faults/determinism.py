"""Clean runs in folders of other names and under other circumstances give the same bytes.

What is varied may not act on any output: the name of the folder, PYTHONHASHSEED, TZ, LANG, COLUMNS, the umask and the
number of threads of `machine.workers`. The number of threads of TensorFlow (`machine.device.cpu_threads`) may act on
the last bits of what it computes, and on nothing before: ``BOUNDS`` holds by how much.
"""

import csv
import io
import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from faults import bench, runner, stage_files
from faults.bench import Bench
from faults.outcomes import Trial

KIND = "clean run elsewhere"
RUN = """
import json, os, runpy, sys
umask, scripts = json.loads(sys.argv[1])
os.umask(umask)
for script, *arguments in scripts:
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(script)
    try: runpy.run_path(script, run_name="__main__")
    except SystemExit as done:
        if done.code: raise
"""
# Each differs from the finished project of the bench in everything.
VARIANTS: dict[str, tuple[dict[str, str], dict[str, object], int]] = {
    "a": (
        {"PYTHONHASHSEED": "1", "TZ": "Asia/Kathmandu", "LANG": "C", "LC_ALL": "C", "COLUMNS": "40"},
        {"machine.workers.threads": 1},
        0o077,
    ),
    "a longer name, with blanks": (
        {"PYTHONHASHSEED": "4242", "TZ": "America/St_Johns", "LANG": "en_US.UTF-8", "COLUMNS": "300"},
        {"machine.workers.threads": 2},
        0o002,
    ),
}
# Outputs that the number of threads of TensorFlow may change, and the largest difference of a number in them. Training
# makes differences of the last bit larger. Measured on the tiny project, for compact_cnn after two epochs: 0.0026 in
# weights, 0.0011 in losses, 0.00008 in scores and figures; for a head on cached features none.
BOUNDS = {
    "data/features/features.npy": 1e-4,
    "data/predictions/new.csv": 1e-3,
    "data/scores.csv": 1e-3,
    "data/scores.npy": 1e-3,
    "metrics/evaluate.json": 1e-3,
    "metrics/plots/folds.csv": 1e-3,
    "metrics/plots/history.csv": 1e-2,
    "metrics/plots/per_label.csv": 1e-3,
    "metrics/plots/pr_curves.csv": 1e-3,
    "metrics/plots/reliability.csv": 1e-3,
    "metrics/test.json": 1e-3,
    "metrics/train.json": 1e-3,
    "models/model.keras": 1e-2,
    "models/trained.keras": 1e-2,
}


def clean_run(workbench: Bench, recipe: str, name: str, env: Mapping[str, str], values: Mapping[str, object],
              umask: int = 0o022) -> bench.Snapshot:  # fmt: skip
    """All stages in a new folder; return the digests of their outputs.

    The stages run one after the other in one process of its own. The folder stays for a look at what differs.
    """
    root = folder_of(workbench, name)
    bench.remove(root)
    bench.new_project(root, {**bench.RECIPES[recipe], **values})
    if "model.name" in bench.RECIPES[recipe]:
        bench.copy(workbench.finished(recipe) / "data/backbones", root / "data/backbones")
    scripts = [[runner.script_of(stage), *stage_files.arguments(stage)] for stage in stage_files.STAGES]
    # TensorFlow takes its settings once per process, so that those who need it have their own.
    parts = [scripts[:3], *[[script] for script in scripts[3:]]]
    for part in parts:
        command = [sys.executable, "-c", RUN, json.dumps([umask, part])]
        ended = runner.run(command, root, {**workbench.environment(), **env})
        if ended.code != 0:
            raise RuntimeError(f"a clean run ended with {ended.code}: {ended.stderr}")
    return bench.snapshot(root, [path for stage in stage_files.STAGES for path in stage_files.writes(stage)])


def folder_of(workbench: Bench, name: str) -> Path:
    return workbench.folder / "elsewhere" / name


def elsewhere(workbench: Bench, recipe: str, name: str) -> Trial:
    """One of ``VARIANTS`` against the finished project."""
    names = [path for stage in stage_files.STAGES for path in stage_files.writes(stage)]
    env, values, umask = VARIANTS[name]
    now = clean_run(workbench, recipe, name, env, values, umask)
    problems = bench.differences(bench.snapshot(workbench.finished(recipe), names), now)
    return Trial(KIND, recipe, f"{env}, {values}, umask {umask:03o}", problems)


def threads(workbench: Bench, recipe: str) -> tuple[Trial, dict[str, float]]:
    """One thread of TensorFlow against two: which outputs differ, and by how much at most."""
    one, two = (
        clean_run(workbench, recipe, f"threads-{number}", {}, {"machine.device.cpu_threads": number})
        for number in (1, 2)
    )
    found = {
        path: largest_difference(*(folder_of(workbench, f"threads-{number}") / path for number in (1, 2)))
        for path in sorted(one)
        if one[path] != two.get(path)
    }
    problems = [f"{path} differs by {size:.2g}" for path, size in found.items() if not size <= BOUNDS.get(path, 0)]
    return Trial("1 thread against 2", recipe, f"machine.device.cpu_threads: {found}", problems), found


def largest_difference(first: Path, second: Path) -> float:
    """The largest difference between two numbers in the same place; infinity if anything but numbers differs."""
    numbers = [_numbers(path) for path in (first, second)]
    if numbers[0].keys() != numbers[1].keys():
        return float("inf")
    largest = 0.0
    for key, value in numbers[0].items():
        other = numbers[1][key]
        if isinstance(value, str) or isinstance(other, str):
            if value != other:
                return float("inf")
        elif value.shape != other.shape:
            return float("inf")
        elif value.size:
            largest = max(largest, float(np.abs(value - other).max()))
    return largest


def _numbers(path: Path) -> dict[str, "np.ndarray | str"]:
    if path.suffix == ".npy":
        return {"": np.load(path).astype(np.float64)}
    if path.suffix == ".json":
        return _flat("", json.loads(path.read_text()))
    if path.suffix == ".csv":
        with path.open(newline="") as stream:
            return {f"{row} {column}": _number(cell) for row, cells in enumerate(csv.reader(stream))
                    for column, cell in enumerate(cells)}  # fmt: skip
    if path.suffix == ".keras":
        return _weights(path)
    return {"": path.read_text()}


def _flat(key: str, value: object) -> dict[str, "np.ndarray | str"]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: number for inner, item in items for name, number in _flat(f"{key}/{inner}", item).items()}
    return {key: _number(json.dumps(value))}


def _number(text: str) -> "np.ndarray | str":
    try:
        return np.array(float(text))
    except ValueError:
        return text


def _weights(path: Path) -> dict[str, "np.ndarray | str"]:
    import h5py

    found: dict[str, np.ndarray | str] = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith(".json"):
                found |= {f"{name} {key}": value for key, value in _flat("", json.loads(content)).items()}
            elif name.endswith(".h5"):
                with h5py.File(io.BytesIO(content)) as weights:
                    names: list[str] = []
                    weights.visit(names.append)
                    arrays = {key: weights[key] for key in names if isinstance(weights[key], h5py.Dataset)}
                    found |= {key: np.asarray(array, dtype=np.float64) for key, array in arrays.items()}
    return found

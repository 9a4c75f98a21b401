"""Figures of two runs beside each other, and whether they differ by more than chance explains.

Nothing is called a difference without a band. Where the spread over seeds is not known for the recipe, only the figures
with a bootstrap interval have one.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posterity import environment, git
from posterity.errors import UserError
from posterity.verifying import noise
from posterity.verifying.lock_file import LockFile
from posterity.verifying.recorded import LOCK

LOWER_IS_BETTER = {"bce", "coverage_error", "ece", "hamming_loss", "loss", "val_bce"}
HIGHER_IS_BETTER = {
    "f1_macro", "f1_micro", "hit_at_1", "lrap", "map_macro", "map_micro", "precision_at_3", "roc_auc_macro", "skill",
    "recall_per_image", "subset_accuracy",
}  # fmt: skip
ENVIRONMENT = "metrics/environment.json"
# What says which rows the figures are of.
DATA = ("metrics/data.json", "metrics/split.json")


@dataclass(frozen=True)
class Run:
    """What is known of a run: its metrics by path, as JSON content, and its dvc.lock, if there is one."""

    metrics: dict[str, Any]
    lock: LockFile | None


@dataclass(frozen=True)
class Figure:
    """A figure of both runs; ``band`` is None if nothing is known of its noise."""

    name: str
    here: float
    there: float
    band: float | None
    verdict: str

    @property
    def difference(self) -> float:
        """Here minus there."""
        return self.here - self.there


@dataclass(frozen=True)
class Comparison:
    """The figures, where the bands come from, and what else differs, in whole sentences."""

    figures: list[Figure]
    source: str
    notes: list[str]


def workspace() -> Run:
    """The run in the current folder."""
    paths = sorted(path.as_posix() for path in Path("metrics").glob("*.json"))
    content = {path: _parsed(Path(path).read_text(encoding="utf-8"), path) for path in paths}
    return Run(content, LockFile(Path(LOCK).read_text(encoding="utf-8"), LOCK))


def committed(revision: str) -> Run:
    """The run whose metrics are committed at ``revision``.

    Raises
    ------
    UserError
        If Git knows no such revision, or if it has no metrics.
    """
    if git.output("--version") is None:
        raise UserError("--against needs Git. Got none. Install it.")
    commit = git.output("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if commit is None:
        raise UserError(
            f"--against {revision}: expected a revision that Git knows, such as HEAD~1, a branch or a tag. Got none. "
            "`git log --oneline` lists them."
        )
    listed = git.output("ls-tree", "--name-only", "-z", commit.strip(), "metrics/") or ""
    paths = [path for path in listed.split("\0") if path.endswith(".json")]
    if not paths:
        raise UserError(f"--against {revision}: expected metrics/*.json in that revision. Got none. Name another one.")
    texts = {path: git.output("show", f"{commit.strip()}:./{path}") or "" for path in paths}
    lock = git.output("show", f"{commit.strip()}:./{LOCK}")
    content = {path: _parsed(text, f"{path} at {revision}") for path, text in texts.items()}
    return Run(content, None if lock is None else LockFile(lock, f"{LOCK} at {revision}"))


def compare(here: Run, there: Run) -> Comparison:
    """Put the figures of two runs beside each other.

    Parameters
    ----------
    here, there : Run
        The run in question, and the one it is compared with.
    """
    one, other = _figures(here), _figures(there)
    bands, source = _bands(here, there)
    notes = _about_data(here, there)
    is_comparable = not notes
    figures = []
    for name in sorted(one.keys() & other.keys()):
        band = bands.get(name)
        verdict = _verdict(name, one[name] - other[name], band) if is_comparable else "not comparable"
        figures.append(Figure(name, one[name], other[name], band if is_comparable else None, verdict))
    if only := sorted(one.keys() ^ other.keys()):
        notes.append(f"Only one of the runs has {', '.join(only)}.")
    return Comparison(figures, source, notes + _about_environment(here, there))


def _figures(run: Run) -> dict[str, float]:
    # Without the test side: who compares runs by it chooses by it.
    return noise.figures(run.metrics.get("metrics/evaluate.json", {}), run.metrics.get("metrics/train.json", {}))


def _bands(here: Run, there: Run) -> tuple[dict[str, float], str]:
    """The noise of each figure and, in a sentence, where it comes from."""
    reasons = []
    for recipe, run, owners in (("this run", here, (here,)), ("the other run", there, (there, here))):
        for owner in owners:
            measured = owner.metrics.get(noise.NOISE)
            if measured is None or run.lock is None or any(stage not in run.lock for stage in noise.STAGES):
                continue
            if wrong := noise.misfit(measured, noise.depends_on(run.lock)):
                reasons.append(f"{noise.NOISE} was measured with other {' and '.join(wrong)} than {recipe} has")
                continue
            number = len(measured["seeds"])
            # No spread in a few seeds is no proof that there is none.
            spreads = {name: found["std"] for name, found in measured["figures"].items() if found["std"] > 0}
            bands = {name: noise.band(std, number) for name, std in spreads.items()}
            source = f"{noise.NOISE}, {number} seeds of the recipe of {recipe}: t(0.975, {number - 1}) * std * sqrt(2)"
            return bands, f"Noise: {source}."
    why = "; ".join(dict.fromkeys(reasons)) or f"there is no {noise.NOISE}"
    source = (
        f"Noise: the bootstrap intervals of both runs, since {why}. They say how far a figure moves with other "
        "validation rows; `posterity noise` measures how far it moves with the seed."
    )
    return _bootstrap_bands(_figures(here), _figures(there)), source


def _bootstrap_bands(here: Mapping[str, float], there: Mapping[str, float]) -> dict[str, float]:
    """Half widths of the intervals, added as those of independent figures.

    On the same rows the two runs are not independent, and their difference moves less: the band is a wide one.
    """
    bands = {}
    for name in here.keys() & there.keys():
        ends = [(run.get(f"{name}_low"), run.get(f"{name}_high")) for run in (here, there)]
        halves = [(high - low) / 2 for low, high in ends if low is not None and high is not None]
        if len(halves) == 2:
            bands[name] = math.hypot(*halves)
    return bands


def direction(name: str) -> int:
    """Say whether more of a figure is better: 1, or -1 for less, or 0 where neither is.

    Examples
    --------
    >>> direction("evaluate.bce_calibrated"), direction("evaluate.map_macro"), direction("evaluate.map_macro_prior")
    (-1, 1, 0)
    """
    base = name.rpartition(".")[2].removesuffix("_calibrated").removesuffix("_tuned")
    return -1 if base in LOWER_IS_BETTER else int(base in HIGHER_IS_BETTER)


def _verdict(name: str, difference: float, band: float | None) -> str:
    if difference == 0:
        return "same"
    if band is not None and abs(difference) <= band:
        return "within noise"
    words = {1: "better, ", -1: "worse, ", 0: ""}[direction(name) * (1 if difference > 0 else -1)]
    return words + ("no band known" if band is None else "beyond noise")


def _about_data(here: Run, there: Run) -> list[str]:
    """Why the figures are not comparable."""
    differ = [path for path in DATA if here.metrics.get(path) != there.metrics.get(path)]
    if here.lock is None or there.lock is None:
        differ.append("dvc.lock, which only one of the runs has")
    else:
        for stage, path in (("split", "data/split.csv"), ("preprocess", "data/rows")):
            if here.lock.outs(stage).get(path) != there.lock.outs(stage).get(path):
                differ.append(path)
    if not differ:
        return []
    return [f"The runs differ in {', '.join(differ)}: their figures are of other rows or labels, and not comparable."]


def _about_environment(here: Run, there: Run) -> list[str]:
    one, other = (run.metrics.get(ENVIRONMENT) for run in (here, there))
    if one is None or other is None:
        return [f"The environments cannot be compared: {ENVIRONMENT} is not there in both runs."]
    found = environment.differences(one, other)
    return [f"Environment: {name} is {_short(mine)} here, {_short(its)} there." for name, mine, its in found]


def _short(value: Any) -> str:
    return "not recorded" if value is None else json.dumps(value, ensure_ascii=False)


def _parsed(text: str, name: str) -> Any:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"{name}: expected JSON as a stage writes it. Got: {error}. Run `dvc repro`.") from None
    if not isinstance(content, dict):
        raise UserError(f"{name}: expected a JSON object, as a stage writes it. Got something else. Run `dvc repro`.")
    return content

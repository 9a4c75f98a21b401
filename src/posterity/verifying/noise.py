"""How far figures move with the seed alone: mean and spread over trainings that differ in nothing else.

metrics/noise.json holds them, with digests of what they depend on, so that they are never used for another recipe.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posterity.errors import UserError
from posterity.verifying.lock_file import LockFile, digest

NOISE = "metrics/noise.json"
STAGES = ("train", "evaluate")
# What another seed changes: not a part of the recipe that the noise belongs to.
_OF_A_SEED = ("models/trained.keras", "data/scores.npy", "data/out_of_fold.npy")
_SPLIT = "data/split.csv"


def depends_on(lock: LockFile) -> dict[str, str]:
    """Digests of all that the figures of `STAGES` depend on beside the seed, as dvc.lock records them.

    Parameters
    ----------
    lock : LockFile
        With the stages train and evaluate.

    Returns
    -------
    dict
        ``recipe``: their parameters without the seed; ``data``: pixels, features, labels; ``split``: the side of every
        row; ``code``: scripts and library.

    Raises
    ------
    UserError
        If one of the stages has not run.
    """
    if missing := [stage for stage in STAGES if stage not in lock]:
        raise UserError(f"dvc.lock: expected a finished run. Got none of stage {missing[0]}. Run `dvc repro` first.")
    params = {stage: lock.params(stage) for stage in STAGES}
    deps = {path: value for stage in STAGES for path, value in lock.deps(stage).items() if path not in _OF_A_SEED}
    return {
        "recipe": digest({stage: {k: v for k, v in found.items() if k != "seed"} for stage, found in params.items()}),
        "split": digest(deps.get(_SPLIT)),
        "code": digest({path: value for path, value in deps.items() if path.startswith("src/")}),
        "data": digest({path: value for path, value in deps.items() if path != _SPLIT and not path.startswith("src/")}),
    }


def figures(evaluate: Mapping[str, Any], train: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a run by file and key, from the content of metrics/evaluate.json and metrics/train.json.

    Examples
    --------
    >>> figures({"bce": 0.2}, {"bce": 0.1, "kept_epoch": 3})
    {'evaluate.bce': 0.2, 'train.bce': 0.1, 'train.kept_epoch': 3}
    """
    named = (("evaluate", evaluate), ("train", train))
    return {
        f"{name}.{key}": value
        for name, content in named
        for key, value in content.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def summary(runs: Mapping[int, Mapping[str, float]], depends: Mapping[str, str]) -> dict[str, Any]:
    """Content of metrics/noise.json.

    Parameters
    ----------
    runs : mapping of int to mapping
        The `figures` of each seed, at least two.
    depends : mapping
        What `depends_on` returns.

    Returns
    -------
    dict
        ``seeds``; ``figures``: by name ``mean``, ``std`` (with n - 1 in the divisor), ``min``, ``max``, of figures that
        every seed has; ``depends_on``.

    Examples
    --------
    The mean of 1, 2 and 6 is 3; the squares of the deviations are 4, 1 and 9, and their sum by 2 is 7.

    >>> found = summary({1: {"a": 1.0}, 2: {"a": 2.0}, 3: {"a": 6.0}}, {})["figures"]["a"]
    >>> found["mean"], round(found["std"] ** 2, 6), found["min"], found["max"]
    (3.0, 7.0, 1.0, 6.0)
    """
    if len(runs) < 2:
        raise ValueError(f"a spread needs at least two seeds. Got {len(runs)}")
    names = set.intersection(*(set(found) for found in runs.values()))
    values = {name: np.array([found[name] for found in runs.values()], dtype=np.float64) for name in sorted(names)}
    return {
        "seeds": sorted(runs),
        "figures": {
            name: {
                "mean": float(found.mean()),
                "std": float(found.std(ddof=1)),
                "min": float(found.min()),
                "max": float(found.max()),
            }
            for name, found in values.items()
        },
        "depends_on": dict(depends),
    }


def misfit(noise: Mapping[str, Any], depends: Mapping[str, str]) -> list[str]:
    """Which of recipe, data, split and code are not those that the noise was measured with."""
    measured = noise.get("depends_on", {})
    return [name for name in depends if measured.get(name) != depends[name]]


def band(std: float, num_seeds: int, level: float = 0.95) -> float:
    """How far two single runs may differ by their seeds alone, in 95 of 100 cases: t(0.975, n - 1) * std * sqrt(2).

    The difference of two runs has the variance 2 sigma^2. Divided by the root of its estimate from n other runs, it
    follows Student's distribution [1] with n - 1 degrees of freedom, if the figure is about normally distributed over
    seeds. How much of the variance of a benchmark comes from seeds is measured in [2].

    Parameters
    ----------
    std : float
        Standard deviation over the seeds, with n - 1 in the divisor.
    num_seeds : int, at least 2
        n.
    level : float
        Share of the cases, in (0, 1).

    References
    ----------
    [1] Student (1908), The Probable Error of a Mean, Biometrika 6 (1).
    [2] Bouthillier et al. (2021), Accounting for Variance in Machine Learning Benchmarks, MLSys.

    Examples
    --------
    A table of Student's distribution has 4.303 for two degrees of freedom: 4.303 * 0.01 * 1.41421.

    >>> round(band(0.01, 3), 5)
    0.06085
    """
    from scipy import stats

    return float(stats.t.ppf((1 + level) / 2, num_seeds - 1) * std * math.sqrt(2))


def seeds_from(first: int, number: int) -> Sequence[int]:
    """The seeds to train with: that of the finished run, and those that follow it."""
    return range(first, first + number)

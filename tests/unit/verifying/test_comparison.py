"""Two runs beside each other: bands, verdicts, and what is not comparable. All numbers are worked out by hand."""

import json
import math
import subprocess
from pathlib import Path

import pytest

from posterity.errors import UserError
from posterity.verifying import noise
from posterity.verifying.comparison import Run, committed, compare, workspace
from posterity.verifying.lock_file import LockFile

LOCK = """\
schema: '2.0'
stages:
  preprocess: {{cmd: a, outs: [{{path: data/rows, hash: md5, md5: {rows}}}]}}
  split: {{cmd: a, outs: [{{path: data/split.csv, hash: md5, md5: {split}}}]}}
  train:
    cmd: python src/train.py
    deps: [{{path: data/split.csv, md5: {split}}}, {{path: data/tensors, md5: t}}, {{path: src/train.py, md5: {code}}}]
    params: {{params.yaml: {{seed: {seed}, train: {{epochs: {epochs}}}}}}}
  evaluate:
    cmd: python src/evaluate.py
    deps: [{{path: data/scores.npy, md5: s{seed}}}, {{path: models/trained.keras, md5: m{seed}}}]
    params: {{params.yaml: {{seed: {seed}}}}}
"""


BASE = {"rows": "r", "split": "s", "code": "c", "seed": 42, "epochs": 3}


def lock(**changes):
    return LockFile(LOCK.format(**(BASE | changes)), "dvc.lock")


def run(figures, lock_file=None, **metrics):
    return Run({"metrics/evaluate.json": figures} | metrics, lock_file or lock())


def measured(std, lock_file):
    """metrics/noise.json of three seeds with this standard deviation of the two figures."""
    figures = {name: {"mean": 0.0, "std": std, "min": 0.0, "max": 0.0} for name in ("evaluate.bce", "evaluate.skill")}
    return {noise.NOISE: {"seeds": [1, 2, 3], "figures": figures, "depends_on": noise.depends_on(lock_file)}}


def verdicts(comparison):
    return {row.name: row.verdict for row in comparison.figures}


def test_the_noise_of_seeds_separates_differences_from_chance():
    # t(0.975, 2) = 4.3027, so the band is 4.3027 * 0.01 * 1.4142 = 0.06085.
    here = run({"bce": 0.20, "skill": 0.50, "lrap": 0.9}, **measured(0.01, lock()))
    there = run({"bce": 0.27, "skill": 0.45, "lrap": 0.8})
    found = compare(here, there)
    assert verdicts(found) == {
        "evaluate.bce": "better, beyond noise",  # 0.07 lower
        "evaluate.lrap": "better, no band known",
        "evaluate.skill": "within noise",
    }
    assert found.figures[0].band == pytest.approx(0.06085, abs=1e-5)
    assert found.figures[0].difference == pytest.approx(-0.07)
    assert found.source == (
        "Noise: metrics/noise.json, 3 seeds of the recipe of this run: t(0.975, 2) * std * sqrt(2)."
    )


def test_noise_of_another_seed_of_the_same_recipe_fits():
    assert noise.misfit({"depends_on": noise.depends_on(lock(seed=7))}, noise.depends_on(lock())) == []


@pytest.mark.parametrize(
    ("changes", "named"), [({"epochs": 4}, "recipe"), ({"code": "x"}, "code"), ({"split": "x"}, "split")]
)
def test_noise_of_another_recipe_is_not_used(changes, named):
    here = run({"skill": 0.5}, **measured(0.01, lock(**changes)))
    found = compare(here, run({"skill": 0.4}))
    assert verdicts(found) == {"evaluate.skill": "better, no band known"}
    assert f"metrics/noise.json was measured with other {named} than this run has" in found.source


def test_noise_that_fits_only_the_other_run_is_used():
    there = run({"bce": 0.2}, **measured(0.01, lock()))
    found = compare(run({"bce": 0.21}, lock(epochs=4)), there)
    assert verdicts(found) == {"evaluate.bce": "within noise"}
    assert "of the recipe of the other run" in found.source


def test_no_spread_over_a_few_seeds_is_no_band():
    here = run({"bce": 0.2}, **measured(0.0, lock()))
    assert verdicts(compare(here, run({"bce": 0.3}))) == {"evaluate.bce": "better, no band known"}


def test_without_noise_the_bootstrap_intervals_are_the_band():
    # Half widths 0.03 and 0.04: their root of squares is 0.05.
    here = run({"skill": 0.30, "skill_low": 0.27, "skill_high": 0.33})
    near = run({"skill": 0.34, "skill_low": 0.30, "skill_high": 0.38})
    far = run({"skill": 0.36, "skill_low": 0.32, "skill_high": 0.40})
    found = compare(here, near)
    assert verdicts(found)["evaluate.skill"] == "within noise"
    assert verdicts(found)["evaluate.skill_low"] == "no band known"  # an end of an interval is neither good nor bad
    assert {row.name: row.band for row in found.figures}["evaluate.skill"] == pytest.approx(math.hypot(0.03, 0.04))
    assert found.source.startswith("Noise: the bootstrap intervals of both runs, since there is no metrics/noise.json.")
    assert verdicts(compare(here, far))["evaluate.skill"] == "worse, beyond noise"


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (run({"bce": 0.1}, lock(split="x")), "data/split.csv"),
        (run({"bce": 0.1}, lock(rows="x")), "data/rows"),
        (run({"bce": 0.1}, **{"metrics/data.json": {"rows_cached": 9}}), "metrics/data.json"),
        (Run({"metrics/evaluate.json": {"bce": 0.1}}, None), "dvc.lock, which only one of the runs has"),
    ],
)
def test_figures_of_other_rows_are_not_comparable(other, named):
    found = compare(run({"bce": 0.2}), other)
    assert verdicts(found) == {"evaluate.bce": "not comparable"}
    assert found.figures[0].band is None
    assert named in found.notes[0]


def test_figures_of_the_test_side_are_left_out():
    both = run({"bce": 0.2}, **{"metrics/test.json": {"bce": 0.3}})
    assert verdicts(compare(both, both)) == {"evaluate.bce": "same"}


def test_what_differs_beside_the_figures_is_said():
    here = run({"bce": 0.2, "new": 1.0}, **{"metrics/environment.json": {"versions": {"numpy": "2.1"}}})
    there = run({"bce": 0.2}, **{"metrics/environment.json": {"versions": {"numpy": "2.0"}}})
    assert compare(here, there).notes == [
        "Only one of the runs has evaluate.new.",
        'Environment: versions.numpy is "2.1" here, "2.0" there.',
    ]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("metrics").mkdir()
    Path("metrics/evaluate.json").write_text(json.dumps({"bce": 0.25}))
    Path("dvc.lock").write_text(LOCK.format(**BASE))
    author = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "1"]):
        subprocess.run(["git", *command], check=True)
    return tmp_path


def test_a_revision_is_read_without_a_checkout(repository):
    Path("metrics/evaluate.json").write_text(json.dumps({"bce": 0.2}))
    found = compare(workspace(), committed("HEAD"))
    assert [(row.here, row.there) for row in found.figures] == [(0.2, 0.25)]


@pytest.mark.parametrize("revision", ["nowhere", "--output=x", "HEAD~1", ""])
def test_an_unknown_revision_is_a_mistake_of_the_user(repository, revision):
    with pytest.raises(UserError, match="expected a revision that Git knows"):
        committed(revision)
    assert not Path("x").exists()


def test_damaged_metrics_are_a_message(repository):
    Path("metrics/evaluate.json").write_text("{")
    with pytest.raises(UserError, match=r"metrics/evaluate\.json: expected JSON as a stage writes it"):
        workspace()

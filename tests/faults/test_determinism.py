"""Clean runs under other circumstances give the same bytes, and the number of threads acts within its bounds."""

import pytest

from faults import determinism
from faults.bench import Bench

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    with Bench(tmp_path_factory.mktemp("determinism")) as workbench:
        yield workbench


@pytest.mark.parametrize("variant", determinism.VARIANTS)
def test_a_clean_run_elsewhere_gives_the_same_bytes(workbench, variant):
    assert determinism.elsewhere(workbench, "scratch", variant).problems == []


def test_threads_of_tensorflow_act_within_the_documented_bounds(workbench):
    trial, found = determinism.threads(workbench, "scratch")
    assert trial.problems == []
    # All that is not trained on is the same to the byte.
    assert found.keys() <= determinism.BOUNDS.keys()


def test_another_seed_is_seen(workbench):
    one = determinism.clean_run(workbench, "scratch", "seed", {}, {"seed": 1})
    assert one["data/split.csv"] != determinism.bench.snapshot(workbench.finished())["data/split.csv"]

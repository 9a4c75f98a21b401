"""The quick part of the fault harness: a few faults of each kind, in every stage that a start of TensorFlow spares.

The long part is `python tests/faults/long_run.py` (docs/faults.md).
"""

import random

import pytest

from faults import bench, determinism, disk, flips, hostile, kills, signals, stage_files, together
from faults.bench import Bench
from faults.outcomes import Table

LIGHT = ["validate", "preprocess", "split", "evaluate"]
DAMAGES = [
    "a block of zeros",
    "empty",
    "a pickle",
    "no weights",
    "a card that is no JSON",
    "a card of a million brackets",
    "a card with labels that are numbers",
    "a card with frequencies of NaN",
    "a card with a negative height",
    "a card that asks for a huge image",
]
SPECIAL = ["a named pipe", "a socket", "a folder", "a link to itself"]


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    with Bench(tmp_path_factory.mktemp("faults")) as workbench:
        yield workbench


@pytest.fixture
def generator():
    return random.Random(0)


def check(trials, at_least=1, *, may_need_help=False):
    table = Table(trials)
    assert len(table.trials) >= at_least
    assert table.is_right if may_need_help else table.is_clean, f"{table.as_text()}\n\n{table.wrong()}"


def test_a_forked_stage_makes_what_a_started_one_does(workbench):
    for stage in ("validate", "preprocess", "split", "evaluate"):
        workbench.fresh(without=stage)
        ended = workbench.run_afresh(stage)
        assert bench.differences(workbench.right("scratch"), bench.snapshot(workbench.project)) == []
        assert ended.code == 0


@pytest.mark.parametrize("stage", LIGHT)
def test_kills(workbench, generator, stage):
    check(kills.at_changes(workbench, "scratch", stage, 5, older=True), at_least=5)
    check(kills.at_changes(workbench, "scratch", stage, 2, older=False))
    check(kills.in_writes(workbench, "scratch", stage, 2, generator))
    check(kills.at_times(workbench, "scratch", stage, 2, generator))


def test_kills_of_a_training(workbench, generator):
    check(kills.at_times(workbench, "scratch", "train", 1, generator))


@pytest.mark.parametrize("stage", ["preprocess", "split", "evaluate"])
def test_flips(workbench, generator, stage):
    check(flips.in_inputs(workbench, "scratch", stage, 3, generator), at_least=9)


def test_flips_in_params(workbench, generator):
    check(flips.in_params(workbench, 5, generator))


def test_flips_in_what_a_training_reads(workbench, generator):
    for name in ("data/rows/targets.npy", "data/tensors/images-00001.npy", "data/tensors/meta.json", "data/split.csv"):
        size = (workbench.finished() / name).stat().st_size
        check([flips.in_input(workbench, "scratch", "train", name, size * 3 // 4, 3)])


@pytest.mark.parametrize("stage", LIGHT)
def test_full_disks_and_permissions(workbench, generator, stage):
    check(disk.writes_refused(workbench, "scratch", stage, 2, generator))
    check(disk.not_writable(workbench, "scratch", stage, 1))
    check(disk.not_readable(workbench, "scratch", stage, 3))


def test_a_small_disk(workbench, generator):
    if not workbench.can_mount():
        pytest.skip("only root may mount a file system")
    for stage in LIGHT:
        check(disk.full(workbench, "scratch", stage, 1, generator))


def test_a_device_that_is_full(workbench):
    check(disk.full_device(workbench))


@pytest.mark.parametrize("stage", ["validate", "split"])
def test_signals(workbench, generator, stage):
    check(signals.at_times(workbench, "scratch", stage, 3, generator))


def test_two_runs_at_once(workbench, generator):
    check(together.two_stages(workbench, "scratch", "preprocess", 1, generator))


def test_hostile_models(workbench, generator):
    check(hostile.models(workbench, "evaluate", generator, DAMAGES))
    check(
        hostile.models(workbench, "evaluate", generator, ["cut at random", "a card with other labels"], with_lock=True)
    )


def test_pickles(workbench):
    check(hostile.pickles(workbench, ["split"]))


@pytest.mark.parametrize("stage", ["validate", "split", "evaluate"])
def test_special_files(workbench, stage):
    check(hostile.special_files(workbench, stage, SPECIAL))


@pytest.mark.slow
def test_dvc_is_killed(workbench, generator):
    # DVC writes files of its own in place, and a kill in this moment takes one command to mend.
    check(kills.of_dvc(workbench, "split", 2, generator, at_each=2), at_least=4, may_need_help=True)


@pytest.mark.slow
def test_a_lock_that_dvc_could_not_write_to_its_end(workbench):
    """What a kill leaves only if it comes in one moment."""
    case = kills.DvcCase(workbench, "split")
    target, last = case.lock.index("  split:\n"), case.lock.rindex("    outs:\n")
    in_word = case.lock.index("  md5: ", target) + len("  m")  # the file is no YAML then
    for length, is_manual in (in_word, True), (target, False), (last, False):
        case.start()
        (workbench.project / "dvc.lock").write_text(case.lock[:length])
        trial = case.run_again(f"cut off at {length}", [])
        assert (trial.problems, trial.is_manual) == ([], is_manual), length


@pytest.mark.slow
def test_dvc_sees_flips(workbench, generator):
    check(flips.by_dvc(workbench, "scratch", "split", 2, generator))
    check(flips.in_lock(workbench, 2, generator))
    check(flips.at_rest(workbench, "scratch", 2, generator))


@pytest.mark.slow
def test_a_stage_ends_with_its_dvc(workbench, generator):
    # A training: whatever else a stage does on this project is done before anybody looks.
    check(together.orphans(workbench, "train", 1, generator))


@pytest.mark.slow
def test_a_clean_run_elsewhere_gives_the_same_bytes(workbench):
    check([determinism.elsewhere(workbench, "scratch", "a longer name, with blanks")])


def test_every_stage_is_known():
    assert set(stage_files.WITH_TENSORFLOW) < set(stage_files.STAGES)
    assert stage_files.writes("predict") == ["data/predictions/new.csv"]
    assert stage_files.reads("split") == ["data/rows"]

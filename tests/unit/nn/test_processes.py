import importlib.util
import socket
import subprocess
import sys
import zlib

import numpy as np
import pandas as pd
import pytest

from posterity.errors import UserError
from posterity.nn import device, processes
from posterity.nn.processes import SINGLE_PROCESS, Part
from small_project import SRC, SmallProject, environment, run_script

FAILING = """
from posterity import errors, script
from posterity.nn import processes

def main():
    processes.connect(None, None)
    part = processes.own_part(8)
    processes.check_same_content(part, b"the same")
    if part.process == 1:
        raise errors.UserError("a mistake in process 1")
    processes.check_same_content(part, b"what process 1 never says")

script.run(main)
"""
OUTPUTS = {
    "--trained": "t.keras",
    "--summary": "s.txt",
    "--scores": "s.npy",
    "--history": "h.csv",
    "--metrics": "m.json",
}
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")


@pytest.fixture
def jax(monkeypatch):
    """JAX, with what it would be asked about other processes to be set by the test."""
    monkeypatch.setattr(device, "load_backend", lambda: "jax")
    for name in (processes.ADDRESS, processes.COUNT, processes.NUMBER):
        monkeypatch.delenv(name, raising=False)
    return pytest.importorskip("jax")


def test_parts_are_neighbours_and_cover_the_batch():
    assert [Part(process, 3, 6).of(12) for process in range(3)] == [slice(0, 4), slice(4, 8), slice(8, 12)]
    assert SINGLE_PROCESS.of(5) == slice(0, 5)


def test_one_process_needs_nothing():
    processes.connect(1, None)
    assert processes.own_part(7) is SINGLE_PROCESS
    with processes.on_all_devices([], SINGLE_PROCESS):
        pass


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(device, "load_backend", lambda: "tensorflow")
    with pytest.raises(UserError, match="count: 2 needs Keras' JAX backend. Got tensorflow. .*KERAS_BACKEND=jax"):
        processes.connect(2, None)
    with pytest.raises(UserError, match="machine.processes.count: null needs"):
        processes.connect(None, None)


def test_parameters_come_before_the_environment_and_the_rest_is_left_to_jax(monkeypatch, jax):
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *given, **limits: calls.append(given))
    processes.connect(None, None)
    monkeypatch.setenv(processes.ADDRESS, "10.0.0.1:1234,10.0.0.2:1234")
    monkeypatch.setenv(processes.COUNT, "4")
    monkeypatch.setenv(processes.NUMBER, "3")
    processes.connect(None, None)
    processes.connect(8, "head:99")
    assert calls == [(None, None, None), ("10.0.0.1:1234", 4, 3), ("head:99", 8, 3)]


def test_what_jax_says_against_it_is_a_user_error(monkeypatch, jax):
    def refuse(*given, **limits):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", refuse)
    with pytest.raises(UserError, match=r"number of this process. JAX says: coordinator_address should be defined"):
        processes.connect(2, None)
    monkeypatch.setenv(processes.NUMBER, "one")
    with pytest.raises(UserError, match=f"{processes.NUMBER} must be a whole number, 0 or more. Got 'one'"):
        processes.connect(2, "head:99")


def test_other_files_in_one_process_are_an_error_in_all(monkeypatch, jax):
    multihost_utils = pytest.importorskip("jax.experimental.multihost_utils")
    sums = {process: zlib.crc32(content) for process, content in enumerate([b"a", b"b", b"a"])}
    monkeypatch.setattr(
        multihost_utils, "process_allgather", lambda own: np.array([*sums.values()], np.uint32)[:, None]
    )
    with pytest.raises(UserError, match=r"Got other ones than those of process 0 in \[1\]"):
        processes.check_same_content(Part(2, 3, 3), b"a")
    sums[1] = sums[0]
    processes.check_same_content(Part(2, 3, 3), b"a")


def test_batches_have_to_divide_among_devices_of_equal_number(monkeypatch, jax):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "device_count", lambda: 6)
    monkeypatch.setattr(jax, "local_device_count", lambda: 3)
    assert processes.own_part(12) == Part(1, 2, 6)
    with pytest.raises(UserError, match="batch_size must be a multiple of the 6 devices of 2 processes. Got 32"):
        processes.own_part(32)
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    with pytest.raises(UserError, match="same number of devices in each of 2 processes. Got 2 of 6 in process 1"):
        processes.own_part(12)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What one process, and two together, make of the same 20 rows; seven validate, so that one is over."""
    root = tmp_path_factory.mktemp("distributed")
    SmallProject(root, 27).params(
        {
            "train.epochs": 2,
            "train.learning_rate": 1e-4,  # Adam makes steps of full size of gradients that are rounding errors
            "train.mixup": 0.4,
            "train.augment.flip": True,
            "machine.processes.count": None,
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for stage in ("validate", "preprocess", "split", "features"):
            assert run_script(stage).code == 0
    port = free_port()
    running = [start(root, 1, 0, free_port()), start(root, 2, 0, port), start(root, 2, 1, port)]
    printed = [process.communicate(timeout=900) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], printed
    return root, printed


def start(root, processes, process, port):
    arguments = [part for name, path in OUTPUTS.items() for part in (name, f"{processes}-{process}/{path}")]
    return launch([str(SRC / "train.py"), *arguments], root, processes, process, port)


def launch(arguments, folder, processes, process, port):
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(
            KERAS_BACKEND="jax",
            JAX_PLATFORMS="cpu",
            KERAS_DISTRIBUTION_JOB_ADDRESSES=f"127.0.0.1:{port}",
            KERAS_DISTRIBUTION_NUM_PROCESSES=str(processes),
            KERAS_DISTRIBUTION_PROCESS_ID=str(process),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.proof
@needs_jax
def test_two_processes_train_like_one_with_the_same_batches(trained):
    root, _ = trained
    one, two = (pd.read_csv(root / name / "h.csv") for name in ("1-0", "2-0"))
    assert len(one) == 2
    columns = ["loss", "bce", "val_bce"]
    np.testing.assert_allclose(two[columns], one[columns], rtol=1e-4)
    np.testing.assert_allclose(np.load(root / "2-0/s.npy"), np.load(root / "1-0/s.npy"), atol=1e-4)


@pytest.mark.proof
@needs_jax
def test_only_the_first_process_writes_files_and_prints_losses(trained):
    root, printed = trained
    assert sorted(path.name for path in (root / "2-0").iterdir()) == sorted(OUTPUTS.values())
    assert not (root / "2-1").exists()
    (_, _), (first, _), (second, errors) = printed
    assert "Epoch 2/2" in first
    assert "Epoch" not in second
    assert "Process 1 of 2, 2 devices in all." in errors


@pytest.mark.proof
@needs_jax
def test_an_error_in_one_process_ends_the_other(tmp_path):
    port = free_port()
    running = [launch(["-c", FAILING], tmp_path, 2, process, port) for process in range(2)]
    # JAX's own way to end would take five minutes.
    printed = [process.communicate(timeout=200)[1] for process in running]
    assert running[1].returncode == 1
    assert running[0].returncode not in (0, None)
    assert "error: a mistake in process 1" in printed[1]
    assert "error: a mistake" not in printed[0]

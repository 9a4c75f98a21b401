"""The description of versions and machine: what it holds, and what it never holds."""

import getpass
import json
import platform
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from posterity import environment

ARM = "processor\t: 0\nFeatures\t: fp asimd sve sve2 aes\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"


def test_it_names_versions_platform_and_cpu() -> None:
    found = environment.environment()
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["numpy"] == np.__version__
    assert set(found["versions"]) == {"python", "posterity", *environment.LIBRARIES}
    assert found["platform"]["machine"] == platform.machine()
    assert found["cpu"]["cores"] >= 1


def test_the_same_machine_gives_the_same_bytes_without_names_of_it(tmp_path: Path) -> None:
    environment.write(tmp_path / "one.json")
    environment.write(tmp_path / "two.json")
    text = (tmp_path / "one.json").read_text()
    assert text == (tmp_path / "two.json").read_text()
    values = {str(value) for _, value, _ in environment.differences(json.loads(text), {})}
    assert not values & {socket.gethostname(), getpass.getuser()}
    assert not any("/" in value for value in values)


def test_a_library_that_is_missing_has_no_version(monkeypatch) -> None:
    monkeypatch.setitem(environment.LIBRARIES, "opencv", ["no-such-package"])
    assert environment.environment()["versions"]["opencv"] is None


def test_a_cpu_of_arm_has_other_names_for_the_same_facts() -> None:
    assert environment.cpu(ARM) == {
        "vendor": "0x41",
        "family": None,
        "model": "0xd40",
        "flags": ["asimd", "sve", "sve2"],
    }


def test_a_machine_without_cpuinfo_says_nothing_of_its_cpu() -> None:
    assert environment.cpu("") == {"vendor": None, "family": None, "model": None, "flags": []}


def test_gpus_are_those_that_the_framework_of_the_process_sees(monkeypatch) -> None:
    config = SimpleNamespace(
        list_physical_devices=lambda kind: [kind],
        experimental=SimpleNamespace(get_device_details=lambda device: {"device_name": f"Example {device}"}),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    assert environment.environment()["gpus"] == ["Example GPU"]


def test_no_framework_is_loaded_for_it(monkeypatch) -> None:
    for name in ("tensorflow", "jax"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert environment.environment()["gpus"] == []
    assert "tensorflow" not in sys.modules


def test_differences_name_both_sides_and_what_only_one_records() -> None:
    here = {"cpu": {"model": "17", "flags": ["avx2"]}, "gpus": []}
    there = {"cpu": {"model": "1", "flags": ["avx2"]}, "extra": "x"}
    assert environment.differences(here, there) == [("cpu.model", "17", "1"), ("extra", None, "x"), ("gpus", [], None)]

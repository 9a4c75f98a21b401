"""What a result depends on beside parameters, data and code: versions of the libraries, the platform, CPU and GPU.

The same machine always gives the same content: there is no time, no host name and no path in it.
"""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

from posterity import files

# As pip knows them. `opencv` has a wheel of each of these names, which install the same module.
LIBRARIES = {
    "numpy": ["numpy"],
    "tensorflow": ["tensorflow", "tensorflow-cpu"],
    "keras": ["keras"],
    "onnxruntime": ["onnxruntime", "onnxruntime-gpu"],
    "openvino": ["openvino"],
    "opencv": ["opencv-python-headless", "opencv-python", "opencv-contrib-python"],
    "pillow": ["pillow"],
    "scikit-learn": ["scikit-learn"],
    "pandas": ["pandas"],
    "dvc": ["dvc"],
}
# Instructions by which kernels are chosen: two CPUs that differ in them may round differently.
FLAGS = ("asimd", "bf16", "fma", "sha_ni", "sve")
FLAG_PREFIXES = ("amx", "avx", "sve")


def environment() -> dict[str, Any]:
    """Describe this process and its machine, without loading a library that is not loaded.

    Returns
    -------
    dict
        ``versions``, of libraries that are installed; ``platform``: system, machine, C library; ``cpu``: vendor,
        family, model, number of cores, ``flags``; ``gpus``, a list of names, and ``gpu_driver``, if there is one.
        What the machine does not tell is None.

    Examples
    --------
    >>> sorted(environment())
    ['cpu', 'gpu_driver', 'gpus', 'platform', 'versions']
    """
    # Not imported: the package names its classifier, and so all of Keras, which what lies below must not know.
    own = sys.modules["posterity"].__version__
    return {
        "versions": {"python": platform.python_version(), "posterity": own, **_versions()},
        "platform": {
            "system": platform.system(),
            "machine": platform.machine(),
            "libc": "-".join(platform.libc_ver()).strip("-") or None,
        },
        "cpu": cpu(_text("/proc/cpuinfo")) | {"cores": os.cpu_count()},
        "gpus": _gpus(),
        "gpu_driver": gpu_driver(_text("/proc/driver/nvidia/version")),
    }


def write(path: Path) -> None:
    """Write `environment` to the JSON file ``path``."""
    files.write_json(path, environment())


def cpu(cpuinfo: str) -> dict[str, Any]:
    r"""Read vendor, family, model and the flags that matter from the text of Linux's /proc/cpuinfo.

    Examples
    --------
    >>> cpu("vendor_id : AuthenticAMD\ncpu family : 25\nmodel : 17\nflags : fpu avx2 sha_ni avx512_bf16\n")
    {'vendor': 'AuthenticAMD', 'family': '25', 'model': '17', 'flags': ['avx2', 'avx512_bf16', 'sha_ni']}
    """
    found: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())  # of the first core
    flags = found.get("flags", found.get("Features", "")).split()
    return {
        "vendor": found.get("vendor_id", found.get("CPU implementer")),
        "family": found.get("cpu family", found.get("CPU architecture")),
        "model": found.get("model", found.get("CPU part")),
        "flags": sorted({flag for flag in flags if flag in FLAGS or flag.startswith(FLAG_PREFIXES)}),
    }


def gpu_driver(version_file: str) -> str | None:
    """Read the version of NVIDIA's driver from the text of /proc/driver/nvidia/version.

    Examples
    --------
    >>> gpu_driver("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024")
    '550.54.15'
    """
    words = version_file.partition("Module")[2].split()
    return next((word for word in words if word[0].isdigit() and "." in word), None)


def differences(here: dict[str, Any], there: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """List what differs between two environments: dotted name, value here, value there; None = not recorded.

    Examples
    --------
    >>> differences({"versions": {"numpy": "2.1"}, "gpus": []}, {"versions": {"numpy": "2.0"}, "gpus": []})
    [('versions.numpy', '2.1', '2.0')]
    """
    one, other = _flat(here), _flat(there)
    pairs = [(name, one.get(name), other.get(name)) for name in sorted({*one, *other})]
    return [(name, value, counterpart) for name, value, counterpart in pairs if value != counterpart]


def _flat(content: Any, above: str = "") -> dict[str, Any]:
    if not isinstance(content, dict):
        return {above: content}
    parts = (_flat(value, f"{above}.{name}" if above else name) for name, value in content.items())
    return {name: value for part in parts for name, value in part.items()}


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name, packages in LIBRARIES.items():
        found[name] = None
        for package in packages:
            try:
                found[name] = importlib.metadata.version(package)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def _gpus() -> list[str]:
    """Names of the GPUs that the framework of this process sees; none if it has not loaded one."""
    if backend := sys.modules.get("tensorflow"):
        devices = backend.config.list_physical_devices("GPU")
        details = [backend.config.experimental.get_device_details(device) for device in devices]
        return [str(detail.get("device_name", "unknown")) for detail in details]
    if backend := sys.modules.get("jax"):
        return [str(device.device_kind) for device in backend.local_devices() if device.platform != "cpu"]
    return []


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

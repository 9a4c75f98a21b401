"""How a run is made again: what was set, what was read, which versions."""

import os
from pathlib import Path
from typing import Any

import yaml

from posterity import environment
from posterity.config import yaml12
from posterity.verifying.lock_file import LockFile
from posterity.verifying.recorded import LOCK

DEFAULTS = Path(__file__).with_name("defaults.yaml")
SECTIONS = ("seed", "data", "image", "split", "model", "train", "decide", "evaluate")  # those that change a figure
DIGESTS = (("data/rows", "preprocess"), ("data/split.csv", "split"), ("models/trained.keras", "train"))


def changed_params(path: Path) -> list[dict[str, str]]:
    """The parameters of a file that are not those of the project as delivered: ``key``, ``value``, ``default``."""
    here = _flat({key: value for key, value in yaml12.read(os.fspath(path)).items() if key in SECTIONS})
    there = _flat(yaml12.read(os.fspath(DEFAULTS)))
    return [
        {"key": key, "value": _shown(value), "default": _shown(there.get(key))}
        for key, value in here.items()
        if value != there.get(key)
    ]


def digests() -> list[dict[str, str]]:
    """What dvc.lock says of data, split and network: ``path``, ``digest``; nothing without a dvc.lock."""
    if not Path(LOCK).is_file():
        return []
    lock = LockFile(Path(LOCK).read_text(encoding="utf-8"), LOCK)
    found = []
    for path, stage in DIGESTS:
        if stage in lock and (digest := lock.outs(stage).get(path)):
            found.append({"path": path, "digest": str(digest)})
    return found


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that a result depends on."""
    return {name: str(version) for name, version in sorted(environment.environment()["versions"].items())}


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, dict) or not content:
        return {prefix.removesuffix("."): content}
    return {key: value for name, inner in content.items() for key, value in _flat(inner, f"{prefix}{name}.").items()}


def _shown(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).removesuffix("...\n").strip()
    )

"""How a run is made again: what was set, what was read, which versions."""

import os
from pathlib import Path
from typing import Any

import yaml

from posterity import environment
from posterity.config import yaml12
from posterity.config.schema import Section
from posterity.verifying.lock_file import LockFile
from posterity.verifying.recorded import LOCK

DEFAULTS = Path(__file__).with_name("defaults.yaml")
DIGESTS = (("data/rows", "preprocess"), ("data/split.csv", "split"), ("models/trained.keras", "train"))


def changed_params(**sections: Section | int) -> list[dict[str, str]]:
    """The parameters that are not those of the project as delivered: ``key``, ``value``, ``default``.

    Parameters
    ----------
    **sections
        Sections of params.yaml, and ``seed``, by their names.
    """
    delivered = yaml12.read(os.fspath(DEFAULTS))
    found = []
    for name, section in sections.items():
        # Through the schema, which writes a value that can be given in two ways in one of them.
        here = section.model_dump(mode="json") if isinstance(section, Section) else section
        there = _normal(section, delivered[name])
        values, defaults = _flat({name: here}), _flat({name: there})
        found += [
            {"key": key, "value": _shown(value), "default": _shown(defaults.get(key))}
            for key, value in values.items()
            if value != defaults.get(key)
        ]
    return found


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


def _normal(section: Section | int, content: Any) -> Any:
    if not isinstance(section, Section):
        return content
    return type(section).model_validate(content).model_dump(mode="json")


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, dict) or not content:
        return {prefix.removesuffix("."): content}
    return {key: value for name, inner in content.items() for key, value in _flat(inner, f"{prefix}{name}.").items()}


def _shown(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).removesuffix("...\n").strip()
    )

"""How a run is made again: what was set, what was read, which versions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posterity import environment
from posterity.config.flat import differing
from posterity.config.schema import Section
from posterity.verifying.lock_file import LockFile
from posterity.verifying.recorded import LOCK

DIGESTS = (("data/rows", "preprocess"), ("data/split.csv", "split"), ("models/trained.keras", "train"))


@dataclass(frozen=True, eq=False)
class Reproduction:
    """What to set and what to have for the same run.

    Attributes
    ----------
    changed : mapping of str to (default, value)
        Parameters that are not those of the project as delivered, by their dotted keys.
    digests : mapping of str to str
        What dvc.lock says of data, split and network, by their paths; nothing without a dvc.lock.
    versions : mapping of str to str
        Of Python and of the libraries that a result depends on.
    """

    changed: Mapping[str, tuple[Any, Any]]
    digests: Mapping[str, str]
    versions: Mapping[str, str]


def reproduction(sections: Mapping[str, Section], *, uses_openvino: bool) -> Reproduction:
    """Look at the parameters, at dvc.lock, and at what is installed.

    Parameters
    ----------
    sections : mapping
        Sections of params.yaml by their names.
    uses_openvino : bool
        Whether OpenVINO had a part in the run: where it is only installed, it must not change what is written.
    """
    changed: dict[str, tuple[Any, Any]] = {}
    for name, section in sections.items():
        changed |= differing(section, f"{name}.")
    found = environment.environment()["versions"]
    versions = {name: str(version) for name, version in sorted(found.items()) if uses_openvino or name != "openvino"}
    return Reproduction(changed, _digests(), versions)


def _digests() -> dict[str, str]:
    if not Path(LOCK).is_file():
        return {}
    lock = LockFile(Path(LOCK).read_text(encoding="utf-8"), LOCK)
    found = {path: lock.outs(stage).get(path) for path, stage in DIGESTS if stage in lock}
    return {path: f"md5 {digest}" for path, digest in found.items() if digest}

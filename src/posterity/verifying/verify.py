"""All checks of `posterity verify` together."""

from pathlib import Path
from typing import NamedTuple

from posterity.config import yaml12
from posterity.config.stage_arguments import PATHS
from posterity.errors import UserError
from posterity.verifying.checksums import ChecksumsCheck
from posterity.verifying.finding import Finding
from posterity.verifying.hashing import Readings
from posterity.verifying.lock_file import LockFile
from posterity.verifying.outs import OutsCheck
from posterity.verifying.recorded import LOCK, read_project


class Verified(NamedTuple):
    """What was found, and the bytes that were read for it."""

    findings: list[Finding]
    num_bytes: int


def verify(params: Path = Path("params.yaml")) -> Verified:
    """Check every out, object of the cache, checksum and figure of the project in the current folder.

    Parameters
    ----------
    params : Path
        Names the reuse folder, and is not checked.

    Raises
    ------
    UserError
        If there is nothing to verify, or DVC cannot read its own records.
    """
    project, readings = read_project(), Readings()
    lock = LockFile(Path(LOCK).read_text(encoding="utf-8"), LOCK)
    outs = OutsCheck(project, readings)
    folders = {PATHS["tensors"][0]: "preprocess", PATHS["features"][0]: "features"}
    checksums = ChecksumsCheck(folders, _reuse_folder(params), readings, PATHS["manifest"][0])
    readings.read_all()
    found = outs.findings()
    found += checksums.findings(outs.bad_paths)

    # Here, since scikit-learn takes two seconds to load.
    from posterity.verifying import recomputed

    found += recomputed.findings(lock, {out.path for out in project.outs}, outs.bad_paths)
    return Verified(found, readings.num_bytes)


def _reuse_folder(params: Path) -> Path | None:
    try:
        return Path(yaml12.read(str(params))["machine"]["reuse_folder"])
    except (UserError, KeyError, TypeError):  # no such file, or null: then there is no folder to look at
        return None

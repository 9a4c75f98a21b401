"""What dvc.lock says of a stage, of the workspace or of a revision."""

import hashlib
import json
from typing import Any

from posterity.config import yaml12
from posterity.errors import UserError

PARAMS = "params.yaml"


class LockFile:
    """The content of a dvc.lock.

    Parameters
    ----------
    text : str
        The file.
    name : str
        What messages call it, such as ``dvc.lock`` or ``dvc.lock at HEAD``.

    Raises
    ------
    UserError
        If it is not what DVC writes.
    """

    def __init__(self, text: str, name: str) -> None:
        try:
            content = yaml12.parse(text)
            self._stages: dict[str, Any] = dict(content["stages"])
        except Exception as error:  # of YAML, or of content of another form
            said = " ".join(str(error).split())
            raise UserError(f"{name}: expected what DVC writes. Got: {said}. Run `posterity check`.") from None

    def __contains__(self, stage: str) -> bool:
        return stage in self._stages

    def params(self, stage: str) -> dict[str, Any]:
        """The values of params.yaml that a stage used, as nested or dotted keys, as dvc.yaml lists them."""
        return dict(self._stages.get(stage, {}).get("params", {}).get(PARAMS, {}))

    def deps(self, stage: str) -> dict[str, str]:
        """Hash of every dependency of a stage by its path."""
        return _hashes(self._stages.get(stage, {}).get("deps", ()))

    def outs(self, stage: str) -> dict[str, str]:
        """Hash of every output of a stage by its path."""
        return _hashes(self._stages.get(stage, {}).get("outs", ()))


def digest(content: Any) -> str:
    """sha256 of JSON content, the same for the same content.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _hashes(entries: Any) -> dict[str, str]:
    return {entry["path"]: str(entry.get("md5")) for entry in entries}

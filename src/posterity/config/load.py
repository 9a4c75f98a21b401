"""params.yaml as checked values, or every mistake in it at once."""

import functools
import os
from typing import Any

from pydantic import ValidationError

from posterity.config import rules, yaml12
from posterity.config.messages import Explainer
from posterity.config.schema import Params
from posterity.errors import UserError


def load_params(path: str | os.PathLike[str] = "params.yaml") -> Params:
    """Read and check ``path``, by YAML 1.2 rules, as DVC writes it: ``1e-05`` is a number and ``off`` is text.

    Raises
    ------
    UserError
        If the file cannot be read, is not YAML, or repeats a key; otherwise with one line for each key that is
        unknown, missing, or has a value it cannot have.
    """
    file = os.fspath(path)
    return check_params(yaml12.read(file), file)


def check_params(content: Any, file: str) -> Params:
    """Check the content of a params.yaml; ``file`` is its name in messages.

    Raises
    ------
    UserError
        With one line for each key that is unknown, missing, or has a value it cannot have.
    """
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        lines = [line for details in error.errors() for line in _explainer()(details).splitlines()]
        raise UserError("\n".join(f"{file}: {line}" for line in lines)) from None
    if found := rules.found(params):
        raise UserError("\n".join(f"{file}: {conflict}" for conflict in found))
    return params


@functools.cache
def _explainer() -> Explainer:
    return Explainer(Params.model_json_schema())

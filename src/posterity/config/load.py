"""params.yaml as checked values, or every mistake in it at once."""

import functools
import os

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
    try:
        params = Params.model_validate(yaml12.read(file))
    except ValidationError as error:
        raise UserError("\n".join(f"{file}: {_explainer()(details)}" for details in error.errors())) from None
    if found := rules.found(params):
        raise UserError("\n".join(f"{file}: {conflict}" for conflict in found))
    return params


@functools.cache
def _explainer() -> Explainer:
    return Explainer(Params.model_json_schema())

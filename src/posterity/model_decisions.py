"""How a model decides: what its card says of calibration and thresholds, checked against its labels."""

import os

from posterity.errors import UserError
from posterity.evaluation.decisions import Decisions
from posterity.model_card import ModelCard, unreadable


def of_card(path: str | os.PathLike[str], card: ModelCard) -> Decisions:
    """The decisions in the card of the model file ``path``.

    Raises
    ------
    UserError
        If there are none, if they are damaged, or if they are those of another number of labels.
    """
    if card.decisions is None:
        raise UserError(
            f"{path}: expected a model with thresholds, which stage evaluate adds. Run `dvc repro evaluate`."
        )
    try:
        decisions = Decisions.from_content(card.decisions)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise unreadable(path, error) from None
    number = len(card.label_names)
    if len(decisions.thresholds) != number:
        raise unreadable(path, f"{number} labels, {len(decisions.thresholds)} thresholds")
    if len(decisions.calibration.curves) != number:
        raise unreadable(path, f"{number} labels, {len(decisions.calibration.curves)} curves of calibration")
    return decisions

"""What the model says of an image as an answer of the endpoint."""

from posterity.files import DECIMALS
from posterity.predictions import ranked
from posterity.serving import errors, schemas
from posterity.serving.batching import Model, Scored
from posterity.serving.refusal import Refusal


def answer_for(model: Model, name: str, found: Scored | Refusal) -> schemas.ImageAnswer:
    """Labels and scores of an image, or why there are none."""
    if isinstance(found, Refusal):
        return schemas.ImageAnswer(name=name, error=errors.problem(found))
    scores = {
        label: round(float(score), DECIMALS)
        for label, score in zip(model.label_names, found.probabilities, strict=True)
    }
    decided, _ = ranked(found.probabilities, found.decided, model.label_names)
    return schemas.ImageAnswer(name=name, labels=decided, scores=scores)

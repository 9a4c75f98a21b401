"""posterity: a reproducible pipeline for multi-label image classification.

>>> from posterity import Classifier  # doctest: +SKIP
>>> for prediction in Classifier("models/model.keras").predict("posters/"):  # doctest: +SKIP
...     print(prediction.path, prediction.labels, prediction.scores)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posterity.nn.inference.classifier import Classifier as Classifier

__version__ = "0.1.0"
__all__ = ["Classifier", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `Classifier` only when it is asked for."""
    if name != "Classifier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from posterity.nn.inference.classifier import Classifier

    return Classifier

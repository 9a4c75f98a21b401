"""posterity: a reproducible pipeline for multi-label image classification.

>>> from posterity import Classifier  # doctest: +SKIP
>>> for prediction in Classifier("models/model.keras").predict("posters/"):  # doctest: +SKIP
...     print(prediction.path, prediction.labels, prediction.scores)
"""

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all else before `posterity.script.begin`
if TYPE_CHECKING:
    from posterity.nn.inference.classifier import Classifier as Classifier

__version__ = "0.1.0"
__all__ = ["Classifier", "__version__"]


def __getattr__(name: str) -> object:
    """Import `Classifier` only when it is asked for."""
    if name != "Classifier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from posterity.nn.inference.classifier import Classifier

    return Classifier

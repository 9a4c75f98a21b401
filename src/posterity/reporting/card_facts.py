"""What a model card is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posterity.reporting.results import RunMetrics


@dataclass(frozen=True, eq=False)
class CardFacts:
    """What a card is made of: plain content of files that stages write, and what the user states.

    Attributes
    ----------
    label_names : sequence of str
        Names of the outputs, in order.
    network : str
        ``model.name``.
    backbones : sequence of str
        Pretrained networks; empty for a network from scratch.
    image : mapping
        The image spec: at least ``height``, ``width``, ``fit`` and ``resampling``.
    decisions : mapping
        ``calibration`` (``method``), ``at_least_one`` and ``exactly_one``, as in the model file.
    metrics : RunMetrics
        The figures of the run.
    per_label : sequence of mapping
        Lines of metrics/plots/per_label.csv: ``label``, ``support``, ``average_precision``,
        ``average_precision_prior``, ``roc_auc``, ``f1``, ``decide_threshold``; what is not scored is None or NaN.
    changed : mapping of str to (default, value)
        Parameters that are not those of a fresh clone.
    digests : mapping of str to str
        What the model was made of, such as ``{"data/rows": "md5 ..."}``.
    versions : mapping of str to str
        Installed versions, as in metrics/environment.json.
    license, backbone_license, dataset_name : str or None
        As stated in section ``report`` of params.yaml.
    """

    label_names: Sequence[str]
    network: str
    backbones: Sequence[str]
    image: Mapping[str, Any]
    decisions: Mapping[str, Any]
    metrics: RunMetrics
    per_label: Sequence[Mapping[str, Any]]
    changed: Mapping[str, tuple[Any, Any]]
    digests: Mapping[str, str]
    versions: Mapping[str, str]
    license: str | None = None
    backbone_license: str | None = None
    dataset_name: str | None = None

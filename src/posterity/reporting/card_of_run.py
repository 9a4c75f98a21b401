"""What the model card says of a finished run."""

from posterity.config.schema import ModelParams, ReportParams
from posterity.model_card import ModelCard
from posterity.reporting.card_facts import CardFacts
from posterity.reporting.reproduction import Reproduction
from posterity.reporting.results import Results


def card_facts(
    results: Results, card: ModelCard, model: ModelParams, stated: ReportParams, reproduction: Reproduction
) -> CardFacts:
    """Gather the facts of a card.

    Parameters
    ----------
    results : Results
        The run.
    card : ModelCard
        What the model file says of itself.
    model, stated : ModelParams, ReportParams
        Sections ``model`` and ``report`` of params.yaml.
    reproduction : Reproduction
        How the run is made again.
    """
    return CardFacts(
        label_names=card.label_names,
        network=model.name,
        backbones=model.backbone if model.name == "backbone" else (),
        image=card.image.to_content(),
        decisions=card.decisions or {},
        metrics=results.metrics,
        per_label=[{str(key): value for key, value in line.items()} for line in results.per_label.to_dict("records")],
        changed=reproduction.changed,
        digests=reproduction.digests,
        versions=reproduction.versions,
        license=stated.license,
        backbone_license=stated.backbone_license,
        dataset_name=stated.dataset_name,
    )

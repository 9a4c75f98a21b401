"""Stage `report`: one page that shows what the model has learned, pictures for `dvc plots`, and the model card."""

from posterity import script

if __name__ == "__main__":
    script.begin()

import argparse
import dataclasses
from pathlib import Path

from posterity import files, model_card, model_decisions
from posterity.cache.tensors import TensorCache
from posterity.config import stage_arguments
from posterity.config.load import load_params
from posterity.reporting import results as run_results
from posterity.splitting.groups import groups_of

READ = [field.name for field in dataclasses.fields(run_results.Paths)]


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    return stage_arguments.parser(
        __doc__,
        "Open report/index.html in a browser: it is one file and needs no network. It holds pictures of your images, "
        "so Git does not get it; `dvc push` does.",
        reads=[*(name.replace("_", "-") for name in READ), "tensors", "model"],
        writes=["page", "sheets", "card"],
    ).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    results = run_results.read(run_results.Paths(**{name: getattr(args, name) for name in READ}))
    cache = TensorCache(args.tensors)
    with model_card.opened(args.model, is_recorded=True) as model_file:
        card = model_file.card
        model_card.check_labels(args.model, card, results.label_names, args.rows)
        model_card.check_image(args.model, card, cache.spec, args.tensors)
        decisions = model_decisions.of_card(args.model, card)

        from posterity.nn import device  # TensorFlow takes seconds to load

        device.configure(params.machine.device, seed=params.seed)

        from posterity.nn.inference import network
        from posterity.reporting import (
            gallery,
            label_figures,
            model_view,
            page,
            plots_page,
            reproduction,
            schedule,
            sheets,
        )
        from posterity.reporting.card import model_card as card_text
        from posterity.reporting.card_of_run import card_facts
        from posterity.reporting.since_commit import since_commit

        model = network.load(model_file)

    labels = label_figures.all_labels(
        results.scored,
        results.decided,
        decisions.thresholds,
        results.label_names,
        groups=groups_of(results.cached.index.iloc[results.sides.validation]),
        num_samples=params.evaluate.bootstrap_samples,
        seed=params.seed,
    )
    picked = gallery.picked(results, labels)
    seen = model_view.look(model, cache, results, labels, picked, folder=Path(params.data.images), seed=params.seed)
    num_rows = len(results.sides.train)
    rates = schedule.learning_rates(results.history, params.train, params.model.finetune, num_rows=num_rows)
    sections = {
        "data": params.data,
        "image": params.image,
        "split": params.split,
        "model": params.model,
        "train": params.train,
        "decide": params.decide,
        "evaluate": params.evaluate,
    }
    settings = params.machine.device
    uses_openvino = settings.inference_engine == "openvino" or settings.inference_precision == "bfloat16"
    again = reproduction.reproduction(sections, uses_openvino=uses_openvino)
    text = page.render(
        results,
        labels,
        picked,
        cache,
        decisions=decisions,
        objective=params.decide.thresholds,
        policies=params.data.on_problem.model_dump(),
        learning_rates=rates,
        model=seen,
        since=since_commit(),
        reproduction=again,
        seed=params.seed,
    )
    facts = card_facts(results, card, params.model, params.report, again)
    files.write_text(args.page, text)
    files.write_text(args.card, card_text(facts))
    plots_page.keep_vega()
    sheets.write_all(args.sheets, results, cache, labels, picked, seen.explanations)
    print(f"Open {args.page} in a browser: it is one file and needs no network.")


if __name__ == "__main__":
    script.run(main)

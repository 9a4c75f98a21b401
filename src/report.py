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


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    return stage_arguments.parser(
        __doc__,
        "Open report/index.html in a browser: it is one file and needs no network. It holds pictures of your images, "
        "so Git does not get it; `dvc push` does.",
        reads=[*(field.name.replace("_", "-") for field in dataclasses.fields(run_results.Paths)), "tensors", "model"],
        writes=["page", "sheets"],
    ).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    results = run_results.read(
        run_results.Paths(**{field.name: getattr(args, field.name) for field in dataclasses.fields(run_results.Paths)})
    )
    cache = TensorCache(args.tensors)
    with model_card.opened(args.model, is_recorded=True) as model_file:
        card = model_file.card
        model_card.check_labels(args.model, card, results.label_names, args.rows)
        model_card.check_image(args.model, card, cache.spec, args.tensors)
        decisions = model_decisions.of_card(args.model, card)

        from posterity.nn import device  # TensorFlow takes seconds to load

        device.configure(params.machine.device, seed=params.seed)

        from posterity.nn.inference import network, saliency

        model = network.load(model_file)

    from posterity.reporting import (
        doubts,
        gallery,
        label_figures,
        map_picture,
        model_view,
        page,
        reproduction,
        schedule,
        sheets,
        since_commit,
    )
    from posterity.reporting.pictures import Thumbnails

    labels = label_figures.all_labels(
        results.scored,
        results.decided,
        decisions.thresholds,
        results.label_names,
        groups=groups_of(results.cached.index.iloc[results.sides.validation]),
        seed=params.seed,
    )
    picked = gallery.picked(results, labels)
    explanations = model_view.explanations(model, cache, results, labels, picked)
    places, points, explained = model_view.map_of_images(model, cache, results.sides.validation, seed=params.seed)
    unlisted = doubts.unlisted_files(results, Path(params.data.images))
    num_rows = len(results.sides.train)
    rates = schedule.learning_rates(results.history, params.train, params.model.finetune, num_rows=num_rows)
    changed = reproduction.changed_params(
        seed=params.seed,
        data=params.data,
        image=params.image,
        split=params.split,
        model=params.model,
        train=params.train,
        decide=params.decide,
        evaluate=params.evaluate,
    )
    text = page.render(
        results,
        labels,
        picked,
        Thumbnails(cache),
        decisions=decisions,
        learning_rates=rates,
        image_size=(cache.spec.height, cache.spec.width),
        model=page.ModelParts(
            method=saliency.method_of(model),
            explanations=explanations,
            image_map=map_picture.map_content(results, cache, places, points),
            explained=explained.tolist(),
            unlabelled=model_view.score_unlabelled(model, cache, unlisted),
        ),
        since=since_commit.since_commit(),
        reproduction=page.Reproduction(changed, reproduction.digests(), reproduction.versions()),
    )
    with files.replacing(args.page) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    sheets.save(args.sheets / "contact_sheet.png", sheets.contact_sheet(results, cache, gallery.contact_rows(results)))
    sheets.save(args.sheets / "gallery.png", sheets.gallery(results, cache, labels, picked))
    sheets.save(args.sheets / "saliency.png", sheets.saliency(explanations))
    print(f"Open {args.page} in a browser: it is one file and needs no network.")


if __name__ == "__main__":
    script.run(main)

"""Stage `predict`: label the images of one entry of predict.images with the trained model."""

from posterity import script

if __name__ == "__main__":
    script.begin()

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from posterity import errors, files, model_card, model_decisions, predictions
from posterity.config import stage_arguments
from posterity.config.load import load_params
from posterity.pixels.spec import ImageSpec
from posterity.workers import ray_cluster


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = stage_arguments.Parser(
        description=__doc__,
        epilog="For a few files without a stage of their own there is the command `posterity predict`.",
    )
    # DVC names the stage here, predict@NAME, and so the name of an entry never passes through a shell.
    stage = os.environ.get("DVC_STAGE", "").partition("@")[2]
    parser.add_argument("name", nargs="?", default=stage, help="key of predict.images (default: that of the DVC stage)")
    parser.add_argument("--params", type=Path, default="params.yaml", help="parameters (default: %(default)s)")
    parser.add_argument("--model", type=Path, default="models/model.keras", help="model to read")
    parser.add_argument("--output", type=Path, default="data/predictions", help="folder to write NAME.csv/.jsonl to")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    if args.name not in params.predict.images:
        known = ", ".join(sorted(params.predict.images)) or "none"
        raise errors.UserError(f"{args.params}: predict.images has no entry {args.name!r}. Its entries: {known}.")
    paths = predictions.find_images([params.predict.images[args.name]])
    device, workers = params.machine.device, params.machine.workers

    card = model_card.read(args.model, is_recorded=True)
    image = ImageSpec(**params.image.model_dump(exclude={"rows_per_shard"}))
    model_card.check_image(args.model, card, image, f"section image of {args.params}")
    label_names = card.label_names
    output = args.output / f"{args.name}.{params.predict.format}"
    predicted: Iterator[predictions.Prediction]
    with contextlib.ExitStack() as stack:
        if workers.run_on == "ray":
            from posterity.nn.inference import remote

            mapper = stack.enter_context(ray_cluster.mapper(workers.ray_address))
            predicted = remote.predict_files(paths, mapper, model=str(args.model), settings=device, seed=params.seed)
        else:
            from posterity.nn.device import configure

            configure(device, seed=params.seed)

            from posterity.nn.inference.classifier import Classifier

            classifier = Classifier(
                args.model,
                engine=device.inference_engine,
                precision=device.inference_precision,
                cpu_threads=device.cpu_threads,
            )
            predicted = stack.enter_context(contextlib.closing(classifier.predict(paths, show_progress=True)))
        temporary = stack.enter_context(files.replacing(output))
        stream = stack.enter_context(temporary.open("w", encoding="utf-8", newline=""))
        failures = predictions.write(
            predicted,
            stream,
            form=params.predict.format,
            label_names=label_names,
            threshold=params.predict.threshold,
            exactly_one=model_decisions.of_card(args.model, card).exactly_one,
        )
    print(f"{len(paths) - failures:,} images labelled in {output}.")
    if failures:
        # Not a failure of the stage: what cannot be read is in the output with its error, and the rest is of use.
        print(f"WARNING: {failures:,} of {len(paths):,} inputs could not be read; see {output}.", file=sys.stderr)


if __name__ == "__main__":
    script.run(main)

"""Stage `predict`: label the images of one entry of predict.images with the trained model."""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from posterity import errors, files, model_card, predictions
from posterity.config.load import load_params
from posterity.workers import ray_cluster


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="For a few files without a stage of their own there is the command `posterity predict`.",
    )
    parser.add_argument("name", help="key of predict.images in params.yaml")
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

    label_names = model_card.read(args.model).label_names
    output = args.output / f"{args.name}.{params.predict.format}"
    predicted: Iterator[predictions.Prediction]
    with contextlib.ExitStack() as stack:
        if params.preprocess.engine == "ray":
            from posterity.nn.inference import remote

            mapper = stack.enter_context(ray_cluster.mapper(params.ray.address))
            predicted = remote.predict(paths, mapper, model=str(args.model), gpu=params.gpu, seed=params.seed)
        else:
            from posterity.nn import device

            device.configure(params.gpu, seed=params.seed)

            from posterity.nn.inference.classifier import Classifier

            classifier = Classifier(args.model, engine=params.gpu.inference_engine, cpu_threads=params.gpu.cpu_threads)
            predicted = stack.enter_context(contextlib.closing(classifier.predict(paths, show_progress=True)))
        temporary = stack.enter_context(files.replacing(output))
        stream = stack.enter_context(temporary.open("w", encoding="utf-8", newline=""))
        failures = predictions.write(
            predicted,
            stream,
            form=params.predict.format,
            label_names=label_names,
            threshold=params.predict.threshold,
        )
    print(f"{len(paths) - failures:,} images labelled in {output}.")
    if failures:
        # No failure of the stage: what cannot be read stands in the output with its error, and the rest is of use.
        print(f"WARNING: {failures:,} of {len(paths):,} inputs could not be read; see {output}.", file=sys.stderr)


if __name__ == "__main__":
    errors.run(main)

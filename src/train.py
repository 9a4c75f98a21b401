"""Stage `train`: fit the network that params.yaml names and write it as one self-contained model file."""

import argparse
from pathlib import Path

from posterity import errors, files, scores, sides
from posterity.card import ModelCard
from posterity.params import load_params
from posterity.tensors import TensorCache


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="The network, the recipe and the device are set in params.yaml: sections model, train and gpu.",
    )
    parser.add_argument("--params", type=Path, default="params.yaml", help="parameters (default: %(default)s)")
    parser.add_argument("--tensors", type=Path, default="data/tensors", help="tensor cache to read")
    parser.add_argument("--split", type=Path, default="data/split.csv", help="split to read")
    parser.add_argument("--model", type=Path, default="models/model.keras", help="model to write")
    parser.add_argument("--summary", type=Path, default="models/summary.txt", help="layers of the network, to write")
    parser.add_argument("--history", type=Path, default="metrics/plots/history.csv", help="losses per epoch, to write")
    parser.add_argument("--metrics", type=Path, default="metrics/train.json", help="JSON to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    cache = TensorCache(args.tensors)
    train_rows, validation_rows = sides.read(args.split, cache.index)

    from posterity.nn import runtime

    scope = runtime.configure(params.gpu, seed=params.seed)

    from posterity.nn import batches, fit, models, store

    frequencies = scores.label_frequencies(cache.targets[train_rows])
    with scope:
        model = models.build(
            params.model.name,
            height=cache.spec.height,
            width=cache.spec.width,
            label_frequencies=frequencies,
        )
        history = fit.fit(
            model,
            batches.Batches(cache, train_rows, params.train.batch_size, shuffle_seed=params.seed),
            batches.Batches(cache, validation_rows, params.train.batch_size),
            epochs=params.train.epochs,
            learning_rate=params.train.learning_rate,
            keep_epoch=params.train.keep_epoch,
            xla=params.gpu.xla,
        )

    # The line to beat stands beside the curve: the loss of answering the training frequencies to every image.
    prior = scores.prior_scores(frequencies, len(validation_rows))
    history["val_loss_prior"] = scores.binary_cross_entropy(cache.targets[validation_rows], prior)
    kept = history.loc[history["epoch"] == fit.kept_epoch(history, params.train.keep_epoch)].iloc[0]

    card = ModelCard(tuple(cache.label_names), tuple(frequencies.tolist()), cache.spec)
    store.save(model, card, args.model)
    with files.replacing(args.summary) as temporary:
        temporary.write_text(models.summary(model), encoding="utf-8")
    files.write_csv(args.history, history)
    files.write_json(
        args.metrics,
        {
            "kept_epoch": int(kept["epoch"]),
            "loss": kept["loss"],
            "val_loss": kept["val_loss"],
            "val_loss_prior": kept["val_loss_prior"],
            "parameters": model.count_params(),
            "multiply_adds": models.multiply_adds(model),
        },
    )


if __name__ == "__main__":
    errors.run(main)

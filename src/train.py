"""Stage `train`: fit the network that params.yaml names and write it as one self-contained model file."""

import argparse
from pathlib import Path

import numpy as np

from posterity import errors, files
from posterity.cache.features import FeatureCache
from posterity.cache.tensors import TensorCache
from posterity.config.load import load_params
from posterity.evaluation import metrics
from posterity.model_card import ModelCard
from posterity.splitting import split_file


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="The network, the recipe and the device are set in params.yaml: sections model, train and gpu. "
        "For training in several processes (train.distributed) set KERAS_BACKEND=jax everywhere, start process 0 by "
        "`dvc repro` and each other one by `KERAS_DISTRIBUTION_PROCESS_ID=1 python src/train.py`, with its own number, "
        "in a folder with the same files. A scheduler that JAX knows sets the numbers. Only process 0 writes files.",
    )
    parser.add_argument("--params", type=Path, default="params.yaml", help="parameters (default: %(default)s)")
    parser.add_argument("--tensors", type=Path, default="data/tensors", help="tensor cache to read")
    parser.add_argument("--features", type=Path, default="data/features", help="feature cache to read")
    parser.add_argument("--split", type=Path, default="data/split.csv", help="split to read")
    parser.add_argument("--model", type=Path, default="models/trained.keras", help="model to write")
    parser.add_argument("--summary", type=Path, default="models/summary.txt", help="layers of the network, to write")
    parser.add_argument("--scores", type=Path, default="data/scores.npy", help="validation scores, to write")
    parser.add_argument("--history", type=Path, default="metrics/plots/history.csv", help="losses per epoch, to write")
    parser.add_argument("--metrics", type=Path, default="metrics/train.json", help="JSON to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    cache = TensorCache(args.tensors)
    train_rows, validation_rows = split_file.read(args.split, cache.index)
    features = FeatureCache(args.features)
    if params.model.name == "backbone":
        # DVC sees to that; without it (`dvc repro -s train`, a script of one's own) old features would train unnoticed.
        wanted, found = (list(params.model.backbone), len(cache)), (features.backbones, features.num_rows)
        if wanted != found:
            raise errors.UserError(
                f"{args.features}: expected features by {wanted[0]} of {wanted[1]:,} images. "
                f"Got {found[0]} of {found[1]:,}. Run `dvc repro features`."
            )

    from posterity.nn import device, processes

    together = params.train.distributed
    processes.join(together.processes, together.coordinator)
    scope = device.configure(params.gpu, seed=params.seed)
    part = processes.part(params.train.batch_size)
    recipe = params.model_dump_json(include={"seed", "model", "train"})
    processes.agree(part, recipe.encode() + args.split.read_bytes())

    from posterity.nn import keras_file
    from posterity.nn.networks import scratch
    from posterity.nn.training import fit, routes
    from posterity.nn.training.trainer import Trainer

    frequencies = metrics.label_frequencies(cache.targets[train_rows])
    trainer = Trainer(
        params.train,
        cache.targets,
        train_rows,
        validation_rows,
        frequencies,
        seed=params.seed,
        xla=params.gpu.xla,
        rows_per_shard=cache.rows_per_shard,
        cache_images=params.gpu.cache_images,
        part=part,
    )
    with scope:
        if params.model.name == "backbone":
            trained = routes.from_backbone(trainer, cache, features, params.model)
        else:
            trained = routes.from_scratch(trainer, cache, params.model.name)
    if part.process > 0:  # every process has the same result
        processes.leave()
        return

    # The line to beat stands beside the curve: the loss of answering the training frequencies to every image.
    history = trained.history
    prior = metrics.prior_scores(frequencies, len(validation_rows))
    history["val_bce_prior"] = metrics.binary_cross_entropy(cache.targets[validation_rows], prior)
    last_phase = history[history["phase"] == history["phase"].iloc[-1]]
    kept = history.loc[history["epoch"] == fit.kept_epoch(last_phase, params.train.keep_epoch)].iloc[0]

    card = ModelCard(tuple(cache.label_names), tuple(frequencies.tolist()), cache.spec)
    keras_file.save(trained.model, args.model, card.as_member())
    with files.replacing(args.summary) as temporary:
        temporary.write_text(scratch.summary(trained.model), encoding="utf-8")
    with files.replacing(args.scores) as temporary, temporary.open("wb") as stream:
        np.save(stream, trained.scores)
    files.write_csv(args.history, history)
    files.write_json(
        args.metrics,
        {
            "kept_epoch": int(kept["epoch"]),
            "loss": kept["loss"],
            "bce": kept["bce"],
            "val_bce": kept["val_bce"],
            "val_bce_prior": kept["val_bce_prior"],
            "parameters": trained.model.count_params(),
            "multiply_adds": scratch.multiply_adds(trained.model),
        },
    )
    processes.leave()


if __name__ == "__main__":
    errors.run(main)

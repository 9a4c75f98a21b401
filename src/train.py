"""Stage `train`: fit the network that params.yaml names and write it as one self-contained model file."""

from posterity import script

if __name__ == "__main__":
    script.begin()

import argparse

import numpy as np

from posterity import environment, errors, files, resume_folder
from posterity.cache import rows as cached_rows
from posterity.cache.features import FeatureCache
from posterity.cache.tensors import TensorCache
from posterity.config import flat, stage_arguments
from posterity.config.load import load_params
from posterity.evaluation import metrics
from posterity.evaluation.folds import training_folds, warn_of_large_part
from posterity.evaluation.training_history import kept_figures
from posterity.model_card import ModelCard
from posterity.splitting import split_file
from posterity.splitting.groups import groups_of
from posterity.tracking.training import Tracking


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = stage_arguments.parser(
        __doc__,
        "The network, the recipe and the device are set in params.yaml: sections model, train and machine. A training "
        "that is interrupted goes on after its last epoch when it is run again. To train in several processes "
        "(machine.processes), set KERAS_BACKEND=jax everywhere, start process 0 by `dvc repro` and each other one by "
        "`KERAS_DISTRIBUTION_PROCESS_ID=1 python src/train.py`, with its own number, in a folder with the same files. "
        "A scheduler that JAX knows sets the numbers. Only process 0 writes files, and such a training begins again.",
        reads=["rows", "tensors", "features", "split"],
        writes=["trained", "summary", "scores", "out-of-fold", "history", "train-metrics", "environment", "resume"],
    )
    parser.add_argument(
        "--finish",
        action="store_true",
        help="do not train: make the model of the last epoch of an interrupted training; then `dvc commit --force "
        "train` records it, and `dvc repro` goes on with it",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    device_params, process_params = params.machine.device, params.machine.processes
    tracking = Tracking(params.train.log_to, flat.values(params))
    rows, cache, features = cached_rows.read(args.rows), TensorCache(args.tensors), FeatureCache(args.features)
    train_rows, validation_rows, _ = split_file.read(args.split, rows.index)
    # DVC keeps the inputs up to date. Without it (`dvc repro -s train`), old ones could be used unnoticed.
    if len(cache) != len(rows):
        raise errors.UserError(
            f"{args.tensors}: expected {len(rows):,} images, the rows of {args.rows}. Got {len(cache):,}. "
            "Run `dvc repro preprocess`."
        )
    transfers = params.model.name == "backbone"
    if transfers:
        features.check(params.model.backbone, params.model.pyramid_levels, len(cache))
    folds, repeats = params.train.folds, params.train.repeats
    if args.finish and folds * repeats > 1:
        raise errors.UserError(
            f"--finish: expected one network. Got train.folds: {folds} and train.repeats: {repeats}, a mean of "
            f"{folds * repeats} networks. Run `dvc repro`, which goes on where it was."
        )
    train_groups = groups_of(rows.index.iloc[train_rows])
    fold_of_row = training_folds(train_groups, folds=folds, repeats=repeats, seed=params.seed)
    warn_of_large_part(fold_of_row)

    from posterity.nn import device, processes

    processes.connect(process_params.count, process_params.coordinator)
    scope = device.configure(device_params, seed=params.seed)
    part = processes.own_part(params.train.batch_size)
    if part.process == 0:  # what cannot be written is better known now than after the training
        files.check_writable(
            *(args.trained, args.summary, args.scores, args.out_of_fold, args.history, args.train_metrics),
            args.environment,
        )
    recipe = params.model_dump_json(include={"seed", "model", "train"}, exclude={"train": {"log_to"}})
    processes.check_same_content(part, recipe.encode() + args.split.read_bytes())
    inputs = [args.split, args.tensors / "meta.json", args.features / "meta.json", *sorted(args.rows.iterdir())]
    key = resume_folder.work_key(recipe + device_params.model_dump_json() + process_params.model_dump_json(), inputs)

    from posterity.nn import keras_file
    from posterity.nn.networks.summary import multiply_adds, summary
    from posterity.nn.training import ensemble, memory
    from posterity.nn.training.checkpoints import Checkpoints
    from posterity.nn.training.from_scratch import FromScratch
    from posterity.nn.training.trainer import Execution, Learner, Trainer, TrainingData
    from posterity.nn.training.transfer_learning import TransferLearning

    memory.keep_freed()
    frequencies = metrics.label_frequencies(rows.targets[train_rows])
    data = TrainingData(rows.targets, train_rows, validation_rows, frequencies, cache.rows_per_shard)
    execution = Execution(device_params.xla, device_params.cache_images, part, on_epoch=tracking.log_epoch)
    checkpoints = Checkpoints(resume_folder.open_folder(args.resume, key) if part.processes == 1 else None, args.finish)
    trainer = Trainer(params.train, data, execution, seed=params.seed, checkpoints=checkpoints)
    learner: Learner
    if transfers:
        learner = TransferLearning(cache, features, params.model, device_params.inference_precision)
    else:
        learner = FromScratch(cache, params.model.name)
    with (
        scope,
        checkpoints.explained(is_one=folds * repeats == 1),
        tracking.training(checkpoints.folder, is_first=part.process == 0),
    ):
        trained = ensemble.train(trainer, learner, fold_of_row)

    if part.process == 0:  # every process has the same result
        card = ModelCard(tuple(rows.label_names), tuple(frequencies.tolist()), cache.spec)
        keras_file.save(trained.model, args.trained, card.as_member())
        with files.replacing(args.summary) as temporary:
            temporary.write_text(summary(trained.model), encoding="utf-8", newline="\n")
        with files.replacing(args.scores) as temporary, temporary.open("wb") as stream:
            np.save(stream, trained.scores)
        with files.replacing(args.out_of_fold) as temporary, temporary.open("wb") as stream:
            np.save(stream, trained.out_of_fold)
        # The loss to beat: that of answering the training frequencies to every image. DVC plots it beside the others.
        prior = metrics.prior_scores(frequencies, len(validation_rows))
        prior_loss = metrics.binary_cross_entropy(rows.targets[validation_rows], prior)
        history = trained.history.assign(val_bce_prior=prior_loss)
        files.write_csv(args.history, history)
        sizes = {"parameters": trained.model.count_params()}
        if (counted := multiply_adds(trained.model)) is not None:
            sizes["multiply_adds"] = counted
        figures = kept_figures(history, params.train.keep_epoch) | sizes
        files.write_json(args.train_metrics, figures)
        tracking.finish(figures)
        environment.write(args.environment)
        if args.finish:
            print(f"{args.trained} is the model of {checkpoints.last}. Next: `dvc commit --force train`, `dvc repro`.")
        checkpoints.remove()
    processes.disconnect()


if __name__ == "__main__":
    script.run(main)

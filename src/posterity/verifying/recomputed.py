"""Figures, tables and decisions computed again from what they were made of."""

import dataclasses
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from posterity import files, model_card
from posterity.cache import rows as cached_rows
from posterity.config.stage_arguments import PATHS
from posterity.dataset import caching
from posterity.dataset.issues import from_table
from posterity.errors import UserError
from posterity.evaluation import metrics
from posterity.evaluation.decisions import DecisionOptions
from posterity.evaluation.score_file import scored_training_rows
from posterity.evaluation.scored_rows import checked, checked_frequencies
from posterity.evaluation.training_history import kept_figures
from posterity.evaluation.validation import ScoringOptions, validate_checked
from posterity.splitting import sides, split_file
from posterity.splitting.groups import groups_of, possible_folds
from posterity.verifying.finding import Finding
from posterity.verifying.lock_file import LockFile

Recomputation = Callable[[LockFile], Iterator[Finding]]
PLOTS = ("per_label.csv", "pr_curves.csv", "reliability.csv", "folds.csv")


def findings(lock: LockFile, recorded: set[str], bad: set[str]) -> list[Finding]:
    """Compute again what takes seconds, by the parameters that dvc.lock records.

    Parameters
    ----------
    lock : LockFile
        The parameters of the stages.
    recorded : set of str
        Paths of all outs.
    bad : set of str
        Those that are not what was recorded: what is made of them is not computed.
    """
    found: list[Finding] = []
    for recompute, stage, reads, writes in _RECOMPUTATIONS:
        outputs = [_path(name) for name in writes]
        if stage not in lock or not recorded.issuperset(outputs):
            continue  # not a stage of this project, or one with other paths
        if wrong := sorted({*map(_path, reads), *outputs} & bad):
            detail = f"not computed again, since {', '.join(wrong)} is not what was recorded"
            found += [Finding(f"{output}, recomputed", "unchecked", detail) for output in outputs]
            continue
        try:
            found += recompute(lock)
        except UserError as error:
            fix = f"dvc repro {stage}"
            found += [Finding(f"{output}, recomputed", "differs", str(error), fix) for output in outputs]
    return found


def _data(_: LockFile) -> Iterator[Finding]:
    cached, recorded = cached_rows.read(_path("rows")), files.read_json(_path("data-metrics"))
    counts = caching.counts(
        cached.targets,
        cached.label_names,
        from_table(files.read_csv(_path("issues"))),
        in_csv=recorded.get("rows_in_csv"),  # of the labels CSV, which is not read here
        dropped=recorded.get("rows_dropped"),
    )
    yield _compared("data-metrics", recorded, counts, "preprocess")


def _split(_: LockFile) -> Iterator[Finding]:
    cached = cached_rows.read(_path("rows"))
    split_file.read(_path("split"), cached.index)  # says what is wrong with it
    of_rows = files.read_csv(_path("split"))["side"].to_numpy(dtype=str)
    split = sides.Split(of_rows, groups_of(cached.index), [])
    counts = sides.counts(split, cached.targets, cached.label_names)
    yield _compared("split-metrics", files.read_json(_path("split-metrics")), counts, "split")


def _train(lock: LockFile) -> Iterator[Finding]:
    """The figures of the kept epochs beside the history, and the loss and the frequencies of the prior."""
    cached, recorded = cached_rows.read(_path("rows")), files.read_json(_path("train-metrics"))
    split = split_file.read(_path("split"), cached.index)
    train, validation = split.train, split.validation
    frequencies = metrics.label_frequencies(cached.targets[train])
    prior = metrics.prior_scores(frequencies, len(validation))
    history = files.read_csv(_path("history"))
    kept = kept_figures(history, lock.params("train")["train"]["keep_epoch"]) if len(history) else {}
    computed = kept | {"val_bce_prior": metrics.binary_cross_entropy(cached.targets[validation], prior)}
    yield _compared("train-metrics", {name: recorded.get(name) for name in computed}, computed, "train")

    card = model_card.read(_path("trained"))
    same = np.array_equal(card.label_frequencies, frequencies) and list(card.label_names) == cached.label_names
    detail = "" if same else "label names or frequencies are not those of the training rows"
    yield _finding(f"{_path('trained')}: card", detail, "train")


def _evaluate(lock: LockFile) -> Iterator[Finding]:
    cached, trained = cached_rows.read(_path("rows")), model_card.read(_path("trained"))
    split = split_file.read(_path("split"), cached.index)
    train, validation = split.train, split.validation
    targets, scores = cached.targets[validation], files.read_array(_path("scores"))
    if scores.shape != targets.shape:
        raise UserError(f"{_path('scores')}: expected shape {targets.shape}. Got {scores.shape}.")
    rows, index = checked(targets, scores), cached.index.iloc[validation]
    groups = groups_of(index)
    options = _scoring_options(lock, groups)
    frequencies = checked_frequencies(trained.label_frequencies, rows.num_labels)
    params = lock.params("evaluate")
    out_of_fold = scored_training_rows(
        _path("out-of-fold"),
        cached.index.iloc[train],
        cached.targets[train],
        groups_of(cached.index.iloc[train]),
        folds=params["train.folds"],
        repeats=params["train.repeats"],
        seed=params["seed"],
    )
    found = validate_checked(rows, index, cached.label_names, frequencies, groups, options, out_of_fold)

    yield _compared("metrics", files.read_json(_path("metrics")), found.figures, "evaluate")
    yield _compared("folds", files.read_json(_path("folds")), found.fold_figures, "evaluate")
    with tempfile.TemporaryDirectory() as folder:
        tables = {_path("table"): found.table, _path("suspects"): found.suspects} | {
            f"{_path('plots')}/{name}": found.plots[name] for name in PLOTS
        }
        for path, table in tables.items():
            again = Path(folder, Path(path).name)
            (files.write_plot if again.name in PLOTS else files.write_csv)(again, table)
            differs = Path(path).is_file() and again.read_bytes() != Path(path).read_bytes()
            yield _finding(path, "its rows are not those of the scores" if differs else "", "evaluate")

    expected = dataclasses.replace(trained, decisions=dataclasses.asdict(found.decisions))
    same = json.loads(model_card.read(_path("model")).to_json()) == json.loads(expected.to_json())
    detail = "" if same else "calibration and thresholds are not those that the rows choose"
    yield _finding(f"{_path('model')}: card", detail, "evaluate")
    same = _network(_path("model")) == _network(_path("trained"))
    detail = "" if same else f"the network is not that of {_path('trained')}"
    yield _finding(f"{_path('model')}: network", detail, "evaluate")


def _final_test(_: LockFile) -> Iterator[Finding]:
    """Only the number of rows: the scores of the test side are not kept, and computing them takes the model."""
    cached = cached_rows.read(_path("rows"))
    number = len(split_file.read(_path("split"), cached.index).test)
    recorded = files.read_json(_path("test-metrics"))
    detail = "" if recorded.get("rows_scored") == number else f"rows_scored is not {number}, the rows of the test side"
    yield _finding(f"{_path('test-metrics')}: rows_scored", detail, "final_test")


# What computes it, whose outputs they are, what is read for it, and which outputs are compared, by the names of PATHS.
_RECOMPUTATIONS: list[tuple[Recomputation, str, list[str], list[str]]] = [
    (_data, "preprocess", ["rows", "issues"], ["data-metrics"]),
    (_split, "split", ["rows", "split"], ["split-metrics"]),
    (_train, "train", ["rows", "split", "history", "trained"], ["train-metrics"]),
    (
        _evaluate,
        "evaluate",
        ["rows", "split", "scores", "out-of-fold", "trained"],
        ["metrics", "folds", "table", "suspects", "model"],
    ),
    (_final_test, "final_test", ["rows", "split"], ["test-metrics"]),
]


def _scoring_options(lock: LockFile, groups: Any) -> ScoringOptions:
    params = lock.params("evaluate")
    decide, evaluate = params["decide"], params["evaluate"]
    return ScoringOptions(
        threshold=evaluate["threshold"],
        num_samples=evaluate["bootstrap_samples"],
        folds=possible_folds(groups, wanted=decide["folds"]),
        seed=params["seed"],
        decisions=DecisionOptions(
            calibration=decide["calibration"],
            objective=decide["thresholds"],
            target_precision=decide["target_precision"],
            target_recall=decide.get("target_recall", 0.9),  # a run of an older version has none, and needs none
            min_positives=decide["min_positives"],
            at_least_one=decide["at_least_one"],
            exactly_one=decide.get("exactly_one", False),  # likewise
        ),
    )


def _path(name: str) -> str:
    return PATHS[name][0]


def _compared(name: str, recorded: Any, computed: Any, stage: str) -> Finding:
    """Compare metrics as they stand in a file with what was computed, rounded as it would be written."""
    again = json.loads(json.dumps(files.rounded(computed)))
    keys = [key for key in sorted({*recorded, *again}) if recorded.get(key) != again.get(key)]
    parts = [f"{key} is {_short(recorded.get(key))}, computed {_short(again.get(key))}" for key in keys[:3]]
    more = f", and {len(keys) - 3} more" if len(keys) > 3 else ""
    return _finding(_path(name), "; ".join(parts) + more, stage)


def _finding(what: str, detail: str, stage: str) -> Finding:
    if not detail:
        return Finding(f"{what}, recomputed", "right")
    return Finding(f"{what}, recomputed", "differs", detail, f"dvc repro --force {stage}")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _network(path: str) -> dict[str, tuple[int, int]]:
    """Size and checksum of all that a model file holds beside its card."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    return {member.filename: (member.file_size, member.CRC) for member in members if member.filename != model_card.CARD}

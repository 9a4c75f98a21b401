"""What the stages before `report` have left behind, read once."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from posterity import files
from posterity.cache import rows as cached_rows
from posterity.cache.rows import Rows
from posterity.dataset.issues import Issue, read_issues
from posterity.errors import UserError
from posterity.evaluation.score_file import scored_validation_rows
from posterity.evaluation.score_table import read_decided
from posterity.evaluation.scored_rows import BoolArray, FloatArray, ScoredRows
from posterity.evaluation.suspects import COLUMNS as SUSPECT_COLUMNS
from posterity.splitting import split_file
from posterity.splitting.split_file import RowsBySide
from posterity.targets import is_present


@dataclass(frozen=True)
class Paths:
    """Where the files lie that a report is made of; `posterity.config.stage_arguments` says what each is."""

    rows: Path
    split: Path
    manifest: Path
    issues: Path
    scores: Path
    table: Path
    suspects: Path
    history: Path
    plots: Path
    data_metrics: Path
    split_metrics: Path
    train_metrics: Path
    metrics: Path
    folds: Path
    test_metrics: Path


@dataclass(frozen=True, eq=False)
class RunMetrics:
    """Content of metrics/data.json, split.json, train.json, evaluate.json, folds.json and test.json.

    The last two may be ``{"rows_scored": 0}``.
    """

    data: dict[str, Any]
    split: dict[str, Any]
    train: dict[str, Any]
    evaluate: dict[str, Any]
    folds: dict[str, Any]
    test: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Results:
    """A finished run.

    Attributes
    ----------
    cached : Rows
        All rows of the tensor cache.
    sides : RowsBySide
        Which of them train, validate and test, as row numbers.
    sizes : ndarray of int64, shape (num_rows, 2)
        Width and height of the image files, in pixels.
    issues : list of Issue
        Every problem of the data.
    scored : ScoredRows
        The validation rows, in their order, with the network's own scores.
    decided : ndarray of bool, shape (num_validation_rows, num_labels)
        What is decided, by thresholds that the row had no part in.
    suspects : DataFrame
        ``line``, ``id``, ``label``, ``given``, ``score`` of label cells that are likely to be wrong, worst first.
    history : DataFrame
        Losses of every epoch: ``network``, ``phase``, ``epoch``, ``loss``, ``bce``, ``val_bce``, ``val_bce_prior``.
    per_label : DataFrame
        The figures of every label as metrics/plots/per_label.csv has them.
    reliability : DataFrame
        Observed share by score, before and after calibration, as metrics/plots/reliability.csv has it.
    metrics : RunMetrics
        The figures.
    """

    cached: Rows
    sides: RowsBySide
    sizes: npt.NDArray[np.int64]
    issues: list[Issue]
    scored: ScoredRows
    decided: BoolArray
    suspects: pd.DataFrame
    history: pd.DataFrame
    per_label: pd.DataFrame
    reliability: pd.DataFrame
    metrics: RunMetrics

    @property
    def label_names(self) -> list[str]:
        """Names of the labels, in the order of all columns."""
        return self.cached.label_names

    @functools.cached_property
    def row_of_line(self) -> dict[int, int]:
        """The cached row of a line of the labels CSV."""
        return {int(line): row for row, line in enumerate(self.cached.index["line"])}

    def labels_of(self, row: int) -> str:
        """The labels of a cached row in words."""
        present = np.flatnonzero(is_present(self.cached.targets[row]))
        return ", ".join(self.label_names[column] for column in present) or "no label"

    @property
    def frequencies(self) -> FloatArray:
        """Share of the validation rows that have each label, of those where it is known, (num_labels,)."""
        known = np.ones_like(self.scored.truth) if self.scored.known is None else self.scored.known
        return np.asarray(self.scored.truth.sum(axis=0) / np.maximum(known.sum(axis=0), 1))


def read(paths: Paths) -> Results:
    """Read a run.

    Raises
    ------
    UserError
        If a file is missing or damaged, not what dvc.lock says of it, or if the files are not of one run.
    """
    cached = cached_rows.read(paths.rows)
    sides = split_file.read(paths.split, cached.index)
    suspects = files.read_csv(paths.suspects, "evaluate", SUSPECT_COLUMNS)
    history = files.read_csv(paths.history, "train", ["network", "phase", "epoch", "bce", "val_bce", "val_bce_prior"])
    numbers = history.columns.difference(["phase"])
    return Results(
        cached=cached,
        sides=sides,
        sizes=_sizes(paths.manifest, cached),
        issues=read_issues(paths.issues),
        scored=scored_validation_rows(paths.scores, cached.targets[sides.validation]),
        decided=read_decided(paths.table, cached.index.iloc[sides.validation], cached.label_names),
        suspects=suspects.astype({"line": "int64", "given": "int64", "score": "float64"}),
        history=history.assign(**{name: pd.to_numeric(history[name]) for name in numbers}),
        per_label=_numbers(paths.plots / "per_label.csv", ["label", "support", "average_precision"], "label"),
        reliability=_numbers(paths.plots / "reliability.csv", ["mean_score", "observed_frequency", "count"], "scores"),
        metrics=RunMetrics(
            data=files.read_json(paths.data_metrics, "preprocess"),
            split=files.read_json(paths.split_metrics, "split"),
            train=files.read_json(paths.train_metrics, "train"),
            evaluate=files.read_json(paths.metrics, "evaluate"),
            folds=files.read_json(paths.folds, "evaluate"),
            test=files.read_json(paths.test_metrics, "final_test"),
        ),
    )


def _sizes(path: Path, cached: Rows) -> npt.NDArray[np.int64]:
    table = files.read_csv(path, "validate", ["line", "width", "height"])
    by_line = table.set_index(table["line"].astype("int64"))[["width", "height"]].astype("int64")
    lines = cached.index["line"]
    if missing := sorted(set(lines) - set(by_line.index)):
        raise UserError(f"{path}: expected a row of line {missing[0]}, which is cached. Got none. Run `dvc repro`.")
    return by_line.loc[lines].to_numpy()


def _numbers(path: Path, columns: list[str], text: str) -> pd.DataFrame:
    """A table of `evaluate` in which one column is text."""
    table = files.read_csv(path, "evaluate", [*columns, text] if text not in columns else columns)
    return table.assign(**{name: pd.to_numeric(table[name]) for name in table.columns.difference([text])})

"""The command lines of the stage scripts: where each file of the pipeline lies, written once."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from posterity.text import printable

# Option -> default path and what it is. None: beside another file, as the script says.
PATHS: dict[str, tuple[str, str]] = {
    "params": ("params.yaml", "parameters"),
    "manifest": ("data/manifest.csv", "table of the usable rows"),
    "labels": ("data/labels.json", "names of the labels, in order"),
    "known-issues": ("data/manifest_issues.csv", "problems found by validate"),
    "issues": ("data/issues.csv", "every problem of the data"),
    "rows": ("data/rows", "folder with index, targets and label names"),
    "tensors": ("data/tensors", "folder with the pixels"),
    "split": ("data/split.csv", "side of every row"),
    "features": ("data/features", "folder with the features"),
    "trained": ("models/trained.keras", "trained network"),
    "summary": ("models/summary.txt", "layers of the network"),
    "scores": ("data/scores.npy", "scores of the validation rows"),
    "out-of-fold": ("data/out_of_fold.npy", "scores of the training rows by networks that did not see them"),
    "history": ("metrics/plots/history.csv", "losses of every epoch"),
    "model": ("models/model.keras", "network with calibration and thresholds"),
    "served": ("", "copy of the model for programs that read it while this stage runs"),
    "table": ("data/scores.csv", "labels and scores of every validation row"),
    "suspects": ("data/suspect_labels.csv", "labels of the training rows that are likely to be wrong"),
    "plots": ("metrics/plots", "folder with the CSV files of the plots"),
    "resume": ("data/.resume/train", "folder with the state of an interrupted training"),
    "resume-features": ("data/.resume/features", "folder with the finished parts of interrupted work"),
    "page": ("report/index.html", "the report"),
    "card": ("models/MODEL_CARD.md", "the model card"),
    "sheets": ("report", "folder with pictures for `dvc plots`"),
    "predictions": ("data/predictions", "folder with one file per entry of predict.images"),
    "data-metrics": ("metrics/data.json", "counts of the data"),
    "split-metrics": ("metrics/split.json", "counts of the split"),
    "train-metrics": ("metrics/train.json", "figures of the training"),
    "metrics": ("metrics/evaluate.json", "figures of the model"),
    "folds": ("metrics/folds.json", "figures of the folds of the training rows"),
    "environment": ("metrics/environment.json", "versions and machine of the training"),
    "test-metrics": ("metrics/test.json", "figures of the model on the test side"),
}


class Parser(argparse.ArgumentParser):
    """A parser whose messages about an argument, such as the name of a file, hold nothing that a terminal obeys."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and ``message``, and end with 2."""
        super().error(printable(message))


def parser(
    description: str | None, epilog: str, *, reads: Sequence[str], writes: Sequence[str]
) -> argparse.ArgumentParser:
    """Make the parser of a stage script, with one option for each path.

    Parameters
    ----------
    description, epilog : str
        What ``--help`` says above and below the options.
    reads, writes : sequence of str
        Keys of `PATHS`, without ``params``, which every stage reads.

    Examples
    --------
    >>> arguments = parser("Split the rows.", "", reads=["rows"], writes=["split"]).parse_args(["--rows", "mine"])
    >>> arguments.rows.as_posix(), arguments.split.as_posix(), arguments.params.as_posix()
    ('mine', 'data/split.csv', 'params.yaml')
    """
    made = Parser(description=description, epilog=epilog)
    several = sum(name.endswith("metrics") for name in (*reads, *writes)) > 1
    for names, verb in ((["params", *reads], "read"), (writes, "written")):
        for name in names:
            default, what = PATHS[name]
            text = f"{what}; {verb} (default: {default or f'{name}.keras beside --model'})"
            # The same word in every stage that has one file of metrics, or one folder to resume from.
            option = "metrics" if name.endswith("-metrics") and not several else name.removesuffix("-features")
            made.add_argument(
                f"--{option}",
                dest=name.replace("-", "_"),
                type=Path,
                default=Path(default) if default else None,
                metavar="PATH",
                help=text,
            )
    return made

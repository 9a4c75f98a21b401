"""The trackers of one training: they get all that they can get, and they never stop it."""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from posterity import files, git
from posterity.choices import Tracker as Name
from posterity.errors import UserError
from posterity.text import printable
from posterity.tracking.dvclive_tracker import DvcliveTracker
from posterity.tracking.mlflow_tracker import MlflowTracker
from posterity.tracking.tracker import FINAL, Run, Status, Tracker, one_line

TRACKERS: dict[Name, Callable[[], Tracker]] = {"mlflow": MlflowTracker, "dvclive": DvcliveTracker}
KEPT = "trackers.json"  # beside the checkpoints: which runs an interrupted training goes on in
MOST_FAILURES = 3  # in a row, before a tracker is asked only once more, at the end


class Tracking:
    """Logs a training to some trackers.

    Parameters
    ----------
    names : sequence of str
        ``train.log_to``.
    params : mapping
        Parameters by dotted keys.

    Raises
    ------
    UserError
        If the package of a tracker is not installed.
    """

    def __init__(self, names: Sequence[Name], params: Mapping[str, Any]) -> None:
        if absent := [name for name in names if importlib.util.find_spec(name) is None]:
            raise UserError(
                f"params.yaml: train.log_to: expected packages that are installed. Got {', '.join(absent)}, "
                "which is not. Run `pip install -c requirements.lock -e '.[track]'`, or set train.log_to: []."
            )
        self._params = params
        self._guarded = [_Guarded(name, TRACKERS[name]()) for name in names]
        self._is_running = False
        self._last = 0

    @contextlib.contextmanager
    def training(self, folder: Path | None, *, is_first: bool = True) -> Iterator[None]:
        """Begin the runs, or go on with those of the same training; what ends the block early is told.

        Parameters
        ----------
        folder : Path or None
            Where the training keeps its checkpoints.
        is_first : bool
            Of several processes, only the first one logs.
        """
        if not is_first or not self._guarded:
            yield
            return
        kept = _read(folder)
        run = Run(_name(self._params), self._params, _tags())
        for tracker in self._guarded:
            tracker.begin(run, kept.get(tracker.name, ""), lambda: _write(folder, self._guarded))
        self._is_running = True
        try:
            yield
        except BaseException as error:
            self._end("failed" if isinstance(error, Exception) else "stopped")
            raise

    def log_epoch(self, network: str, epoch: int, losses: Mapping[str, float]) -> None:
        """Log the losses of an epoch.

        Parameters
        ----------
        network : str
            Of several that are trained one after the other; "" if there is only one.
        epoch : int
            Counted from 1 through all phases of the network.
        losses : mapping of str to float
            ``loss``, ``bce`` and ``val_bce``.
        """
        if self._is_running:
            self._last = max(self._last, epoch)
            figures = {f"{network}/{name}" if network else name: value for name, value in losses.items()}
            for tracker in self._guarded:
                tracker.log(figures, epoch)

    def finish(self, figures: Mapping[str, float]) -> None:
        """Log the figures of the finished training, metrics/train.json, and end the runs."""
        if self._is_running:
            final = {f"{FINAL}{name}": value for name, value in figures.items()}
            for tracker in self._guarded:
                tracker.log(final, max(self._last, int(figures.get("kept_epoch", 1))))
            self._end("finished")

    def _end(self, status: Status) -> None:
        for tracker in self._guarded:
            tracker.end(status)
        self._is_running = False


class _Guarded:
    """A tracker whose failures are one warning: what it has not got is kept and told again."""

    def __init__(self, name: Name, tracker: Tracker) -> None:
        self.name = name
        self.id = ""
        self._tracker = tracker
        self._waiting: list[Callable[[], None]] = []
        self._failures = 0
        self._has_warned = False

    def begin(self, run: Run, earlier: str, on_begun: Callable[[], None]) -> None:
        def call() -> None:
            self.id = self._tracker.begin(run, earlier)
            on_begun()

        self._do(call)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._do(lambda: self._tracker.log(figures, step))

    def end(self, status: Status) -> None:
        self._failures = 0
        self._do(lambda: self._tracker.end(status))
        if self._waiting:
            print(f"WARNING: {self.name} has not got all of this training: {len(self._waiting)} of its messages are "
                  "lost.", file=sys.stderr)  # fmt: skip

    def _do(self, call: Callable[[], None]) -> None:
        self._waiting.append(call)
        while self._waiting and self._failures < MOST_FAILURES:
            try:
                self._waiting[0]()
            except Exception as error:  # whatever it is, it is not worth a training of hours
                self._failures += 1
                if not self._has_warned:
                    print(
                        f"WARNING: {self.name} cannot be written to, and the training goes on without it: "
                        f"{printable(one_line(error))}",
                        file=sys.stderr,
                    )
                self._has_warned = True
                return
            self._failures = 0
            del self._waiting[0]


def _name(params: Mapping[str, Any]) -> str:
    """The name of the experiment under `dvc exp run`, otherwise the network and the seed."""
    return os.environ.get("DVC_EXP_NAME") or f"{params['model.name']}, seed {params['seed']}"


def _tags() -> dict[str, str]:
    tags = {
        "posterity.version": importlib.metadata.version("posterity"),
        "mlflow.source.name": "src/train.py",
        "mlflow.source.type": "LOCAL",
    }
    if commit := git.output("rev-parse", "HEAD"):
        tags["mlflow.source.git.commit"] = commit.strip()
    if name := os.environ.get("DVC_EXP_NAME"):
        tags["dvc.experiment"] = name
    return tags


def _read(folder: Path | None) -> dict[str, str]:
    if folder is None:
        return {}
    try:
        content = json.loads((folder / KEPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(id_) for name, id_ in content.items()} if isinstance(content, dict) else {}


def _write(folder: Path | None, trackers: Sequence[_Guarded]) -> None:
    if folder is not None:
        files.write_json(folder / KEPT, {tracker.name: tracker.id for tracker in trackers if tracker.id})

"""The state of a training after its last epoch, on disk, from which the same training goes on after an interruption."""

import contextlib
import dataclasses
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from posterity import files, resume_folder
from posterity.errors import UserError
from posterity.nn.training.optimizers import AveragedWeights

Arrays = dict[str, npt.NDArray[Any]]
Losses = dict[str, float]
STATE = "state"
# What NumPy raises for a file that is damaged.
DAMAGED = (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training as it was after an epoch.

    Attributes
    ----------
    phase : int
        Number of the phase under way, from 0.
    history : list of list of dict
        Losses of every finished epoch, by phase, the last one being that under way.
    stopped : bool
        Whether early stopping has ended the phase.
    stopping : dict, optional
        State of `keras.callbacks.EarlyStopping`, without its weights.
    arrays : dict of str to array
        ``model-N``: weights and random states, ``optimizer-N``: its variables, ``best-N``: weights of the best epoch.
    """

    phase: int
    history: list[list[Losses]]
    stopped: bool
    stopping: dict[str, Any] | None
    arrays: Arrays

    @property
    def epochs(self) -> int:
        """Number of finished epochs of the phase under way."""
        return len(self.history[-1])

    def group(self, name: str) -> list[npt.NDArray[Any]]:
        """The arrays NAME-0, NAME-1, ... in order."""
        return [self.arrays[f"{name}-{k}"] for k in range(sum(key.startswith(f"{name}-") for key in self.arrays))]


@dataclass
class Checkpoints:
    """The checkpoints of one run of the stage, one file for each call of `Trainer.fit`.

    Attributes
    ----------
    folder : Path, optional
        See `posterity.resume_folder`; None = nothing is kept.
    finish : bool
        Take what is there as the end of the training.
    network : str
        Of several that are trained one after the other; empty if there is only one.
    """

    folder: Path | None = None
    finish: bool = False
    network: str = ""
    _said: dict[str, str] = field(default_factory=dict)

    @property
    def last(self) -> str:
        """What was saved last, in words; empty if nothing was."""
        return self._said.get("last", "")

    def named(self, network: str) -> "Checkpoints":
        """The checkpoints of another network in the same folder."""
        return dataclasses.replace(self, network=network)

    def load(self, name: str) -> Checkpoint | None:
        """Read the checkpoint of the call ``name``; None if there is none, or a damaged one, which is said."""
        if self.folder is None or not (path := self._path(name)).is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
            found = Checkpoint(**json.loads(arrays.pop(STATE).tobytes()), arrays=arrays)
        except (*DAMAGED, TypeError) as error:
            print(f"{path} is damaged ({type(error).__name__}) and is not used: this part of the training starts over.")
            return None
        self._remember(name, found)
        return found

    def save(self, name: str, checkpoint: Checkpoint) -> None:
        """Write the checkpoint of the call ``name`` in the place of the last one."""
        if self.folder is None:
            return
        state = {key: getattr(checkpoint, key) for key in ("phase", "history", "stopped", "stopping")}
        content = np.frombuffer(json.dumps(state).encode(), np.uint8)
        with files.replacing(self._path(name)) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **{STATE: content}, **checkpoint.arrays)
        self._remember(name, checkpoint)

    def goes_on_to(self, name: str) -> bool:
        """Whether the call ``name`` has something to do: not if the training is to end before it."""
        return not self.finish or (self.folder is not None and self._path(name).is_file())

    @contextlib.contextmanager
    def explained(self, *, is_one: bool = True) -> Iterator[None]:
        """Let a signal that ends the block say what is kept, and what can be done with it.

        ``is_one`` is whether one network is trained, so that a training can be finished early.
        """
        try:
            yield
        except KeyboardInterrupt as stopped:
            if self.folder is not None and self.last:
                stopped.add_note(f"The training is kept as it was after {self.last}; `dvc repro` goes on from there.")
                if is_one:
                    stopped.add_note(
                        "To have the model of that epoch instead: `python src/train.py --finish`, then `dvc commit "
                        "--force train` and `dvc repro`."
                    )
            elif self.folder is not None:
                stopped.add_note("No epoch was finished: `dvc repro` begins again.")
            raise

    def remove(self) -> None:
        """Delete all of them: the training is done."""
        if self.folder is not None:
            resume_folder.remove(self.folder)

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{self.network}{'-' if self.network else ''}{name}.npz"

    def _remember(self, name: str, checkpoint: Checkpoint) -> None:
        of = f" of {self.network}" if self.network else ""
        self._said["last"] = f"epoch {sum(map(len, checkpoint.history))} of {name}{of}"


class Recorder(keras.callbacks.Callback):
    """Saves a checkpoint after every epoch, and begins with one.

    It comes after all other callbacks: it saves what they have made of the epoch, and restores it after they have been
    reset at the beginning.

    Parameters
    ----------
    store : Checkpoints
        Where to save.
    name : str
        Of the call of `Trainer.fit`.
    phase : int
        Number of the phase.
    earlier : list of list of dict
        Losses of the phases before.
    start : Checkpoint, optional
        Where this phase goes on.
    report : callable, optional
        Is told every epoch, counted from 1 through all phases of the call, and its losses.
    """

    def __init__(
        self,
        store: Checkpoints,
        name: str,
        *,
        phase: int = 0,
        earlier: list[list[Losses]] | None = None,
        start: Checkpoint | None = None,
        report: Callable[[int, Losses], None] | None = None,
    ) -> None:
        super().__init__()
        self.store = store
        self.name = name
        self.phase = phase
        self.earlier = earlier or []
        self.start = start
        self.report = report
        self.losses: list[Losses] = list(start.history[-1]) if start else []
        self.others: list[keras.callbacks.Callback] = []

    def first_epoch(self, epochs: int) -> int:
        """The epoch (from 0) to begin with, out of ``epochs``; ``epochs`` if there is none left."""
        if self.start is None:
            return 0
        return epochs if self.start.stopped or self.store.finish else self.start.epochs

    def on_train_begin(self, logs: Losses | None = None) -> None:
        if self.start is None:
            return
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        _assign(_state_of(self.model), self.start.group("model"))
        _assign(self.model.optimizer.variables, self.start.group("optimizer"))
        for other in self.others:
            if isinstance(other, AveragedWeights):
                other.restore_averaged()
            if isinstance(other, keras.callbacks.EarlyStopping) and self.start.stopping is not None:
                for key, value in self.start.stopping.items():
                    setattr(other, key, value)
                other.best_weights = self.start.group("best") or None

    def on_epoch_end(self, epoch: int, logs: Losses | None = None) -> None:
        losses = {name: float(value) for name, value in (logs or {}).items()}
        self.losses.append(losses)
        if not np.isfinite(list(losses.values())).all():
            return
        if self.store.folder is not None:
            self._save()
        if self.report is not None:  # last: what it does may take time, and the epoch is kept by now
            self.report(sum(map(len, self.earlier)) + len(self.losses), losses)

    def _save(self) -> None:
        stopping: dict[str, Any] | None = None
        arrays = _numbered("model", [variable.numpy() for variable in _state_of(self.model)])
        arrays |= _numbered("optimizer", [variable.numpy() for variable in self.model.optimizer.variables])
        for other in self.others:
            if isinstance(other, keras.callbacks.EarlyStopping):
                names = ("wait", "stopped_epoch", "best", "best_epoch")
                stopping = {key: getattr(other, key) for key in names}
                arrays |= _numbered("best", other.best_weights or [])
        history = [*self.earlier, self.losses]
        checkpoint = Checkpoint(self.phase, history, bool(self.model.stop_training), stopping, arrays)
        self.store.save(self.name, checkpoint)


def check_finishable(checkpoint: Checkpoint | None, phases: int) -> None:
    """Raise a `UserError` if a training that has come to ``checkpoint``, of so many ``phases``, cannot end there."""
    if checkpoint is None:
        raise UserError(
            "--finish: expected a training of these parameters, data and code that was interrupted after at least one "
            "epoch. Got none. Run `dvc repro`."
        )
    if checkpoint.phase < phases - 1:
        raise UserError(
            "--finish: expected a training that has come to its last phase. Got one that has seen images of half the "
            "size only (train.half_size_epochs). Run `dvc repro`, which goes on."
        )


def _state_of(model: keras.Model) -> list[keras.Variable]:
    """Weights and states of random numbers; not `device_images.Images`, which says that it has no weights."""
    return [*model.weights, *(one for one in model.variables if one.name == "seed_generator_state")]


def _numbered(name: str, arrays: list[npt.NDArray[Any]]) -> Arrays:
    return {f"{name}-{k}": np.asarray(array) for k, array in enumerate(arrays)}


def _assign(variables: list[keras.Variable], values: list[npt.NDArray[Any]]) -> None:
    shapes = [tuple(variable.shape) for variable in variables], [value.shape for value in values]
    if shapes[0] != shapes[1]:  # the key of the folder covers everything that could make them differ
        raise RuntimeError(f"a checkpoint with arrays {shapes[1]} for variables {shapes[0]}")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)

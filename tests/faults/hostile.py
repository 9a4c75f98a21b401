"""Damaged and hostile models, and special files where a file is expected.

Right is exit code 2 with one message that names the file, no code of the file run, a bounded memory, and no waiting.
"""

import io
import json
import os
import pickle
import random
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from faults import bench, stage_files
from faults.bench import Bench
from faults.outcomes import Trial
from faults.runner import Ended

MODEL, SPECIAL, PICKLE = "damaged or hostile model", "special file", "pickle for an array"
MARKER = "code-was-run"
MOST_MB = 1500  # a stage takes up to 650 MB on the tiny project
BOMB_MB = 2000
LIMIT_S = 15  # these stages take a second
CARD, CONFIG, WEIGHTS = "posterity.json", "config.json", "model.weights.h5"
# Who reads which model.
READERS = {
    "evaluate": "models/trained.keras",
    "final_test": "models/model.keras",
    "report": "models/model.keras",
    "predict": "models/model.keras",
}

Damage = Callable[[Path, random.Random], object]


class _Payload:
    """Pickled, it makes a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.marker),)


def _rewritten(path: Path, change: Callable[[dict[str, bytes]], object], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _member(name: str, content: bytes) -> Damage:
    return lambda path, _: _rewritten(path, lambda members: members.update({name: content}))


def _card(**values: object) -> Damage:
    def change(members: dict[str, bytes]) -> None:
        members[CARD] = json.dumps({**json.loads(members[CARD]), **values}).encode()

    return lambda path, _: _rewritten(path, change)


def _image(**values: object) -> Damage:
    def change(members: dict[str, bytes]) -> None:
        content = json.loads(members[CARD])
        content["image"].update(values)
        members[CARD] = json.dumps(content).encode()

    return lambda path, _: _rewritten(path, change)


def _cut(path: Path, generator: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: generator.randrange(path.stat().st_size)])


def _cut_at(size: int) -> Damage:
    return lambda path, _: path.write_bytes(path.read_bytes()[:size])


def _zeros(path: Path, generator: random.Random) -> None:
    """A block of 4096 zeros, as a crash of the machine leaves it."""
    content = bytearray(path.read_bytes())
    place = generator.randrange(max(1, len(content) - 4096))
    content[place : place + 4096] = bytes(min(4096, len(content) - place))
    path.write_bytes(content)


def _bomb(name: str) -> Damage:
    """A member of 2 GB of zeros in 2 MB."""

    def make(path: Path, _generator: random.Random) -> None:
        with zipfile.ZipFile(path) as archive:
            members = {other: archive.read(other) for other in archive.namelist() if other != name}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for other, content in members.items():
                archive.writestr(other, content)
            with archive.open(name, "w", force_zip64=True) as member:
                for _ in range(BOMB_MB):
                    member.write(bytes(1_000_000))

    return make


def _without(name: str) -> Damage:
    return lambda path, _: _rewritten(path, lambda members: members.pop(name))


def _lambda_layer(path: Path, _: random.Random) -> None:
    """A network with a layer that holds code; reading it without `safe_mode` would run it."""

    def change(members: dict[str, bytes]) -> None:
        import base64
        import marshal

        marker = str(path.parents[1] / MARKER)
        code = compile(f"import os; os.mkdir({marker!r})", "hostile", "exec")
        content = json.loads(members[CONFIG])
        layer = {
            "module": "keras.layers", "class_name": "Lambda", "registered_name": None, "name": "hostile",
            "config": {
                "name": "hostile", "trainable": True, "dtype": "float32", "arguments": {}, "output_shape": None,
                "function": {
                    "class_name": "__lambda__",
                    "config": {
                        "code": base64.b64encode(marshal.dumps(code)).decode(), "defaults": None, "closure": None,
                    },
                },
            },
        }  # fmt: skip
        first = content["config"]["layers"][0]
        layer["inbound_nodes"] = content["config"]["layers"][1].get("inbound_nodes", [])
        content["config"]["layers"] = [first, layer, *content["config"]["layers"][1:]]
        members[CONFIG] = json.dumps(content).encode()

    _rewritten(path, change)


def _foreign_module(path: Path, _: random.Random) -> None:
    """A network whose layer is a function of the system."""

    def change(members: dict[str, bytes]) -> None:
        content = json.loads(members[CONFIG])
        marker = str(path.parents[1] / MARKER)
        content["config"]["layers"][1] = {
            "module": "os", "class_name": "mkdir", "registered_name": "mkdir", "config": {"path": marker},
        }  # fmt: skip
        members[CONFIG] = json.dumps(content).encode()

    _rewritten(path, change)


def _pickled(path: Path, _: random.Random) -> None:
    path.write_bytes(pickle.dumps(_Payload(path.parents[1] / MARKER)))


DAMAGES: dict[str, Damage] = {
    "cut at random": _cut,
    "empty": _cut_at(0),
    "first 100 bytes": _cut_at(100),
    "a block of zeros": _zeros,
    "not an archive": lambda path, _: path.write_bytes(b"\x00" * 5000),
    "a pickle": _pickled,
    "a bomb as card": _bomb(CARD),
    "a bomb as config": _bomb(CONFIG),
    "no card": _without(CARD),
    "no config": _without(CONFIG),
    "no weights": _without(WEIGHTS),
    "a card that is no JSON": _member(CARD, b"{"),
    "a card that is no object": _member(CARD, b"[]"),
    "a card of a million brackets": _member(CARD, b"[" * 1_000_000),
    "a card that is no UTF-8": _member(CARD, b"\xff\xfe"),
    "a card without labels": _card(label_names=[]),
    "a card with other labels": _card(label_names=["a", "b", "c"]),
    "a card with labels that are numbers": _card(label_names=[1, 2, 3]),
    "a card with frequencies of NaN": _card(label_frequencies=[float("nan")] * 3),
    "a card with frequencies of text": _card(label_frequencies=["a", "b", "c"]),
    "a card that asks for a huge image": _image(height=1_000_000, width=1_000_000),
    "a card with a negative height": _image(height=-1),
    "a card with another height": _image(height=48),
    "a card with unlimited pixels": _image(max_pixels=10**15),
    "a card with a filter of no name": _image(resampling="none"),
    "a config that is no JSON": _member(CONFIG, b"{"),
    "a config of nothing": _member(CONFIG, b"{}"),
    "weights that are no HDF5": _member(WEIGHTS, b"\x89HDF\r\n\x1a\n" + bytes(500)),
    "a layer with code": _lambda_layer,
    "a function of the system as layer": _foreign_module,
}
# What a stage may accept, as long as nobody is harmed: `evaluate` copies the network and does not read it, `predict`
# cannot know what the outputs of a model from elsewhere are called, and nobody reads every byte or reaches every limit.
MAY_BE_ACCEPTED = {
    "evaluate": {
        "a bomb as config", "a config that is no JSON", "a config of nothing", "weights that are no HDF5",
        "a layer with code", "a function of the system as layer", "a card with another height",
    },
    "predict": {"a card with other labels"},
}  # fmt: skip
HARMLESS = {"a card with unlimited pixels", "a block of zeros"}


def models(
    workbench: Bench, stage: str, generator: random.Random, names: list[str] | None = None, *, with_lock: bool = False
) -> Iterator[Trial]:
    """Each damage, or those of ``names``, in the model that ``stage`` reads.

    With ``with_lock`` dvc.lock stays, so that the model is refused as one that the pipeline has not made; without it,
    as somebody has who was given the model, the reader has to see for itself.
    """
    for name in names or DAMAGES:
        project = workbench.fresh(without=stage)
        if not with_lock:
            (project / "dvc.lock").unlink()
        path = project / READERS[stage]
        before = bench.snapshot(project, [READERS[stage]])
        DAMAGES[name](path, generator)
        ended = workbench.run(stage)
        may_be_accepted = not with_lock and name in HARMLESS | MAY_BE_ACCEPTED.get(stage, set())
        problems = [] if ended.code == 0 and may_be_accepted else bench.refusal(ended, READERS[stage])
        problems += _harm(project, ended)
        assert before != bench.snapshot(project, [READERS[stage]]), name
        yield bench.judged(MODEL, stage, f"{name}{', with dvc.lock' if with_lock else ''}", problems, ended)


def pickles(workbench: Bench, stages: list[str]) -> Iterator[Trial]:
    """Every array that a stage reads as an array of objects, whose reading would run code."""
    import numpy as np

    for stage in stages:
        folder = workbench.finished()
        names = [name for name in stage_files.files_of(folder, stage_files.reads(stage)) if name.endswith(".npy")]
        for name in names:
            project = workbench.fresh(without=stage)
            (project / "dvc.lock").unlink()
            stream = io.BytesIO()
            np.save(stream, np.array([_Payload(project / MARKER)], dtype=object), allow_pickle=True)
            (project / name).write_bytes(stream.getvalue())
            ended = workbench.run(stage)
            problems = bench.refusal(ended, *bench.names_of(name)) + _harm(project, ended)
            yield bench.judged(PICKLE, stage, name, problems, ended)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    before = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has at most 107 bytes
    try:
        server.bind(path.name)
    finally:
        os.chdir(before)
        server.close()


SPECIAL_FILES: dict[str, Callable[[Path], None]] = {
    "a named pipe": _fifo,
    "a socket": _socket,
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to /dev/null": lambda path: path.symlink_to("/dev/null"),
    "a folder": lambda path: path.mkdir(),
    "a dead link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "nothing": lambda path: None,
}
PLACES = {
    "validate": ["images/i05.jpg", "labels.csv", "params.yaml"],
    "preprocess": ["data/manifest.csv", "data/labels.json", "params.yaml"],
    "split": ["data/rows/index.csv", "data/rows/targets.npy"],
    "evaluate": ["data/out_of_fold.npy", "data/scores.npy", "data/split.csv", "models/trained.keras"],
    "predict": ["models/model.keras"],
}
IN_A_LIST = {"images/i05.jpg"}  # what `validate` finds is in the list that its message names


def special_files(workbench: Bench, stage: str, kinds: list[str] | None = None) -> Iterator[Trial]:
    """Each kind of special file in each place where ``stage`` expects a file."""
    for place in PLACES[stage]:
        for kind in kinds or SPECIAL_FILES:
            project = workbench.fresh(without=stage)
            bench.remove(project / place)
            SPECIAL_FILES[kind](project / place)
            ended = workbench.run(stage, limit_s=LIMIT_S)
            names = ["data/issues.csv"] if place in IN_A_LIST else bench.names_of(place)
            problems = bench.refusal(ended, *names) + _harm(project, ended)
            if place in IN_A_LIST and "i05" not in (project / "data/issues.csv").read_text():
                problems.append("data/issues.csv does not list it")
            yield bench.judged(SPECIAL, stage, f"{kind} as {place}", problems, ended)


def _harm(project: Path, ended: Ended) -> list[str]:
    found = []
    if (project / MARKER).exists():
        found.append("code of the file was run")
    if ended.peak_mb > MOST_MB:
        found.append(f"{ended.peak_mb:,.0f} MB of memory")
    return found

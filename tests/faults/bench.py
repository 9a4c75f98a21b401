"""The workbench of all trials: a tiny project, finished, of which each trial gets a copy, and what is right in it."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from faults import runner, stage_files
from faults.outcomes import Trial
from faults.runner import Ended
from small_project import ROOT, SmallProject, environment

NUM_IMAGES = 40
COPIED = ["src", ".dvc/config", ".dvc/plots", ".dvcignore", ".gitignore", "dvc.yaml", "data/.gitignore"]
SETTINGS: dict[str, object] = {
    "image.height": 32,
    "image.width": 24,
    "split.test_fraction": 0.2,
    "split.validation_fraction": 0.3,
    "data.min_positives": 0,
    "data.max_dropped_fraction": 0.5,
    "machine.reuse_folder": "data/.reuse",
    "model.backbone": ["tiny.keras"],
    "model.backbone_folder": "data/backbones",
    "model.head.hidden_units": 8,
    "train.epochs": 2,
    "train.keep_epoch": "best",
    "predict.images": {stage_files.PREDICT_ENTRY: "new"},
}
# Kinds of a project: what is trained.
SCRATCH: dict[str, object] = {}
FROZEN: dict[str, object] = {"model.name": "backbone", "model.mode": "frozen", "train.epochs": 3}
FINETUNE = {**FROZEN, "model.mode": "finetune", "model.finetune.epochs": 2}
RICH: dict[str, object] = {
    "train.epochs": 5,
    "train.half_size_epochs": 2,
    "train.ema": 0.9,
    "train.optimizer": "muon",
    "train.early_stopping": 3,
    "train.mixup": 0.2,
}
RECIPES: dict[str, Mapping[str, object]] = {"scratch": SCRATCH, "frozen": FROZEN, "finetune": FINETUNE, "rich": RICH}
# What another run has left: another seed and another size of everything that a stage writes.
OLDER: dict[str, object] = {"seed": 7, "split.validation_fraction": 0.4, "image.height": 36, "decide.folds": 3}

BACKBONE = """
import sys
import keras
keras.utils.set_random_seed(3)
layers = [keras.layers.Rescaling(1 / 127.5, offset=-1.0),
          keras.layers.Conv2D(6, 5, strides=4, use_bias=False, name="low"),
          keras.layers.BatchNormalization(name="norm"), keras.layers.ReLU(),
          keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="high")]
keras.Sequential([keras.Input((None, None, 3)), *layers]).save(sys.argv[1])
"""

Snapshot = dict[str, str]  # path -> sha256
# May differ after a fault: what DVC and Git keep for themselves, what is kept for the next run, code.
NOT_COMPARED = (".dvc/", ".git/", "src/", "data/.reuse/", "tmp/")
WITH_DVC = ("src", ".git", ".dvc")  # of use for DVC alone
TEMPORARY = ".posterity"  # the end of the names of temporary files and folders
RESUMABLE = "data/.resume"  # what an interrupted run leaves for the next one, which removes it in the end
MOST_SHOWN = 4


class Bench:
    """Finished projects of some `RECIPES` in ``folder``, and a folder in which the trials work.

    Use it inside ``with``: it keeps two fork servers. ``afresh`` starts a Python of its own for every run instead.
    """

    def __init__(self, folder: Path, *, afresh: bool = False) -> None:
        self.folder = folder
        self.project = folder / "project"  # of the trial that runs
        self.temporary = folder / "tmp"  # TMPDIR of the stages
        self._afresh = afresh
        self._stack = contextlib.ExitStack()
        self._servers: dict[str, runner.Forking] = {}
        self._right: dict[str, Snapshot] = {}
        self._seconds: dict[tuple[str, str], float] = {}

    def __enter__(self) -> "Bench":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.temporary.mkdir(exist_ok=True)
        (self.folder / "gitconfig").write_text("[user]\nname = Test\nemail = test@example.org\n")
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    # Projects.

    def finished(self, recipe: str = "scratch") -> Path:
        """A project in which all stages have run and DVC knows what they made; made once, and not to be changed."""
        root = self.folder / f"finished-{recipe}"
        if not root.exists():
            unfinished = self.folder / f"unfinished-{recipe}"
            new_project(unfinished, RECIPES[recipe])
            if "model.name" in RECIPES[recipe]:
                backbone = self.folder / "save_backbone.py"
                backbone.write_text(BACKBONE)
                self._check(self._server("features").run(unfinished, str(backbone), "data/backbones/tiny.keras"))
            for command in (["git", "init", "-q", "-b", "main"], ["dvc", "init", "-q", "-f"]):
                self._check(self.command(command, unfinished))
            for name in COPIED[1:]:  # what `dvc init` has written gives way to what is committed here
                copy(ROOT / name, unfinished / name)
            for stage in stage_files.STAGES:
                ended = self.run(stage, folder=unfinished)
                self._check(ended)
                self._seconds[recipe, stage] = ended.seconds
            self._check(self.dvc("commit", "-f", folder=unfinished))
            for command in (["git", "add", "-A"], ["git", "commit", "-qm", "finished"]):
                self._check(self.command(command, unfinished))
            unfinished.rename(root)
        return root

    def older(self, recipe: str) -> Path:
        """The same project as an earlier run with other parameters left it; without DVC."""
        root = self.folder / f"older-{recipe}"
        if not root.exists():
            unfinished = self.folder / f"unfinished-older-{recipe}"
            new_project(unfinished, {**RECIPES[recipe], **OLDER})
            backbones = self.finished(recipe) / "data/backbones"
            shutil.copytree(backbones, unfinished / "data/backbones", dirs_exist_ok=True)
            for stage in stage_files.STAGES:
                self._check(self.run(stage, folder=unfinished))
            unfinished.rename(root)
        return root

    def right(self, recipe: str) -> Snapshot:
        """What is in the finished project."""
        if recipe not in self._right:
            self._right[recipe] = snapshot(self.finished(recipe))
        return self._right[recipe]

    def fresh(
        self, recipe: str = "scratch", *, without: str | None = None, older: bool = False, with_dvc: bool = False
    ) -> Path:
        """A new copy of the finished project to work in, without the outputs of a stage, or with those of an older run.

        Scripts alone need neither the code in it nor what DVC and Git keep, which takes half a second to copy.
        """
        for folder in (self.project, self.temporary):
            shutil.rmtree(folder, ignore_errors=True)
        self.temporary.mkdir()
        root = self.finished(recipe)
        left_out = () if with_dvc else WITH_DVC
        shutil.copytree(root, self.project, symlinks=True, ignore=lambda at, _: left_out if Path(at) == root else ())
        for name in stage_files.writes(without) if without else []:
            remove(self.project / name)
            if older:
                copy(self.older(recipe) / name, self.project / name)
        return self.project

    # Runs.

    def run(self, stage: str, *arguments: str, folder: Path | None = None, **fault: Any) -> Ended:
        """Run the script of a stage; ``fault`` as in `runner.Forking.run`."""
        given = (*stage_files.arguments(stage), *arguments)
        folder = folder or self.project
        env = self.environment()
        if self._afresh:
            return runner.Starting().run(folder, runner.script_of(stage), *given, env=env, **fault)
        return self._server(stage).run(folder, runner.script_of(stage), *given, env=env, **fault)

    def run_afresh(self, stage: str, **fault: Any) -> Ended:
        """Run the script of a stage as a user does, by a Python of its own without anything of this harness in it."""
        command = [sys.executable, runner.script_of(stage), *stage_files.arguments(stage)]
        return runner.run(command, self.project, self.environment(), **fault)

    def dvc(self, *arguments: str, folder: Path | None = None, **fault: Any) -> Ended:
        """Run DVC; the stages that it starts are processes of their own, with the code of the project's folder."""
        env = self.dvc_environment()
        if "dvc" not in self._servers:
            self._servers["dvc"] = self._stack.enter_context(runner.Forking(runner.DVC))
        way = runner.Starting() if self._afresh else self._servers["dvc"]
        return way.run(folder or self.project, "-m", "dvc", *arguments, env=env, **{"limit_s": 600, **fault})

    def posterity(self, *arguments: str, folder: Path | None = None) -> Ended:
        """Run the command line of this checkout."""
        code = f"from posterity.cli import main; main({list(arguments)!r})"
        return runner.run([sys.executable, "-c", code], folder or self.project, self.environment())

    # A small disk.

    @property
    def disk(self) -> Path:
        """Where a small disk is mounted; see `on_a_small_disk`."""
        return self.folder / "disk"

    @contextlib.contextmanager
    def on_a_small_disk(self, size_kb: int) -> Iterator[None]:
        """Let the project and TMPDIR lie on a file system of ``size_kb``, which has to be allowed (`can_mount`)."""
        before = self.project, self.temporary
        self.disk.mkdir(exist_ok=True)
        if not mount(self.disk, size_kb):
            raise RuntimeError("a file system could not be mounted")
        try:
            self.project, self.temporary = self.disk / "project", self.disk / "tmp"
            yield
        finally:
            self.project, self.temporary = before
            unmount(self.disk)

    def can_mount(self) -> bool:
        """Whether this process may mount a file system: root, outside of most containers."""
        self.disk.mkdir(exist_ok=True)
        if is_allowed := mount(self.disk, 64):
            unmount(self.disk)
        return is_allowed

    def used_kb(self) -> int:
        """What is used of the small disk."""
        return shutil.disk_usage(self.disk).used // 1024

    def command(self, command: list[str], folder: Path | None = None) -> Ended:
        """Run Git or DVC afresh."""
        return runner.run(command, folder or self.project, self.dvc_environment(), limit_s=600)

    def seconds(self, recipe: str, stage: str) -> float:
        """How long the stage takes if nothing disturbs it."""
        self.finished(recipe)
        if (recipe, stage) not in self._seconds:  # the finished project was there already
            self.fresh(recipe, without=stage)
            started = time.monotonic()
            self._check(self.run(stage))
            self._seconds[recipe, stage] = time.monotonic() - started
        return self._seconds[recipe, stage]

    def changes(self, stage: str) -> int:
        """How many files and folders the stage changes, as `kill_at` counts them."""
        target = self.folder / "changes"
        self._check(self.run(stage, count_to=str(target)))
        return int(target.read_text())

    def environment(self) -> dict[str, str]:
        return environment(TMPDIR=str(self.temporary), PYTHONDONTWRITEBYTECODE="1")

    def dvc_environment(self) -> dict[str, str]:
        """The environment of Git and DVC: the package of this checkout must not be on the path of the stages."""
        env = {name: value for name, value in self.environment().items() if name != "PYTHONPATH"}
        return env | {
            "PATH": f"{sys.prefix}/bin{os.pathsep}{env['PATH']}",
            "GIT_CONFIG_GLOBAL": str(self.folder / "gitconfig"),
            "DVC_SITE_CACHE_DIR": str(self.folder / "site-cache"),
            "DVC_NO_ANALYTICS": "1",
        }

    # Judgement.

    def problems(self, recipe: str, ended: Ended) -> list[str]:
        """What is wrong after a run that should have made everything whole again."""
        found = []
        if ended.code != 0:
            found.append(f"the next run ended with {ended.code}: {ended.last_line}")
        found += differences(self.right(recipe), snapshot(self.project))
        found += leftovers(self.project) + [f"left in TMPDIR: {path.name}" for path in self.temporary.iterdir()]
        return found + [f"process {pid} still runs" for pid in processes_in(self.project)]

    def lost(self, recipe: str, stage: str) -> list[str]:
        """Outputs of ``stage`` that a fault has left neither absent nor as before nor as after a whole run."""
        allowed = [snapshot(root, stage_files.writes(stage)) for root in (self.finished(recipe), self.older(recipe))]
        now = snapshot(self.project, stage_files.writes(stage))
        half = [path for path, digest in now.items() if digest not in [whole.get(path) for whole in allowed]]
        return [f"half-written: {path}" for path in half if "/." not in path]

    def _server(self, stage: str) -> runner.Forking:
        name = "heavy" if stage in stage_files.WITH_TENSORFLOW else "light"
        if name not in self._servers:
            modules = runner.HEAVY if name == "heavy" else runner.LIGHT
            self._servers[name] = self._stack.enter_context(runner.Forking(modules))
        return self._servers[name]

    @staticmethod
    def _check(ended: Ended) -> None:
        if ended.code != 0:
            raise RuntimeError(f"a run without a fault ended with {ended.code}:\n{ended.stdout}{ended.stderr}")


def new_project(root: Path, settings: Mapping[str, object]) -> SmallProject:
    """Make the inputs of the tiny project: images, table, parameters, images to predict, and the code."""
    project = SmallProject(root, NUM_IMAGES)
    (root / "new").mkdir()
    for id_ in project.ids[:3]:
        shutil.copy(project.image(id_), root / "new")
    (root / "data/backbones").mkdir(parents=True)
    for name in COPIED:
        copy(ROOT / name, root / name)
    project.params({**SETTINGS, **settings})
    return project


def snapshot(root: Path, names: list[str] | None = None) -> Snapshot:
    """Digests of all files in ``root``, or of those that ``names`` stand for."""
    paths = stage_files.files_of(root, names) if names is not None else list(_files(root))
    return {path: hashlib.sha256((root / path).read_bytes()).hexdigest() for path in paths}


def _files(root: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(root):
        inside = Path(parent).relative_to(root)
        folders[:] = [name for name in folders if not f"{(inside / name).as_posix()}/".startswith(NOT_COMPARED)]
        yield from ((inside / name).as_posix() for name in names if (Path(parent) / name).is_file())


def differences(right: Snapshot, now: Snapshot) -> list[str]:
    """What is missing, differs or is too much, as one line each, the first few named."""
    kinds = {
        "missing": right.keys() - now.keys(),
        "differs": {path for path in right.keys() & now.keys() if right[path] != now[path]},
        "too much": now.keys() - right.keys(),
    }
    return [f"{kind}: {', '.join(sorted(paths)[:MOST_SHOWN])}" for kind, paths in kinds.items() if paths]


def leftovers(root: Path, *, may_go_on: bool = False) -> list[str]:
    """Temporary files and folders, empty ones too, that nobody will need; ``may_go_on``: but for a resumable state."""
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob(f".*{TEMPORARY}"))
    hidden = [path for name in ("data", "models", "metrics") for path in (root / name).rglob(".*") if path.is_dir()]
    known = ("data/.reuse", RESUMABLE) if may_go_on else ("data/.reuse",)
    names = [path.relative_to(root).as_posix() for path in hidden]
    found += [name for name in names if not name.startswith(known) and name not in found]
    return [f"left: {', '.join(found[:MOST_SHOWN])}"] if found else []


def processes_in(root: Path) -> list[int]:
    """Processes that work in ``root``."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            # A zombie has no folder any more.
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")).is_relative_to(root):  # noqa: PTH115
                found.append(int(entry.name))
    return found


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, if it is there, over what may be at ``target``; without what Python compiled."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored)
    elif source.exists():
        shutil.copy2(source, target)


def refusal(ended: Ended, *names: str) -> list[str]:
    """What is wrong with a run that should have been refused: exit code 2 and one message that has one of ``names``."""
    found: list[str] = []
    if ended.timed_out:
        found.append("not done in time")
    elif ended.code != 2:
        found.append(f"exit code {ended.code}, expected 2: {ended.last_line}")
    messages = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    if len(messages) != 1 and not ended.has_traceback:
        found.append(f"{len(messages)} messages, expected 1: {ended.last_line}")
    if names and not any(name in ended.stderr for name in names) and not ended.has_traceback:
        found.append(f"no message names {' or '.join(names)}: {ended.last_line}")
    return found


def names_of(path: str) -> list[str]:
    """What a message may call a file: its path, or its folder if that is the output of one stage."""
    parent = Path(path).parent.as_posix()
    return [path] if f"{parent}/" in (*stage_files.MADE, "./") else [path, parent]


def judged(kind: str, stage: str, what: str, problems: list[str], *runs: Ended, is_manual: bool = False) -> Trial:
    """A `Trial` with what ``runs`` have shown."""
    return Trial(kind, stage, what, problems, any(run.has_traceback for run in runs), is_manual)


def end(pid: int) -> None:
    """Kill a process that a trial has started and that should not run any more."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def is_root() -> bool:
    return os.geteuid() == 0


def mount(folder: Path, size_kb: int) -> bool:
    """Put an empty file system of ``size_kb`` on ``folder``; False where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(folder)]
    return is_root() and subprocess.run(command, check=False, capture_output=True).returncode == 0


def remount(folder: Path, size_kb: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size_kb}k", str(folder)], check=True, capture_output=True)


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)

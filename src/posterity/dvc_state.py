"""DVC's own files: what a kill or a full disk leaves of them, and what can be mended without loss.

Three kinds are looked at. ``.dvc/tmp/rwlock`` says which process reads or writes which file; DVC rewrites it in place,
so a kill can leave it cut short, and then every command fails. The databases of DVC's site cache only remember digests
of files by size and time; a damaged one stops every command, too, and a missing one costs nothing but time.
``dvc.lock`` is the record of the results, which only Git can bring back.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posterity.config import yaml12
from posterity.errors import UserError

RWLOCK = Path(".dvc/tmp/rwlock")
LOCK = Path("dvc.lock")
SAY_NO_HASH = {"path", "hash", "size", "nfiles", "isexec"}  # keys of an entry beside its hash, such as md5 or etag
MARKERS = ("<<<<<<< ", "=======\n", ">>>>>>> ")


@dataclass(frozen=True)
class Damage:
    """A damaged file of DVC: what is wrong, what to do, and whether `repair` can do it."""

    path: Path
    what: str
    fix: str
    can_repair: bool


def find() -> list[Damage]:
    """What is damaged in the project in the current folder; nothing is changed. Empty if DVC was never used here."""
    found = []
    if not Path(".dvc").is_dir():
        return []
    repair = "`posterity check --repair` removes it; DVC makes a new one."
    if what := rwlock_damage(RWLOCK):
        found.append(Damage(RWLOCK, what, repair, can_repair=True))
    for path in _databases():
        if what := _database_damage(path):
            found.append(Damage(path, what, repair, can_repair=True))
    if what := lock_damage(LOCK):
        fix = (
            f"Only Git has another one: `cp {LOCK} {LOCK}.damaged && git checkout HEAD -- {LOCK}` brings back the last "
            "commit's, and `dvc repro` runs what has been changed since. In the middle of a merge, "
            f"`git checkout --ours {LOCK}` or `--theirs` chooses a side."
        )
        found.append(Damage(LOCK, what, fix, can_repair=False))
    return found


def repair(damages: list[Damage]) -> Iterator[str]:
    """Remove what DVC makes anew, and say in sentences what was done.

    Raises
    ------
    UserError
        If a DVC process may be at work: its entries would be lost.
    """
    if not any(damage.can_repair for damage in damages):
        return
    with _held():
        for damage in damages:
            # Once more, now that nobody else can write it.
            if not damage.can_repair or not (rwlock_damage if damage.path == RWLOCK else _database_damage)(damage.path):
                continue
            for path in (damage.path, *(damage.path.with_name(f"{damage.path.name}-{end}") for end in ("wal", "shm"))):
                path.unlink(missing_ok=True)
            kind = "It held no lock of a living process" if damage.path == RWLOCK else "It only saved time"
            yield f"{damage.path}: removed. {kind}, and DVC makes a new one."


def rwlock_damage(path: Path) -> str:
    """Say what is wrong with DVC's file of locks, "" if nothing is: DVC reads it as `dvc.rwlock` does."""
    try:
        content: Any = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError:
        return f"is cut short or damaged ({path.stat().st_size} bytes), and every DVC command stops at it"
    is_sound = (
        isinstance(content, dict)
        and content.keys() <= {"read", "write"}
        and all(isinstance(part, dict) for part in content.values())
        and all(_is_holder(one) for one in content.get("write", {}).values())
        and all(isinstance(some, list) and all(map(_is_holder, some)) for some in content.get("read", {}).values())
    )
    return "" if is_sound else "has not the form that DVC gives it, and every DVC command stops at it"


def lock_damage(path: Path) -> str:
    """Say what is wrong with dvc.lock, "" if nothing is or there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError:
        return "is not UTF-8"
    if any(line.startswith(MARKERS) for line in text.splitlines(keepends=True)):
        return "has conflict markers of a merge"
    try:
        content = yaml12.read(str(path))
    except UserError as error:
        return str(error).removeprefix(f"{path}: ").removesuffix(".")
    if not isinstance(content, dict) or content.get("schema") != "2.0":
        return "is cut short: its key schema is not 2.0"
    stages = content.get("stages", {})
    if not isinstance(stages, dict) or not all(isinstance(stage, dict) and "cmd" in stage for stage in stages.values()):
        return "is cut short: a stage has no cmd"
    entries = [entry for stage in stages.values() for part in ("deps", "outs") for entry in stage.get(part) or ()]
    if not all(isinstance(entry, dict) and entry.get("path") and entry.keys() - SAY_NO_HASH for entry in entries):
        return "is cut short: an entry has no path or no hash"
    # Here, since DVC takes half a second to load.
    from dvc.dvcfile import Lockfile
    from dvc.exceptions import DvcException

    try:
        Lockfile.validate(content)
    except DvcException:  # such as an md5 of which only digits are left, which YAML reads as a number
        return "is cut short or damaged: it has not the form that DVC gives it"
    return ""


def process_at_work() -> str:
    """Say in a sentence that a DVC process works in the current folder, "" if none does.

    Only processes that may be looked into count: those of this user, or all for root.
    """
    import psutil

    here, own = Path.cwd(), {process.pid for process in (psutil.Process(), *psutil.Process().parents())}
    for process in psutil.process_iter(["pid", "name", "cmdline", "cwd"]):
        facts = process.info
        words = [Path(word).name for word in facts["cmdline"] or [facts["name"] or ""]][:3]
        is_dvc = any(word in ("dvc", "dvc.exe") or word.startswith("dvc-") for word in words)
        # A process that has ended, or is somebody else's, has no folder.
        if not is_dvc or not facts["cwd"] or facts["pid"] in own:
            continue
        if Path(facts["cwd"]).is_relative_to(here) or here.is_relative_to(facts["cwd"]):
            return f"A DVC process is at work here (PID {facts['pid']}: {' '.join(words)})."
    return ""


def _is_holder(info: Any) -> bool:
    is_pair = isinstance(info, dict) and info.keys() == {"pid", "cmd"}
    return is_pair and isinstance(info["pid"], int) and isinstance(info["cmd"], str)


@contextlib.contextmanager
def _opened() -> Iterator[Any]:
    """The project in the current folder as DVC sees it, without its databases."""
    # Here, since DVC takes half a second to load.
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.hashfile import state

    # To make a `Repo` opens the databases, which fails if one is damaged.
    module: Any = state
    opened, module.State = module.State, lambda *_: state.StateNoop()
    try:
        repo = Repo(".")
    except DvcException as error:
        said = " ".join(str(error).split())
        raise UserError(f"DVC cannot open this project: {said}. Correct what it names.") from None
    finally:
        module.State = opened
    with repo:
        yield repo


def _databases() -> list[Path]:
    """The databases of DVC for this project."""
    with _opened() as repo:
        return sorted(Path(repo.site_cache_dir).rglob("cache.db"))


def _database_damage(path: Path) -> str:
    """Say what SQLite finds, "" if nothing, or if somebody else is using it: then it works for them."""
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=1)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        return "" if "locked" in str(error) else f"cannot be opened ({error})"
    except sqlite3.DatabaseError as error:
        return f"is damaged ({error}), and every DVC command stops at it"
    return "" if found == "ok" else f"is damaged ({found}), and every DVC command may stop at it"


@contextlib.contextmanager
def _held() -> Iterator[None]:
    """Hold DVC's own locks, by which its commands keep apart, after a look at the processes.

    While a command of a stage runs, DVC lets go of the first lock and relies on the file that is damaged here.
    """
    if working := process_at_work():
        raise UserError(f"{working} Nothing was changed: wait until it has finished, or end it.")
    with contextlib.ExitStack() as stack:
        is_hardlink = stack.enter_context(_opened()).config["core"].get("hardlink_lock", False)

        from dvc.lock import LockError, make_lock

        for name in ("lock", "rwlock.lock"):
            path = RWLOCK.with_name(name)
            try:
                stack.enter_context(make_lock(str(path), tmp_dir=str(path.parent), hardlink_lock=is_hardlink))
            except LockError:
                raise UserError(
                    f"{path} is held by a DVC process. Nothing was changed: wait until it has finished."
                ) from None
        yield

"""Every out beside what DVC recorded of it, file by file, and every object of the cache beside its own name."""

import hashlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from posterity.verifying.finding import Finding, State
from posterity.verifying.hashing import Readings, mismatch
from posterity.verifying.recorded import Out, Project


@dataclass(frozen=True)
class _Entry:
    """One file of an out, the digest that is recorded for it, and its object in the cache."""

    path: Path
    md5: str
    cached: Path | None


@dataclass
class _Plan:
    """The files of an out as they are recorded; None as long as the list of a folder cannot be read."""

    out: Out
    entries: list[_Entry] | None
    about_list: Finding | None = None


class OutsCheck:
    """Checks the outs of a project in two steps, between which somebody else's files can be read along.

    Parameters
    ----------
    project : Project
        What DVC has recorded.
    readings : Readings
        Gets the files to read; call its `read_all` before `findings`.

    Attributes
    ----------
    bad_paths : set of str
        Outs that are not what was recorded; after `findings`.
    """

    def __init__(self, project: Project, readings: Readings) -> None:
        self.bad_paths: set[str] = set()
        self._project = project
        self._readings = readings
        self._plans = [_plan(out) for out in project.outs if out.md5 is not None and not out.reason]
        for plan in self._plans:
            self._ask(plan.entries or [])
            if plan.entries is None:
                for name in plan.out.present or ():
                    readings.want(Path(plan.out.path, name), "md5")

    def findings(self) -> list[Finding]:
        """One finding for every file of every out, every object of the cache, and every file too many."""
        self._complete()
        found = [self._unrecorded(out) for out in self._project.outs if out.md5 is None or out.reason]
        in_workspace = [(plan, finding) for plan in self._plans for finding in self._workspace(plan)]
        bad = [plan for plan, finding in in_workspace if finding.is_wrong]
        self.bad_paths = {plan.out.path for plan in bad} | {finding.what for finding in found if finding.is_wrong}
        bad_stages = {plan.out.stage for plan in bad}
        in_cache = [finding for plan in self._plans for finding in self._cache(plan, bad_stages)]
        # An object that several outs share is one row.
        return found + [finding for _, finding in in_workspace] + list(dict.fromkeys(in_cache))

    def _ask(self, entries: list[_Entry]) -> None:
        for entry in entries:
            self._readings.want(entry.path, "md5", entry.md5)
            if entry.cached is not None:
                self._readings.want(entry.cached, "md5", entry.md5)

    def _complete(self) -> None:
        """Where the list of a folder is lost, take the files that are there, if their list has the recorded digest."""
        for plan in self._plans:
            if plan.entries is None and plan.out.present is not None:
                found = {name: self._readings[Path(plan.out.path, name)] for name in plan.out.present}
                if not any(contents.problem for contents in found.values()):
                    digests = {name: contents.digests["md5"] for name, contents in found.items()}
                    if list_digest(digests) == plan.out.md5:
                        plan.entries = _entries(plan.out, digests)
                        self._ask(plan.entries)
        self._readings.read_all()

    @staticmethod
    def _unrecorded(out: Out) -> Finding:
        if out.reason:
            return Finding(out.path, "unchecked", out.reason)
        fix = f"dvc repro {_quoted(out.stage)}" if out.is_made else f"dvc add {_quoted(out.path)}"
        return Finding(out.path, "unrecorded", f"{out.stage} has it as an out, and no hash is recorded", fix)

    def _workspace(self, plan: _Plan) -> Iterator[Finding]:
        out = plan.out
        if plan.entries is None:
            lost = [] if plan.about_list is None or plan.about_list.state == "missing" else [plan.about_list.what]
            if out.present is None:
                yield Finding(out.path, "missing", "the folder does not exist", self._remade(out, lost))
            else:
                detail = f"its {len(out.present)} files are not those recorded as {out.md5}.dir"
                yield Finding(out.path, "damaged", detail, self._remade(out, [out.path, *lost]))
            return
        if out.is_folder and out.present is None:
            yield Finding(out.path, "missing", "the folder does not exist", self._mend(out, plan.entries))
            return
        for entry in plan.entries:
            if not _is_there(entry.path):
                yield Finding(entry.path.as_posix(), "missing", "", self._mend(out, [entry]))
            elif detail := self._wrong(entry.path, entry):
                yield Finding(entry.path.as_posix(), "damaged", detail, self._mend(out, [entry]))
            else:
                yield Finding(entry.path.as_posix(), "right", f"md5 {entry.md5}")
        recorded = {entry.path for entry in plan.entries}
        for name in out.present or () if out.is_folder else ():
            if (path := Path(out.path, name)) not in recorded:
                meant = "" if out.is_made else f"dvc add {_quoted(out.path)} if it belongs there, otherwise "
                fix = f"{meant}move {_quoted(path)} out of {out.path}"
                yield Finding(path.as_posix(), "extra", f"{out.path} was recorded without it", fix)

    def _cache(self, plan: _Plan, bad_stages: set[str]) -> Iterator[Finding]:
        # A copy that is right in the workspace fills the cache again; `dvc commit` asks where more has changed.
        first = "mend the files of this stage first, then " if plan.out.stage in bad_stages else ""
        commit = f"{first}dvc commit {_quoted(plan.out.stage)}"
        if (about := plan.about_list) is not None:
            remove = f"rm -f {_quoted(about.what)} && " if about.state == "damaged" else ""
            fix = f"{remove}{commit}" if plan.entries is not None else ""  # what mends the folder mends its list
            yield replace(about, fix=fix) if about.is_wrong else about
        for entry in plan.entries or ():
            if entry.cached is None:
                continue
            what, detail, remove = _shown(entry.cached), f"object of {entry.path.as_posix()}", ""
            state: State = "missing"
            if _is_there(entry.cached):
                if not (problem := self._wrong(entry.cached, entry)):
                    yield Finding(what, "right", detail)
                    continue
                state, detail, remove = "damaged", f"{detail}: {problem}", f"rm -f {_quoted(what)} && "
            is_right = _is_there(entry.path) and not self._wrong(entry.path, entry)
            yield Finding(what, state, detail, f"{remove}{commit}" if is_right else self._mend(plan.out, [entry]))

    def _wrong(self, path: Path, entry: _Entry) -> str:
        return mismatch(self._readings[path], {"md5": entry.md5})

    def _mend(self, out: Out, entries: list[_Entry]) -> str:
        """The commands that bring files of the workspace back.

        What is damaged is removed first: DVC puts no file over one that it does not know, and takes a damaged one for
        right if size and time are those it remembers.
        """
        there = [entry for entry in entries if _is_there(entry.path)]
        objects = [(entry, entry.cached) for entry in entries if entry.cached is not None]
        broken = [path for entry, path in objects if _is_there(path) and self._wrong(path, entry)]
        is_cached = len(objects) == len(entries) and not broken and all(_is_there(path) for _, path in objects)
        remove = [entry.path.as_posix() for entry in there] + [_shown(path) for path in broken]
        if not is_cached:
            return self._remade(out, remove)
        restore = f"{_removing(remove)}dvc checkout {_quoted(out.path)}"
        return restore if out.is_made or not there else f"dvc add {_quoted(out.path)} if you changed it, or {restore}"

    def _remade(self, out: Out, remove: list[str]) -> str:
        """What helps where neither the workspace nor the cache has it."""
        path, remove_first = _quoted(out.path), _removing(remove)
        fetch = f"{remove_first}dvc fetch {path} && dvc checkout {path}"
        if not out.is_made:  # data of the user's: nothing is removed that may be all there is
            meant = f"dvc add {path} if you changed it, or "
            return meant + (fetch if self._project.has_remote else "bring it back from where it came")
        repro = f"{remove_first}dvc repro {_quoted(out.stage)}"
        return f"{fetch}; or {repro}" if self._project.has_remote and out.cache is not None else repro


def list_digest(digests: dict[str, str]) -> str:
    """md5 of the list that DVC makes of a folder, from the md5 of every file by its path in the folder.

    Examples
    --------
    >>> list_digest({"foo": "acbd18db4cc2f85cedef654fccc4a4d8"})
    '84fe43362de8f1634c6fd2900440e9e2'
    """
    listed = [{"md5": digests[name], "relpath": name} for name in sorted(digests)]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def _plan(out: Out) -> _Plan:
    assert out.md5 is not None
    if not out.is_folder:
        return _Plan(out, [_Entry(Path(out.path), out.md5, out.object_path(out.md5))])
    path = out.object_path(f"{out.md5}.dir")
    if path is None:
        return _Plan(out, None)
    what, about = _shown(path), f"list of the files in {out.path}"
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return _Plan(out, None, Finding(what, "missing", about))
    except OSError as error:
        return _Plan(out, None, Finding(what, "damaged", f"{about}: {error.strerror}"))
    actual = hashlib.md5(text, usedforsecurity=False).hexdigest()
    if actual != out.md5:
        return _Plan(out, None, Finding(what, "damaged", f"{about}: expected md5 {out.md5}, got {actual}"))
    entries = _entries(out, {entry["relpath"]: entry["md5"] for entry in json.loads(text)})
    return _Plan(out, entries, Finding(what, "right", about))


def _entries(out: Out, digests: dict[str, str]) -> list[_Entry]:
    return [_Entry(Path(out.path, name), md5, out.object_path(md5)) for name, md5 in sorted(digests.items())]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # it cannot even be looked at, and reading it says why


def _shown(path: Path) -> str:
    here = Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


def _removing(paths: list[str]) -> str:
    return f"rm -rf {' '.join(map(_quoted, paths))} && " if paths else ""


def _quoted(path: Path | str) -> str:
    return shlex.quote(str(path))

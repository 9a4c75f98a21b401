"""What DVC has recorded of a project: its outs, their hashes, and where its cache keeps them."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from posterity.errors import UserError

LOCK = "dvc.lock"


@dataclass(frozen=True)
class Out:
    """A file or folder that DVC records.

    Attributes
    ----------
    path : str
        Relative to the current folder if it lies in it, with ``/``.
    stage : str
        Name of the stage that makes it, or path of its ``.dvc`` file.
    is_made : bool
        Whether a stage with a command makes it; the others are data that were added.
    md5 : str or None
        What is recorded: digest of the file, or of the list of files in the folder; None if nothing is.
    is_folder : bool
        What was recorded is a folder.
    cache : Path or None
        Folder of the cache that holds it; None if it lies in Git, not in the cache.
    present : tuple of str or None
        Paths in the folder of the files that are there now, without those of .dvcignore; None if there is no folder.
    reason : str
        Why it cannot be checked, or "".
    """

    path: str
    stage: str
    is_made: bool
    md5: str | None
    is_folder: bool = False
    cache: Path | None = None
    present: tuple[str, ...] | None = None
    reason: str = ""

    def object_path(self, md5: str) -> Path | None:
        """Where the cache keeps the file of that digest."""
        return None if self.cache is None else self.cache / md5[:2] / md5[2:]


@dataclass(frozen=True)
class Project:
    """The outs of a project, and whether there is a remote to fetch them from."""

    outs: list[Out]
    has_remote: bool


def changed_stages(stages: Sequence[str], *, with_upstream: bool = False) -> list[str]:
    """Which stages have outputs that are not those of the parameters, the data and the code as they are now.

    Parameters
    ----------
    stages : sequence of str
        The stages to look at.
    with_upstream : bool
        Also look at those whose outputs they read, directly or through others.

    Returns
    -------
    list of str
        Names of stages; ``["dvc.lock"]`` if nothing has run yet.

    Raises
    ------
    UserError
        If DVC cannot say it.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo(".") as repo:
            return [*repo.status(targets=list(stages), with_deps=with_upstream)] if Path(LOCK).is_file() else [LOCK]
    except NotDvcRepoError:
        raise UserError("There is no DVC project here. Run from the repository's root.") from None
    except (DvcException, sqlite3.DatabaseError) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"DVC cannot say whether the run is finished: {said}. `posterity check` may know why."
        ) from None


def read_project() -> Project:
    """Ask DVC for the outs of the project in the current folder. Nothing is hashed or changed.

    Raises
    ------
    UserError
        If this is no DVC project, nothing has been run yet, or DVC cannot read its files.
    """
    # Here, since DVC takes half a second to load.
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        repo = Repo(".")
    except NotDvcRepoError:
        raise UserError("There is no DVC project here. Run from the repository's root, or `dvc init` first.") from None
    except (DvcException, sqlite3.DatabaseError) as error:
        raise UserError(f"DVC cannot open this project: {error}. `posterity check` says what is damaged.") from None
    with repo:
        if not Path(LOCK).is_file():
            raise UserError(
                f"{LOCK} does not exist here: nothing has been recorded that could be verified. Run from the "
                "repository's root; `dvc repro` writes it."
            )
        try:
            outs = [_out(repo, out) for out in repo.index.outs]
        except DvcException as error:
            said = " ".join(str(error).split())
            raise UserError(
                f"DVC cannot read the records of this project: {said}. `posterity check` says what is damaged."
            ) from None
        return Project(sorted(outs, key=lambda out: out.path), bool(repo.config.get("remote")))


def _out(repo, out) -> Out:  # type: ignore[no-untyped-def]  # of DVC, which has no types
    value, reason, present = out.hash_info.value if out.hash_info else None, "", None
    if out.protocol != "local":
        reason = f"it lies at {out.protocol}://, and only local files are checked"
    elif out.stage.is_import and out.stage.is_partial_import:
        reason = "it is imported in part, and has no recorded hash of its own"
    elif value and out.hash_info.name != "md5":
        reason = f"it is recorded by {out.hash_info.name}, not md5; `dvc cache migrate --dvc-files` changes that"
    path = Path(out.fs_path)
    if out.protocol == "local" and path.is_dir():
        found = (Path(name) for name in repo.dvcignore.find(out.fs, out.fs_path))
        present = tuple(sorted(name.relative_to(path).as_posix() for name in found))
    here = Path.cwd()
    return Out(
        path=(path.relative_to(here) if path.is_relative_to(here) else path).as_posix(),
        stage=out.stage.addressing,
        is_made=bool(out.stage.cmd),
        md5=value.removesuffix(".dir") if value else None,
        is_folder=bool(value and value.endswith(".dir")),
        cache=Path(out.cache.path) if out.use_cache and not reason else None,
        present=present,
        reason=reason,
    )

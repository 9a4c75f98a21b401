"""Whether a run is better than the one before it in the history of Git."""

from dataclasses import dataclass
from pathlib import Path

from posterity import git
from posterity.errors import UserError
from posterity.verifying import comparison
from posterity.verifying.recorded import LOCK

METRICS = "metrics/evaluate.json"
COMMITS_SEARCHED = 50  # of those that changed the metrics
NAMES = {"evaluate.skill": "skill", "evaluate.map_macro": "macro mAP"}


@dataclass(frozen=True)
class SinceCommit:
    """One plain sentence, and ``better``, ``worse``, ``noise`` or ``unknown``."""

    verdict: str
    sentence: str


def since_commit() -> SinceCommit:
    """Compare the run in the current folder with the last commit whose figures are others.

    A commit with the very figures of this run is this run: so a page that is made again after the commit says the same
    as before it, and so does one that is made in a clone.
    """
    found = _last_other()
    if found is None or not Path(LOCK).is_file():
        return SinceCommit("unknown", "Git has no earlier run with other figures to compare with.")
    commit, title = found
    # By its title: the id would change when history is rewritten, and with it the bytes of a page that is the same.
    place = f"the commit “{title}”"
    try:
        compared = comparison.compare(comparison.workspace(), comparison.committed(commit))
    except UserError:  # of a version that wrote other files, or cut off by a kill before it was committed
        return SinceCommit("unknown", f"The figures of {place} cannot be read.")
    by_name = {figure.name: figure for figure in compared.figures}
    known = [(words, by_name[name]) for name, words in NAMES.items() if name in by_name]
    if not known:
        return SinceCommit("unknown", f"The figures of {place} are not known under the names of today.")
    if known[0][1].verdict == "not comparable":
        before = ", ".join(f"{words} {figure.there:.3f}" for words, figure in known)
        return SinceCommit("unknown", f"Not comparable with {place} ({before}). {compared.notes[0]}")
    changes = " and ".join(f"{words} {figure.there:.3f} → {figure.here:.3f}" for words, figure in known)
    how = "noise over seeds" if compared.source.startswith("Noise: metrics/noise.json") else "draw of validation rows"
    signs = {figure.verdict.partition(",")[0] for _, figure in known if "beyond noise" in figure.verdict}
    if not signs:
        return SinceCommit("noise", f"Within noise of {place}: {changes}, which the {how} explains.")
    verdict = signs.pop() if len(signs) == 1 else "unknown"
    word = {"better": "Better", "worse": "Worse"}.get(verdict, "Better and worse")
    return SinceCommit(verdict, f"{word} than {place}, by more than the {how} explains: {changes}.")


def _last_other() -> tuple[str, str] | None:
    """Id and title of the last commit whose metrics are not those of the workspace."""
    here = Path(METRICS).read_text(encoding="utf-8")
    listed = git.output("log", f"--max-count={COMMITS_SEARCHED}", "--format=%H %s", "--", f"./{METRICS}")
    for line in (listed or "").splitlines():
        commit, _, title = line.partition(" ")
        content = git.output("show", f"{commit}:./{METRICS}")
        if content is not None and content != here:
            return commit, title
    return None

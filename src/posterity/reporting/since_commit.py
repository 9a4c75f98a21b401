"""Whether a run is better than the one before it in the history of Git."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from posterity.verifying import comparison

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
    if found is None:
        return SinceCommit("unknown", "Git has no earlier run with other figures to compare with.")
    commit, title = found
    compared = comparison.compare(comparison.workspace(), comparison.committed(commit))
    # By its title: the id would change when history is rewritten, and with it the bytes of a page that is the same.
    place = f"the commit “{title}”"
    by_name = {figure.name: figure for figure in compared.figures}
    known = [(words, by_name[name]) for name, words in NAMES.items() if name in by_name]
    if not known:
        return SinceCommit("unknown", f"The figures of {place} are not known under the names of today.")
    if known[0][1].verdict == "not comparable":
        before = ", ".join(f"{words} {figure.there:.3f}" for words, figure in known)
        return SinceCommit("unknown", f"Not comparable with {place} ({before}). {compared.notes[0]}")
    changes = " and ".join(f"{words} {figure.there:.3f} → {figure.here:.3f}" for words, figure in known)
    verdicts = {figure.verdict for _, figure in known}
    how = "noise over seeds" if compared.source.startswith("Noise: metrics/noise.json") else "draw of validation rows"
    if any("beyond noise" in verdict for verdict in verdicts):
        sign = {verdict.partition(",")[0] for verdict in verdicts if "beyond noise" in verdict}
        word = "better" if sign == {"better"} else "worse" if sign == {"worse"} else "mixed"
        sentence = f"{word.capitalize()} than {place}, by more than the {how} explains: {changes}."
        return SinceCommit({"better": "better", "worse": "worse"}.get(word, "unknown"), sentence)
    return SinceCommit("noise", f"Within noise of {place}: {changes}, which the {how} explains.")


def _last_other() -> tuple[str, str] | None:
    """Id and title of the last commit whose metrics are not those of the workspace."""
    here = Path(METRICS).read_bytes()
    listed = _git("log", f"--max-count={COMMITS_SEARCHED}", "--format=%H %s", "--", f"./{METRICS}")
    for line in (listed or b"").decode("utf-8", "replace").splitlines():
        commit, _, title = line.partition(" ")
        content = _git("show", f"{commit}:./{METRICS}")
        if content is not None and content != here:
            return commit, title
    return None


def _git(*arguments: str) -> bytes | None:
    """What Git prints, None if it fails or is not there."""
    try:
        done = subprocess.run(["git", *arguments], check=False, capture_output=True)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None

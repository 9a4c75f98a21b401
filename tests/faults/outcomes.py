"""What came of the trials: one row per kind of fault and stage, and a line for each trial that went wrong."""

import collections
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Trial:
    """One fault, and what was wrong afterwards.

    Attributes
    ----------
    kind, stage : str
        The row of the table.
    what : str
        The fault in words that allow to repeat it.
    problems : list of str
        What is not as it should be; none = the trial went right.
    has_traceback : bool
        Whether a traceback was shown; the trial is wrong then.
    is_manual : bool
        Whether somebody had to do something beyond running the command again.
    """

    kind: str
    stage: str
    what: str
    problems: list[str] = field(default_factory=list)
    has_traceback: bool = False
    is_manual: bool = False

    @property
    def is_right(self) -> bool:
        return not (self.problems or self.has_traceback)


class Table:
    """Counts of trials, by kind of fault and stage."""

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self.trials = list(trials)

    def extend(self, trials: Iterable[Trial]) -> None:
        self.trials.extend(trials)

    @property
    def is_right(self) -> bool:
        """Whether something was tried, and all of it went right, some of it perhaps with help."""
        return bool(self.trials) and all(trial.is_right for trial in self.trials)

    @property
    def is_clean(self) -> bool:
        """Whether something was tried, and all of it went right without help."""
        return self.is_right and not any(trial.is_manual for trial in self.trials)

    def as_text(self) -> str:
        """The table as Markdown, with a last row of sums."""
        rows: dict[tuple[str, str], list[Trial]] = collections.defaultdict(list)
        for trial in self.trials:
            rows[trial.kind, trial.stage].append(trial)
        lines = [
            "| fault | stage | tried | right | wrong | tracebacks | manual actions |",
            "|---|---|---:|---:|---:|---:|---:|",
            *(_row(*key, trials) for key, trials in rows.items()),
            _row("all", "", self.trials),
        ]
        return "\n".join(lines)

    def wrong(self) -> str:
        """One line per trial that went wrong or needed help."""
        return "\n".join(
            f"{trial.kind}, {trial.stage}: {trial.what}: {'; '.join(trial.problems) or 'traceback'}"
            for trial in self.trials
            if not trial.is_right or trial.is_manual
        )


def _row(kind: str, stage: str, trials: list[Trial]) -> str:
    right = sum(trial.is_right for trial in trials)
    tracebacks, manual = sum(trial.has_traceback for trial in trials), sum(trial.is_manual for trial in trials)
    return f"| {kind} | {stage} | {len(trials)} | {right} | {len(trials) - right} | {tracebacks} | {manual} |"

"""DVCLive: files in a folder of the project, which `dvc` and editors show. It touches neither dvc.yaml nor Git."""

import os
from collections.abc import Mapping
from typing import Any

from posterity.tracking.tracker import FINAL, Run, Status

FOLDER = "dvclive"


class DvcliveTracker:
    """A run in the folder `FOLDER`, where it takes the place of the last one."""

    def __init__(self) -> None:
        self._live: Any = None

    def begin(self, run: Run, earlier: str) -> str:
        from dvclive.live import Live

        # An experiment is what `dvc exp run` saves, and metrics and plots stand in dvc.yaml already.
        self._live = Live(FOLDER, resume=bool(earlier), save_dvc_exp=False, dvcyaml=False)
        self._live.log_params({key: "null" if value is None else value for key, value in run.params.items()})
        return FOLDER

    def log(self, figures: Mapping[str, float], step: int) -> None:
        self._live.step = step
        for name, value in figures.items():
            self._live.log_metric(name, value, plot=not name.startswith(FINAL))
        self._live.sync()

    def end(self, status: Status) -> None:
        # Under `dvc exp run`, `Live.end` adds its folder to Git.
        if self._live is not None and "DVC_EXP_BASELINE_REV" not in os.environ:
            self._live.end()

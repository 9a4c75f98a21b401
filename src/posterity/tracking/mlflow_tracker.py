"""MLflow, by its small package `mlflow-skinny`: a server, or a folder of files without one."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posterity.tracking.tracker import Run, Status

EXPERIMENT = "posterity"
LOCAL = "mlruns"  # of no server: a folder of files in the project
MOST_PARAMS = 100  # in one request
LONGEST_PARAM = 6000  # characters; MLflow refuses longer ones
# A training is not to wait long for a server that is down, and nothing is to be sent to anybody else.
_UNLESS_SET = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


class MlflowTracker:
    """A run in MLflow.

    The server is that of MLFLOW_TRACKING_URI, the experiment that of MLFLOW_EXPERIMENT_NAME, as for any program that
    uses MLflow; without them, the folder `LOCAL` and `EXPERIMENT`.
    """

    def __init__(self) -> None:
        self._client: Any = None
        self._run_id = ""

    def begin(self, run: Run, earlier: str) -> str:
        for name, value in _UNLESS_SET.items():
            os.environ.setdefault(name, value)
        address = os.environ.get("MLFLOW_TRACKING_URI", "")
        if not address:
            address = str(Path(LOCAL).resolve())
            # Since 3.13 MLflow refuses files unless this is set; a database needs packages that mlflow-skinny has not.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        self._client = MlflowClient(tracking_uri=address)
        if earlier:
            try:
                self._client.update_run(earlier, status="RUNNING")
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                print("The run in MLflow that this training began with is gone: it goes on in a new one.")
            else:
                self._run_id = earlier
                return earlier
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        made = self._client.create_run(number, run_name=run.name, tags=dict(run.tags))
        self._run_id = made.info.run_id
        params = [Param(key, _text(value)) for key, value in run.params.items()]
        for start in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(self._run_id, params=params[start : start + MOST_PARAMS])
        return self._run_id

    def log(self, figures: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in figures.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def end(self, status: Status) -> None:
        self._client.set_terminated(self._run_id, status=_STATUS[status])


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:LONGEST_PARAM] or '""'  # an empty text would be no value

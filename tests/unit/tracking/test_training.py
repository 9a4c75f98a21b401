"""What trackers are told, and that none of them can stop a training; test_trackers.py has the real ones."""

import importlib.util

import pytest

from posterity.errors import UserError
from posterity.tracking import training
from posterity.tracking.tracker import one_line
from posterity.tracking.training import MOST_FAILURES, Tracking

PARAMS = {"model.name": "compact_cnn", "seed": 42}


class Recording:
    """Notes its calls; raises in those whose numbers, from 0, are in ``broken``."""

    def __init__(self, broken=()):
        self.broken = broken
        self.tried = 0
        self.calls = []

    def _call(self, *call):
        self.tried += 1
        if self.tried - 1 in self.broken:
            raise ConnectionError("no answer from https://me:secret@host/api\n  twice")
        self.calls.append(call)

    def begin(self, run, earlier):
        self._call("begin", run.name, earlier)
        return "id-1"

    def log(self, figures, step):
        self._call("log", dict(figures), step)

    def end(self, status):
        self._call("end", status)


@pytest.fixture
def tracking(monkeypatch):
    """Make a Tracking with such a tracker; return both."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)

    def make(broken=()):
        made = Recording(broken)
        monkeypatch.setitem(training.TRACKERS, "mlflow", lambda: made)
        return Tracking(["mlflow"], PARAMS), made

    return make


def run(tracked, folder=None, epochs=2):
    with tracked.training(folder):
        for epoch in range(1, epochs + 1):
            tracked.log_epoch("", epoch, {"val_bce": epoch / 10})
    tracked.finish({"kept_epoch": epochs, "val_bce": 0.2})


def test_a_training_is_told_from_begin_to_end(tracking):
    tracked, found = tracking()
    run(tracked)
    assert found.calls == [
        ("begin", "compact_cnn, seed 42", ""),
        ("log", {"val_bce": 0.1}, 1),
        ("log", {"val_bce": 0.2}, 2),
        ("log", {"final/kept_epoch": 2, "final/val_bce": 0.2}, 2),
        ("end", "finished"),
    ]


def test_networks_have_their_names_before_the_figures(tracking):
    tracked, found = tracking()
    with tracked.training(None):
        tracked.log_epoch("network-2", 1, {"bce": 0.5})
    assert found.calls[1:] == [("log", {"network-2/bce": 0.5}, 1)]


def test_the_name_of_an_experiment_of_dvc_is_that_of_the_run(tracking, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "tidy-owl")
    tracked, found = tracking()
    run(tracked)
    assert found.calls[0] == ("begin", "tidy-owl", "")


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "stopped"), (RuntimeError, "failed")])
def test_a_run_that_ends_early_says_so_and_goes_on_later(tracking, tmp_path, error, status):
    tracked, found = tracking()
    with pytest.raises(error), tracked.training(tmp_path):
        raise error
    assert found.calls[-1] == ("end", status)
    again, found = tracking()
    run(again, tmp_path)
    assert found.calls[0] == ("begin", "compact_cnn, seed 42", "id-1")


def test_a_damaged_note_of_the_run_begins_a_new_one(tracking, tmp_path):
    (tmp_path / training.KEPT).write_text("[1")
    tracked, found = tracking()
    run(tracked, tmp_path)
    assert found.calls[0][2] == ""


def test_what_is_missed_is_told_again_after_one_warning(tracking, capsys):
    tracked, found = tracking(broken=(0, 1))
    run(tracked, epochs=4)
    assert [call[0] for call in found.calls] == ["begin", *["log"] * 5, "end"]
    assert [call[2] for call in found.calls[1:6]] == [1, 2, 3, 4, 4]
    warning = capsys.readouterr().err
    assert warning == (
        "WARNING: mlflow cannot be written to, and the training goes on without it: no answer from https://host/api "
        "twice\n"
    )


def test_a_tracker_that_is_down_is_not_asked_for_ever(tracking, capsys):
    tracked, found = tracking(broken=range(1000))
    run(tracked, epochs=50)
    assert found.tried == MOST_FAILURES + 1  # the last one at the end
    assert found.calls == []
    first, second = capsys.readouterr().err.splitlines()
    assert "the training goes on without it" in first
    assert second == "WARNING: mlflow has not got all of this training: 53 of its messages are lost."


def test_only_the_first_process_logs(tracking):
    tracked, found = tracking()
    with tracked.training(None, is_first=False):
        tracked.log_epoch("", 1, {"bce": 0.5})
    tracked.finish({"bce": 0.5})
    assert found.calls == []


def test_a_missing_package_is_known_before_anything_else(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"train.log_to: .* Got dvclive, which is not. Run `pip install .*\[track\]'`"):
        Tracking(["dvclive"], PARAMS)
    Tracking([], PARAMS)


def test_an_address_is_shown_without_its_password():
    assert one_line(ValueError("at http://a:b@c/\n d")) == "at http://c/ d"
    assert one_line(ValueError()) == "ValueError"

import pandas as pd
import pytest

from posterity.evaluation.training_history import kept_epochs, kept_figures

ONE = {"phase": ["head", "head", "tune", "tune"], "epoch": [1, 2, 3, 4], "loss": [0.4, 0.3, 0.2, 0.1]}


def history(*losses):
    """Of one network for each list of validation losses."""
    tables = [pd.DataFrame(ONE).assign(network=number, val_bce=values) for number, values in enumerate(losses, start=1)]
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize(("keep_epoch", "expected"), [("last", [4, 4]), ("best", [3, 4])])
def test_the_kept_epoch_is_one_of_the_last_phase_of_every_network(keep_epoch, expected):
    found = kept_epochs(history([0.1, 0.2, 0.4, 0.5], [0.1, 0.2, 0.4, 0.3]), keep_epoch)
    assert found["epoch"].tolist() == expected
    assert found["network"].tolist() == [1, 2]


def test_figures_are_means_over_the_networks():
    table = history([0.1, 0.2, 0.4, 0.5], [0.1, 0.2, 0.4, 0.3])
    assert kept_figures(table, "best") == pytest.approx({"kept_epoch": 3.5, "loss": 0.15, "val_bce": 0.35})
    last = kept_figures(table, "last")
    assert last == pytest.approx({"kept_epoch": 4, "loss": 0.1, "val_bce": 0.4})
    assert isinstance(last["kept_epoch"], int)

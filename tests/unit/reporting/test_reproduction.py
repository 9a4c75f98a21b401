from pathlib import Path

from posterity.config import yaml12
from posterity.config.load import load_params
from posterity.reporting import reproduction

ROOT = Path(__file__).parents[3]


def test_the_delivered_values_are_those_of_params_yaml():
    delivered = yaml12.read(str(reproduction.DEFAULTS))
    params = yaml12.read(str(ROOT / "params.yaml"))
    assert delivered == {name: params[name] for name in delivered}
    assert {"seed", "data", "image", "split", "model", "train", "decide", "evaluate"} == set(delivered)


def test_only_what_differs_is_listed():
    params = load_params(ROOT / "params.yaml")
    train = params.train.model_copy(update={"epochs": 77})
    found = reproduction.changed_params(seed=7, train=train, model=params.model)
    assert found == [
        {"key": "seed", "value": "7", "default": str(params.seed)},
        {"key": "train.epochs", "value": "77", "default": str(params.train.epochs)},
    ]


def test_without_a_dvc_lock_there_are_no_digests(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reproduction.digests() == []

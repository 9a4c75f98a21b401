from pathlib import Path

from posterity.config.load import load_params
from posterity.reporting.reproduction import reproduction

ROOT = Path(__file__).parents[3]
LOCK = """\
schema: '2.0'
stages:
  split:
    cmd: python src/split.py
    outs:
    - path: data/split.csv
      md5: 0123abcd
"""


def test_what_differs_what_was_read_and_what_is_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = load_params(ROOT / "params.yaml")
    train = params.train.model_copy(update={"epochs": 77})
    found = reproduction({"train": train, "model": params.model}, uses_openvino=False)
    assert found.changed == {"train.epochs": (params.train.epochs, 77)}
    assert found.digests == {}
    assert {"python", "tensorflow", "posterity"} <= found.versions.keys()
    assert "openvino" not in found.versions  # installed or not

    (tmp_path / "dvc.lock").write_text(LOCK)
    assert reproduction({}, uses_openvino=False).digests == {"data/split.csv": "md5 0123abcd"}

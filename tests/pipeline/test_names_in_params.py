"""Names of predict.images that a shell or a path would obey, in the real `dvc repro`: refused, and nothing happens."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from posterity.config.load import load_params
from posterity.errors import UserError

ROOT = Path(__file__).parents[2]
NAMES = ["$(touch pwned)", "; touch pwned", "`touch pwned`", "a\ntouch pwned", "../../mine", "../x", "x/y", "a b", ""]


def with_name(path, name):
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["predict"]["images"] = {name: "new"}
    yaml.dump(params, path)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_no_plain_word_is_refused(tmp_path, name):
    with_name(tmp_path / "params.yaml", name)
    with pytest.raises(UserError, match="predict.images must have names made of letters, digits, _ and -") as raised:
        load_params(tmp_path / "params.yaml")
    assert repr(name) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", [NAMES[0], NAMES[3], "../../mine"])
def test_dvc_runs_no_command_in_it_and_deletes_nothing(tmp_path, name):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    for path, content in {".dvc/config": "[core]\nno_scm = True\n", "models/model.keras": "", "new/a.txt": ""}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    (tmp_path / "mine.csv").write_text("precious")  # ../../mine.csv, seen from data/predictions
    with_name(tmp_path / "params.yaml", name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--single-item", f"predict@{name}"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "predict.images must have names made of letters" in run.stdout + run.stderr
    assert (tmp_path / "mine.csv").read_text() == "precious"
    assert not list(tmp_path.rglob("pwned"))

"""`posterity noise` with stages that take no time: what is run, kept and written, and that no output is touched."""

import json
import shutil
from pathlib import Path

import pytest

from posterity import cli, noise_command
from posterity.verifying import noise
from small_project import SmallProject

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries of DVC

# The loss is a tenth of the seed; every call leaves a line in calls.txt.
TRAIN = """\
import json, sys
from pathlib import Path
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
lines = Path(options.get("--params", "params.yaml")).read_text().splitlines()
seed = int(next(line for line in lines if line.startswith("seed:"))[5:])
with open("calls.txt", "a") as calls:
    calls.write(f"train {seed}\\n")
if Path("broken").exists() and seed == int(Path("broken").read_text()):
    sys.exit("error: broken")
for name, default in {"--trained": "models/trained.keras", "--scores": "data/scores.npy"}.items():
    path = Path(options.get(name, default)); path.parent.mkdir(exist_ok=True); path.write_text(str(seed))
path = Path(options.get("--metrics", "metrics/train.json")); path.parent.mkdir(exist_ok=True)
path.write_text(json.dumps({"val_bce": seed / 10}))
for name in ("--summary", "--history", "--environment", "--out-of-fold"):
    if name in options:
        Path(options[name]).write_text("")
"""
EVALUATE = """\
import json, sys
from pathlib import Path
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
seed = int(Path(options.get("--trained", "models/trained.keras")).read_text())
with open("calls.txt", "a") as calls:
    calls.write(f"evaluate {seed}\\n")
path = Path(options.get("--metrics", "metrics/evaluate.json")); path.parent.mkdir(exist_ok=True)
path.write_text(json.dumps({"skill": seed / 100, "rows_scored": 5}))
"""
DVC_YAML = """\
stages:
  train:
    cmd: python src/train.py
    params: [seed, train]
    deps: [src/train.py]
    outs: [models/trained.keras, data/scores.npy]
    metrics: [metrics/train.json: {cache: false}]
  evaluate:
    cmd: python src/evaluate.py
    params: [seed, decide]
    deps: [src/evaluate.py, models/trained.keras]
    metrics: [metrics/evaluate.json: {cache: false}]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    from dvc.repo import Repo

    folder = tmp_path_factory.mktemp("noise") / "project"
    with pytest.MonkeyPatch.context() as patch:
        project = SmallProject(folder, num_images=2)
        patch.chdir(folder)
        project.params({"seed": 3})
        Path("src").mkdir()
        Path("src/train.py").write_text(TRAIN)
        Path("src/evaluate.py").write_text(EVALUATE)
        Path("dvc.yaml").write_text(DVC_YAML)
        with Repo.init(str(folder), no_scm=True) as repo:
            repo.reproduce()
    return folder


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    Path("calls.txt").unlink()
    return tmp_path / "project"


def posterity(capsys, *arguments):
    """Run the command; its exit code and what it said."""
    try:
        cli.main(list(arguments))
        code = 0
    except SystemExit as done:
        code = done.code
    said = capsys.readouterr()
    return code, said.out, said.err


def calls():
    return Path("calls.txt").read_text().split("\n")[:-1] if Path("calls.txt").exists() else []


def others():
    """All files but what this command may write."""
    kept = ("data/.resume", "metrics/noise.json", "calls.txt", ".dvc/tmp")
    found = (path for path in Path().rglob("*") if path.is_file())
    return {path.as_posix(): path.read_bytes() for path in found if not path.as_posix().startswith(kept)}


def test_it_trains_with_the_seeds_that_follow_and_touches_no_output(project, capsys):
    before = others()
    code, out, err = posterity(capsys, "noise", "--seeds", "3")
    assert code == 0, err
    assert calls() == ["train 4", "evaluate 4", "train 5", "evaluate 5"]  # seed 3 is the finished run
    assert others() == before
    found = json.loads(Path(noise.NOISE).read_text())
    assert found["seeds"] == [3, 4, 5]
    # 0.3, 0.4 and 0.5: the squares of the deviations are 0.01, 0 and 0.01, and half of their sum is 0.01.
    assert found["figures"]["train.val_bce"] == {"mean": 0.4, "std": 0.1, "min": 0.3, "max": 0.5}
    assert found["figures"]["evaluate.skill"] == {"mean": 0.04, "std": 0.01, "min": 0.03, "max": 0.05}
    assert found["figures"]["evaluate.rows_scored"]["std"] == 0
    assert "seed 4 (2 of 3): trained and evaluated" in out
    assert "1 figures do not move" in out
    assert not [path for path in Path("data/.resume").rglob("seed-*") if path.is_dir()]


def test_nothing_that_dvc_watches_has_changed(project, capsys):
    from dvc.repo import Repo

    posterity(capsys, "noise", "--seeds", "2")
    with Repo(".") as repo:
        assert repo.status() == {}


def test_more_seeds_go_on_where_fewer_stopped(project, capsys):
    posterity(capsys, "noise", "--seeds", "2")
    Path("calls.txt").unlink()
    code, out, _ = posterity(capsys, "noise", "--seeds", "3")
    assert code == 0
    assert calls() == ["train 5", "evaluate 5"]
    assert "seed 4 (2 of 3): known from an earlier run of this command." in out


def test_a_seed_that_fails_loses_none_of_the_others(project, capsys):
    Path("broken").write_text("5")
    code, _, err = posterity(capsys, "noise", "--seeds", "3")
    assert code == 2
    assert "src/train.py with seed 5 ended with 1" in err
    assert not Path(noise.NOISE).exists()
    Path("broken").unlink()
    Path("calls.txt").unlink()
    assert posterity(capsys, "noise", "--seeds", "3")[0] == 0
    assert calls() == ["train 5", "evaluate 5"]


def test_what_was_kept_and_has_been_changed_is_measured_again(project, capsys):
    posterity(capsys, "noise", "--seeds", "2")
    (kept,) = Path("data/.resume/noise").glob("*/seed-4.json")
    kept.write_text(kept.read_text().replace("0.4", "0.9"))
    Path("calls.txt").unlink()
    posterity(capsys, "noise", "--seeds", "2")
    assert calls() == ["train 4", "evaluate 4"]


def test_another_recipe_is_measured_anew(project, capsys):
    from dvc.repo import Repo

    posterity(capsys, "noise", "--seeds", "2")
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("  epochs: 1\n", "  epochs: 2\n", 1))
    code, _, err = posterity(capsys, "noise", "--seeds", "2")
    assert (code, "Run `dvc repro` first" in err) == (2, True)
    with Repo(".") as repo:
        repo.reproduce()
    Path("calls.txt").unlink()
    assert posterity(capsys, "noise", "--seeds", "2")[0] == 0
    assert calls() == ["train 4", "evaluate 4"]


def test_what_a_killed_run_left_is_removed(project, capsys):
    left = Path("data/.resume/noise/0123456789abcdef/seed-9")
    left.mkdir(parents=True)
    (left / "trained.keras").write_text("half a model")
    posterity(capsys, "noise", "--seeds", "2")
    assert not left.exists()


def test_two_at_once_are_refused(project, capsys):
    with noise_command._alone():
        code, _, err = posterity(capsys, "noise", "--seeds", "2")
    assert (code, "Another `posterity noise` runs in this folder" in err) == (2, True)


@pytest.mark.parametrize("number", ["1", "0", "-3", "two", "2.0"])
def test_a_spread_needs_two_seeds(project, capsys, number):
    code, _, err = posterity(capsys, "noise", "--seeds", number)
    assert code == 2
    assert f"expected a whole number of at least 2, got {number}" in err

"""The real `dvc repro`, on a small sample, in a repository of its own: what runs, what does not, what is reproduced."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COPIED = ["src", ".dvc/config", ".dvc/plots", ".dvcignore", ".gitignore", "data/dvc.yaml", "dvc.yaml", "params.yaml"]
# Shipped value -> small value. Values that the user has changed are set all the same.
SMALL = {
    "height": "64",
    "width": "48",
    "rows_per_shard": "16",
    "epochs": "1",
    "batch_size": "16",
    "name": "compact_cnn",
}

pytestmark = pytest.mark.slow


class Project:
    """A Git and DVC repository in a temporary folder."""

    def __init__(self, folder):
        self.folder = folder
        # The interpreter that runs the tests is the `python` of the stages; the package of the tests' own tree is not
        # on the path of the copies.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.environment = {**environment, "PATH": path, "GIT_CONFIG_GLOBAL": str(folder.parent / "gitconfig")}

    def run(self, *command, code=0):
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        output = done.stdout + done.stderr
        assert done.returncode == code, output
        return output

    def stages_run(self, *command):
        return re.findall(r"Running stage '(?:data/dvc.yaml:)?(.*?)'", self.run(*command))

    def commit(self, message):
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)

    def set_params(self, **values):
        file = self.folder / "params.yaml"
        text = file.read_text()
        for name, value in values.items():
            text, count = re.subn(rf"^(\s*{name}:).*$", rf"\1 {value}", text, flags=re.MULTILINE)
            assert count >= 1, name
        file.write_text(text)

    def metrics(self, name="evaluate"):
        return json.loads((self.folder / f"metrics/{name}.json").read_text())


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with a sample of 60 posters of 64 x 48, reproduced once and committed."""
    base = tmp_path_factory.mktemp("pipeline")
    (base / "gitconfig").write_text("[user]\nname = Test\nemail = test@example.org\n")
    project = Project(base / "project")
    project.folder.mkdir()
    project.run("git", "init", "-q", "-b", "main")
    project.run("dvc", "init", "-q")
    for name in COPIED:
        source, target = ROOT / name, project.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(
                source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        elif source.exists():
            shutil.copy(source, target)
    sample = project.folder / "data/dvc.yaml"
    sample.write_text(sample.read_text().replace("--output data/sample", "--output data/sample --count 60"))
    project.set_params(**SMALL, images="data/sample/images", labels="data/sample/labels.csv")
    project.set_params(validation_fraction="0.2", bootstrap_samples="50", min_positives="0")
    # Both sections have a key `images`; the second one is a mapping.
    text = (project.folder / "params.yaml").read_text()
    head, tail = text.split("\npredict:\n")
    (project.folder / "params.yaml").write_text(
        f"{head}\npredict:\n{tail.replace('images: data/sample/images', 'images: {}')}"
    )
    ran = project.stages_run("dvc", "repro")
    assert ran == ["sample", "validate", "preprocess", "split", "train", "evaluate"]
    project.commit("reproduced")
    return project


@pytest.fixture(autouse=True)
def restored(project):
    """Every test starts from the committed state."""
    yield
    project.run("git", "reset", "-q", "--hard")
    project.run("git", "clean", "-fdq")
    project.run("dvc", "checkout", "-q")


def test_a_second_repro_runs_nothing(project):
    assert project.stages_run("dvc", "repro") == []
    assert "up to date" in project.run("dvc", "status")
    assert project.run("git", "status", "--porcelain") == ""


def test_a_repro_from_nothing_gives_the_same_bytes(project):
    # Without the caches, so that every stage runs; Git then sees dvc.lock, which holds all digests, and the metrics.
    for name in ("data/sample", "data/tensors", "models", ".dvc/cache"):
        shutil.rmtree(project.folder / name)
    ran = project.stages_run("dvc", "repro", "--force", "--no-run-cache")
    assert ran == ["sample", "validate", "preprocess", "split", "train", "evaluate"]
    assert project.run("git", "status", "--porcelain") == ""


def test_metrics_hold_every_promised_figure(project):
    assert set(project.metrics()) >= {
        "bce", "bce_prior", "skill", "skill_low", "skill_high", "map_macro", "map_macro_prior", "map_macro_low",
        "map_macro_high", "map_micro", "roc_auc_macro", "f1_micro", "f1_macro", "hamming_loss", "subset_accuracy",
        "lrap", "coverage_error", "hit_at_1", "precision_at_3", "labels_scored",
    }  # fmt: skip
    assert "accuracy" not in project.metrics()
    assert project.metrics("train")["kept_epoch"] == 1


def test_training_parameters_rerun_training_and_what_follows(project):
    assert project.stages_run("dvc", "exp", "run", "-S", "train.epochs=2") == ["train", "evaluate"]
    assert project.metrics("train")["kept_epoch"] == 2


def test_a_small_learning_rate_survives_yaml(project):
    # DVC writes it as 1e-05, which YAML 1.1 takes for text.
    assert project.stages_run("dvc", "exp", "run", "-S", "train.learning_rate=1e-5") == ["train", "evaluate"]
    assert "learning_rate: 1e-05" in (project.folder / "params.yaml").read_text()


def test_image_parameters_rerun_preprocess_and_what_follows(project):
    ran = project.stages_run("dvc", "exp", "run", "-S", "image.height=80")
    assert ran == ["validate", "preprocess", "split", "train", "evaluate"][1:]


def test_evaluation_parameters_rerun_evaluate_alone(project):
    assert project.stages_run("dvc", "exp", "run", "-S", "evaluate.threshold=0.3") == ["evaluate"]


def test_decoding_threads_rerun_nothing(project):
    project.set_params(workers="1")
    assert project.stages_run("dvc", "repro") == []


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("posterity/bootstrap.py", ["evaluate"]),
        ("posterity/splits.py", ["split", "evaluate"]),
        ("posterity/nn/models.py", ["train"]),
        ("posterity/tables.py", ["validate", "preprocess"]),
        ("posterity/predictions.py", []),
    ],
)
def test_an_edit_of_a_module_reruns_the_stages_that_import_it(project, module, stages):
    # The outputs stay the same, so what follows a stage that ran is not run again for it.
    with (project.folder / "src" / module).open("a") as file:
        file.write("\n# edited\n")
    assert project.stages_run("dvc", "repro") == stages


def test_queued_experiments_run_their_own_code_and_params(project):
    for epochs in (2, 3):
        project.run("dvc", "exp", "run", "--queue", "-S", f"train.epochs={epochs}")
    project.run("dvc", "exp", "run", "--run-all")
    shown = json.loads(project.run("dvc", "exp", "show", "--json", "--no-pager"))
    (commit,) = [item for item in shown if item["rev"] != "workspace"]
    found = [experiment["revs"][0]["data"] for experiment in commit["experiments"] or []]
    kept = {item["metrics"]["metrics/train.json"]["data"]["kept_epoch"] for item in found}
    assert {2, 3} <= kept


def test_own_data_need_no_sample(project):
    own = project.folder.parent / "own"
    if not own.exists():
        shutil.copytree(project.folder / "data/sample/images", own / "pictures")
        shutil.copy(project.folder / "data/sample/labels.csv", own / "table.csv")
    shutil.rmtree(project.folder / "data/sample")
    text = (project.folder / "params.yaml").read_text()
    text = text.replace("images: data/sample/images", "images: ../own/pictures")
    (project.folder / "params.yaml").write_text(
        text.replace("labels: data/sample/labels.csv", "labels: ../own/table.csv")
    )
    ran = project.stages_run("dvc", "repro")
    assert "sample" not in ran
    assert ran[:2] == ["validate", "preprocess"]
    assert not (project.folder / "data/sample").exists()


def test_new_images_get_a_stage_of_their_own(project):
    command = ["dvc", "exp", "run", "-S", "+predict.images.new=data/sample/images/sample-0001.jpg"]
    assert project.stages_run(*command) == ["predict@new"]
    lines = (project.folder / "data/predictions/new.csv").read_text().splitlines()
    assert lines[0].startswith("path,error,")
    assert lines[1].startswith("data/sample/images/sample-0001.jpg,,0.")


def test_plots_and_metrics_of_two_revisions_compare(project):
    project.run("dvc", "exp", "run", "-S", "train.epochs=2")
    diff = json.loads(project.run("dvc", "metrics", "diff", "--json"))
    assert diff["metrics/train.json"]["kept_epoch"] == {"old": 1, "new": 2, "diff": 1}
    assert "bce" in diff["metrics/evaluate.json"]
    assert "index.html" in project.run("dvc", "plots", "diff", "HEAD")
    assert "vega" in (project.folder / "dvc_plots/index.html").read_text()

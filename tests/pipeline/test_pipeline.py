"""The real `dvc repro`, on a small sample, in a repository of its own: what runs, what does not, what is reproduced."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from posterity import model_card

ROOT = Path(__file__).parents[2]
COPIED = [
    "src", ".dvc/config", ".dvc/plots", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml", "data/.gitignore",
    "data/backbones/README.md", "data/backbones/.gitignore",
]  # fmt: skip
# Small values for params.yaml. What the user has changed is set back all the same.
SMALL = {
    "data.images": "data/sample/images",
    "data.labels": "data/sample/labels.csv",
    "data.min_positives": 0,
    "image.height": 64,
    "image.width": 48,
    "image.rows_per_shard": 16,
    "split.validation_fraction": 0.2,
    "model.name": "compact_cnn",
    "model.backbone": ["tiny.keras"],
    "model.backbone_folder": "data/backbones",
    "model.mode": "frozen",
    "train.epochs": 1,
    "train.batch_size": 16,
    "decide.thresholds": "f1",
    "evaluate.bootstrap_samples": 50,
    "predict.images": {},
}
STAGES = ["validate", "preprocess", "split", "features", "train", "evaluate", "final_test"]

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
        return re.findall(r"Running stage '(.*?)'", self.run(*command))

    def commit(self, message):
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)

    def set_params(self, values):
        """Set dotted keys of params.yaml."""
        yaml, file = YAML(), self.folder / "params.yaml"
        content = yaml.load(file)
        for dotted, value in values.items():
            *sections, key = dotted.split(".")
            node = content
            for section in sections:
                node = node[section]
            assert key in node, dotted
            node[key] = value
        yaml.dump(content, file)

    def metrics(self, name="evaluate"):
        return json.loads((self.folder / f"metrics/{name}.json").read_text())


def remove_sample_images(project):
    """What a clone has: the description of the sample without its images."""
    for image in (project.folder / "data/sample/images").glob("*.jpg"):
        image.unlink()


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
    # The last stage, on which none depends, would take seconds in each of forty runs: tests/stages/test_report.py has
    # it, and .ci/run the run of all stages.
    yaml, file = YAML(), project.folder / "dvc.yaml"
    content = yaml.load(file)
    del content["stages"]["report"]
    yaml.dump(content, file)
    project.run(sys.executable, "src/sample.py", "--count", "60")
    remove_sample_images(project)
    project.set_params(SMALL)
    assert project.stages_run("dvc", "repro") == STAGES
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
    # What Python leaves in a folder that a stage depends on is no change of the folder.
    left = project.folder / "src/posterity/cache/__pycache__"
    left.mkdir(exist_ok=True)
    (left / "stray.pyc").write_bytes(b"stray")
    assert project.stages_run("dvc", "repro") == []
    assert "up to date" in project.run("dvc", "status")
    assert project.run("git", "status", "--porcelain") == ""


def test_a_repro_from_nothing_gives_the_same_bytes(project):
    # Without the caches, so that every stage runs; Git then sees dvc.lock, which holds all digests, and the metrics.
    remove_sample_images(project)
    for name in ("data/.reuse", "data/rows", "data/tensors", "data/features", "models", ".dvc/cache"):
        shutil.rmtree(project.folder / name)
    assert project.stages_run("dvc", "repro", "--force", "--no-run-cache") == STAGES
    assert project.run("git", "status", "--porcelain") == ""


def flip_a_bit_unseen(path):
    """As a disk does it: size, time and inode stay."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("damaged", "output", "maker", "reader"),
    [
        ("data/manifest.csv", "data/manifest.csv", "validate", "preprocess"),
        ("data/rows/index.csv", "data/rows", "preprocess", "split"),
        ("data/split.csv", "data/split.csv", "split", "evaluate"),
        ("data/tensors/meta.json", "data/tensors/meta.json", "preprocess", "train"),
        ("data/scores.npy", "data/scores.npy", "train", "evaluate"),
        ("data/out_of_fold.npy", "data/out_of_fold.npy", "train", "evaluate"),
        ("models/trained.keras", "models/trained.keras", "train", "evaluate"),
    ],
)
def test_a_flipped_bit_that_dvc_does_not_see_is_seen_by_the_reader_whose_advice_works(
    project, damaged, output, maker, reader
):
    file = project.folder / damaged
    right = file.read_bytes()
    flip_a_bit_unseen(file)
    assert "up to date" in project.run("dvc", "status")
    said = project.run("dvc", "repro", "--force", "--single-item", reader, code=255)
    assert f"error: {output}: expected " in said
    assert f"Delete it and run `dvc checkout {output}`, or `dvc repro --force --single-item {maker}` if that" in said
    project.run("dvc", "checkout", output)
    assert file.read_bytes() != right  # why it has to be deleted
    remove(project.folder / output)
    project.run("dvc", "checkout", output)
    assert file.read_bytes() == right
    project.run("dvc", "checkout")  # what the failed stage had deleted


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_a_file_that_neither_disk_nor_cache_has_is_made_again(project):
    flip_a_bit_unseen(project.folder / "data/split.csv")
    right = re.search(r"path: data/split\.csv\n +hash: md5\n +md5: (\w+)", (project.folder / "dvc.lock").read_text())
    assert right is not None
    (project.folder / ".dvc/cache/files/md5" / right[1][:2] / right[1][2:]).unlink()
    (project.folder / "data/split.csv").unlink()
    assert project.stages_run("dvc", "repro", "--force", "--single-item", "split") == ["split"]
    assert project.stages_run("dvc", "repro", "--force", "--single-item", "evaluate") == ["evaluate"]
    assert project.run("git", "status", "--porcelain") == ""


def test_an_edit_on_purpose_is_committed(project):
    split = project.folder / "data/split.csv"
    split.write_text(split.read_text().replace(",train\n", ",leave_out\n", 1))
    said = project.run("dvc", "repro", "--single-item", "evaluate", code=255)
    assert "If you changed it on purpose, run `dvc commit --force split` instead." in said
    project.run("dvc", "commit", "--force", "split")
    assert project.stages_run("dvc", "repro", "--single-item", "evaluate") == ["evaluate"]


def test_a_model_is_served_while_evaluate_runs(project):
    """A program that reads the model over and over finds one, although DVC deletes it before the stage runs."""
    model, served = project.folder / "models/model.keras", project.folder / "models/served.keras"
    assert served.read_bytes() == model.read_bytes()
    assert project.run("git", "status", "--porcelain", "--ignored", "models/served.keras").startswith("!! ")
    command = ["dvc", "repro", "--force", "--single-item", "evaluate"]
    run = subprocess.Popen(command, cwd=project.folder, env=project.environment, stdout=-3, stderr=-3)
    reads = missing = 0
    while run.poll() is None:
        missing += not model.exists()
        with model_card.opened(model, or_served=True) as found:
            assert found.card.decisions is not None
        reads += 1
    assert run.returncode == 0
    assert reads > missing > 0


def test_a_finished_run_is_verified_and_a_flipped_byte_in_it_is_not(project):
    command = (sys.executable, "-c", "import sys; sys.path.insert(0, 'src'); from posterity.cli import main; main()")
    verified = json.loads(project.run(*command, "verify", "--json"))
    assert verified["right"]
    recomputed = {row["what"] for row in verified["rows"] if row["what"].endswith(", recomputed")}
    assert len(recomputed) == 15

    scores = project.folder / "data/scores.npy"
    content, times = scores.read_bytes(), (scores.stat().st_atime_ns, scores.stat().st_mtime_ns)
    scores.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(scores, ns=times)
    assert "up to date" in project.run("dvc", "status")  # DVC looks at size and time
    assert "rm -rf data/scores.npy && dvc checkout data/scores.npy" in project.run(*command, "verify", code=1)
    scores.unlink()


def test_metrics_hold_every_promised_figure(project):
    assert set(project.metrics()) >= {
        "bce", "bce_prior", "skill", "skill_low", "skill_high", "map_macro", "map_macro_prior", "map_macro_low",
        "map_macro_high", "map_micro", "roc_auc_macro", "f1_micro", "f1_macro", "hamming_loss", "subset_accuracy",
        "lrap", "coverage_error", "hit_at_1", "precision_at_3", "labels_scored", "f1_micro_tuned", "f1_macro_tuned",
        "subset_accuracy_tuned", "f1_macro_tuned_prior", "bce_calibrated", "ece", "ece_calibrated",
        "recall_per_image_tuned", "labels_per_image_tuned",
    }  # fmt: skip
    assert "accuracy" not in project.metrics()
    assert project.metrics("train")["kept_epoch"] == 1


def test_training_parameters_rerun_training_and_what_follows(project):
    assert project.stages_run("dvc", "exp", "run", "-S", "train.epochs=2") == ["train", "evaluate", "final_test"]
    assert project.metrics("train")["kept_epoch"] == 2


@pytest.mark.proof
def test_a_small_learning_rate_survives_yaml(project):
    # DVC writes it as 1e-05, which YAML 1.1 takes for text.
    assert project.stages_run("dvc", "exp", "run", "-S", "train.learning_rate=1e-5") == [
        "train",
        "evaluate",
        "final_test",
    ]
    assert "learning_rate: 1e-05" in (project.folder / "params.yaml").read_text()


def test_image_parameters_rerun_preprocess_and_what_follows(project):
    ran = project.stages_run("dvc", "exp", "run", "-S", "image.height=80")
    assert ran == [
        "preprocess",
        "features",
        "train",
        "evaluate",
        "final_test",
    ]  # the rows stay the same, and so the split


@pytest.mark.parametrize("change", ["evaluate.threshold=0.3", "decide.thresholds=precision"])
def test_evaluation_parameters_rerun_no_training(project, change):
    assert project.stages_run("dvc", "exp", "run", "-S", change) == ["evaluate", "final_test"]


def test_decoding_threads_rerun_nothing(project):
    project.set_params({"machine.workers.threads": 1})
    assert project.stages_run("dvc", "repro") == []


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("posterity/evaluation/bootstrap.py", ["evaluate", "final_test"]),
        ("posterity/evaluation/calibration.py", ["evaluate", "final_test"]),
        ("posterity/splitting/assign.py", ["split"]),
        # test_dvc_yaml.py compares the dependencies of all stages with what they import.
        pytest.param(
            "posterity/splitting/groups.py",
            ["preprocess", "split", "train", "evaluate", "final_test"],
            marks=pytest.mark.proof,
        ),
        ("posterity/nn/networks/scratch.py", ["train"]),
        pytest.param("posterity/nn/networks/backbones.py", ["features", "train"], marks=pytest.mark.proof),
        pytest.param("posterity/nn/training/fit.py", ["train"], marks=pytest.mark.proof),
        pytest.param("posterity/dataset/csv_table.py", ["validate", "preprocess"], marks=pytest.mark.proof),
        ("posterity/predictions.py", []),
    ],
)
def test_an_edit_of_a_module_reruns_the_stages_that_import_it(project, module, stages):
    # The outputs stay the same, so what follows a stage that ran is not run again for it.
    with (project.folder / "src" / module).open("a") as file:
        file.write("\n# edited\n")
    assert project.stages_run("dvc", "repro") == stages


@pytest.mark.proof
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
    project.set_params({"data.images": "../own/pictures", "data.labels": "../own/table.csv"})
    ran = project.stages_run("dvc", "repro")
    assert ran[0] == "validate"


def test_a_second_clone_of_a_project_with_own_data_hears_nothing_of_the_sample(project):
    base = project.folder.parent
    first, second = Project(base / "first"), Project(base / "second")
    project.run("git", "clone", "-q", str(project.folder), str(first.folder))
    shutil.copytree(project.folder / "data/sample/images", first.folder / "my/pictures")
    shutil.copy(project.folder / "data/sample/labels.csv", first.folder / "my/table.csv")
    first.set_params({"data.images": "my/pictures", "data.labels": "my/table.csv"})
    first.run("dvc", "add", "-q", "my")
    first.run("dvc", "repro")
    first.run("dvc", "remote", "add", "-q", "-d", "store", str(base / "store"))
    first.run("dvc", "push", "-q")
    first.commit("own data")

    first.run("git", "clone", "-q", str(first.folder), str(second.folder))
    for command in (
        "dvc pull", "dvc checkout", "dvc status", "dvc repro", "dvc exp run -q -S evaluate.threshold=0.3 -n x1",
        "git checkout -q .", "dvc exp apply x1", "dvc gc -w -f",
    ):  # fmt: skip
        assert "data/sample" not in second.run(*command.split()), command
    second.run("git", "checkout", "-q", ".")
    second.run("dvc", "checkout", "-q")
    assert "up to date" in second.run("dvc", "status")


def test_the_name_of_an_entry_reaches_no_shell(project):
    project.set_params({"predict.images": {"x;touch PWNED": "data/sample/images"}})
    message = project.run("dvc", "repro", code=255)
    assert "predict.images must have names made of letters, digits, _ and -. Got 'x;touch PWNED'" in message
    assert not list(project.folder.rglob("PWNED*"))


def test_new_images_get_a_stage_of_their_own(project):
    command = ["dvc", "exp", "run", "-S", "+predict.images.new=data/sample/images/sample-0001.jpg"]
    assert project.stages_run(*command) == ["predict@new"]
    with (project.folder / "data/predictions/new.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row.pop("path"), row.pop("error")) == ("data/sample/images/sample-0001.jpg", "")
    decided = json.loads(row.pop("labels"))
    assert set(decided) <= set(row)
    assert all(0 <= float(probability) <= 1 for probability in row.values())


def save_backbone(path, filters):
    """Save a network of one convolution, with random weights, as a backbone for images of any size."""
    import keras

    pixels = keras.Input((None, None, 3))
    seen = keras.layers.Conv2D(filters, 5, strides=4)(keras.layers.Rescaling(1 / 255)(pixels))
    keras.Model(pixels, keras.layers.MaxPooling2D()(seen)).save(path)


@pytest.fixture
def with_backbone(project):
    """The project with a tiny pretrained network, reproduced; its cache keeps the features for the next test."""
    folder = project.folder / "data/backbones"
    save_backbone(folder / "tiny.keras", filters=4)
    save_backbone(folder / "other.keras", filters=6)
    project.set_params({"model.name": "backbone", "model.head.hidden_units": 0})
    assert project.stages_run("dvc", "repro") == ["features", "train", "evaluate", "final_test"]
    yield project
    for path in folder.glob("*.keras"):  # Git ignores them, so it does not clean them away
        path.unlink()


def feature_meta(project):
    return json.loads((project.folder / "data/features/meta.json").read_text())


def test_features_are_computed_again_only_when_they_would_change(with_backbone):
    project = with_backbone
    meta = feature_meta(project)
    assert {key: meta[key] for key in ("backbones", "length", "num_rows")} == {
        "backbones": ["tiny.keras"],
        "length": 4,
        "num_rows": 60,
    }
    features = (project.folder / "data/features/features.npy").read_bytes()

    # The head and its training leave them alone.
    command = ["dvc", "exp", "run", "-S", "train.learning_rate=0.01", "-S", "model.head.hidden_units=8"]
    assert project.stages_run(*command) == ["train", "evaluate", "final_test"]
    assert (project.folder / "data/features/features.npy").read_bytes() == features

    # Another network, or the same name with another content, does not.
    command = ["dvc", "exp", "run", "-S", "model.backbone=other.keras"]
    assert project.stages_run(*command) == ["features", "train", "evaluate", "final_test"]
    assert feature_meta(project)["length"] == 6
    save_backbone(project.folder / "data/backbones/other.keras", filters=5)
    assert project.stages_run("dvc", "repro") == ["features", "train", "evaluate", "final_test"]
    assert feature_meta(project)["length"] == 5


@pytest.mark.proof
def test_going_back_to_a_network_computes_nothing(with_backbone):
    project = with_backbone
    features, model = (project.folder / name for name in ("data/features/features.npy", "models/model.keras"))
    before = features.read_bytes(), model.read_bytes()
    project.set_params({"model.name": "compact_cnn"})
    # The params and the folder of backbones have changed, but it is the network of the first run to the byte: what
    # evaluate made of it is in the cache.
    assert project.stages_run("dvc", "repro") == ["features", "train"]
    assert not features.exists()
    for name in ("backbone", "compact_cnn", "backbone"):
        project.set_params({"model.name": name})
        assert project.stages_run("dvc", "repro") == []
        assert features.exists() == (name == "backbone")
    assert (features.read_bytes(), model.read_bytes()) == before


@pytest.mark.proof
def test_a_queued_experiment_on_a_head_uses_the_features_that_are_there(with_backbone):
    project = with_backbone
    # An experiment in a copy of the project has what Git and DVC know, so a network has to be known to one of them.
    project.run("dvc", "add", "-q", "data/backbones/tiny.keras", "data/backbones/other.keras")
    project.run("dvc", "repro", "-q")
    project.commit("networks")
    try:
        project.run("dvc", "exp", "run", "--queue", "-S", "train.learning_rate=0.01")
        # The copy draws the sample, which is in neither Git nor DVC, and finds what is known of it.
        assert project.stages_run("dvc", "exp", "run", "--run-all") == ["validate", "train", "evaluate", "final_test"]
    finally:
        project.run("git", "reset", "-q", "--hard", "HEAD~1")


def test_plots_and_metrics_of_two_revisions_compare(project):
    project.run("dvc", "exp", "run", "-S", "train.epochs=2")
    diff = json.loads(project.run("dvc", "metrics", "diff", "--json"))
    assert diff["metrics/train.json"]["kept_epoch"] == {"old": 1, "new": 2, "diff": 1}
    assert "bce" in diff["metrics/evaluate.json"]
    assert "index.html" in project.run("dvc", "plots", "diff", "HEAD")
    assert "vega" in (project.folder / "dvc_plots/index.html").read_text()

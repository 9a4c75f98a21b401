"""`posterity search` on features of 60 rows that were made by hand: what is tried, kept, written, and left alone."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from posterity import cli, files, recipes, search_command
from posterity.cache import features
from posterity.cache import rows as cached_rows
from posterity.config import yaml12
from posterity.errors import UserError
from posterity.nn.training.fit import DivergedError
from posterity.nn.training.search import HeadTrials
from posterity.splitting import split_file
from posterity.verifying import recorded
from small_project import SmallProject

pytest.importorskip("optuna")
NUM_ROWS, NUM_TRAIN = 60, 40
SETTINGS = {
    "model.name": "backbone",
    "model.backbone": ["tiny.keras"],
    "model.head": {"hidden_units": 0, "dropout": 0.0, "both_views": False},
    "train.epochs": 2,
    "train.folds": 2,
    "train.learning_rate": 0.001,
    "evaluate.bootstrap_samples": 50,
}
SPACE = """\
model: {head: {hidden_units: [0, 4]}}
train: {learning_rate: {low: 0.001, high: 0.1, log: true}}
"""


def write_rows(targets):
    index = pd.DataFrame({"line": np.arange(NUM_ROWS) + 2, "id": [f"i{k}" for k in range(NUM_ROWS)]})
    index["sha256"] = index["id"].map(lambda id_: id_.ljust(64, "0"))
    shutil.rmtree("data/rows", ignore_errors=True)
    Path("data/rows").mkdir(parents=True)
    cached_rows.write(Path("data/rows"), index, targets, ["a", "b"])
    sides = np.array(["train"] * NUM_TRAIN + ["validation"] * (NUM_ROWS - NUM_TRAIN), dtype=object)
    split_file.write("data/split.csv", index, sides)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Features that say the first label; all that DVC has to say is that they are up to date."""
    small = SmallProject(tmp_path, num_images=2)
    monkeypatch.chdir(tmp_path)
    small.params(SETTINGS)
    Path("space.yaml").write_text(SPACE)
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, (NUM_ROWS, 2)).astype(np.uint8)
    write_rows(targets)
    folder = Path("data/features")
    folder.mkdir()
    with features.FeatureWriter(folder, NUM_ROWS, 3) as writer:
        vectors = generator.normal(size=(NUM_ROWS, features.VIEWS, 3))
        vectors[..., 0] += 2 * targets[:, :1]
        writer.append(vectors)
    features.write_meta(folder, ["tiny.keras"], num_rows=NUM_ROWS, length=3)
    monkeypatch.setattr(search_command, "changed_stages", lambda *_, **__: [])
    monkeypatch.setattr("posterity.nn.device.configure", lambda *_, seed: None)  # it is for a process of its own
    small.targets = targets
    return small


def search(capsys, *arguments, trials=2):
    """Run the command; its exit code and what it said."""
    try:
        cli.main(["search", "--space", "space.yaml", "--trials", str(trials), *arguments])
        code = 0
    except SystemExit as done:
        code = done.code
    said = capsys.readouterr()
    return code, said.out, said.err


def written():
    return Path("metrics/search.csv").read_bytes(), Path("data/search_best.yaml").read_bytes()


def test_a_killed_search_goes_on_and_ends_with_the_same_files(project, capsys, monkeypatch):
    code, out, err = search(capsys)
    assert code == 0, err
    assert "Epoch" not in out
    assert "val_" not in out
    table = files.read_csv("metrics/search.csv", bce="float64")
    assert table["trial"].tolist() == ["0", "1", "2"]
    assert table["train.learning_rate"][0] == "0.001"
    assert table["outcome"].tolist() == ["trained"] * 3
    assert len(set(table["bce"])) == 3
    expected, trained = written(), HeadTrials.out_of_fold

    # The same from the start, killed in the first trial after params.yaml; then it goes on.
    shutil.rmtree("data/.resume")
    calls = []

    def killed(self, head, recipe, *, repeat=0):
        calls.append(repeat)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return trained(self, head, recipe, repeat=repeat)

    monkeypatch.setattr(HeadTrials, "out_of_fold", killed)
    arguments = cli.parse_args(["search", "--space", "space.yaml", "--trials", "2"])
    with pytest.raises(KeyboardInterrupt) as stopped:
        arguments.run(arguments)
    assert "the same command goes on" in stopped.value.__notes__[0]
    capsys.readouterr()
    assert len(files.read_csv("metrics/search.csv")) == 1
    code, out, _ = search(capsys)
    assert code == 0
    assert out.count("(known)") == 1
    assert calls[2:4] == [0, 0]
    assert set(calls[4:]) == {1}
    assert written() == expected


def test_validation_rows_have_no_part(project, capsys, monkeypatch):
    monkeypatch.setattr(search_command, "_conclude", lambda *_: None)  # it would only train more of the same
    assert search(capsys, trials=1)[0] == 0
    before = Path("metrics/search.csv").read_bytes()
    project.targets[NUM_TRAIN:] = 1 - project.targets[NUM_TRAIN:]
    project.targets[-1] = 2  # unknown
    write_rows(project.targets)
    code, out, _ = search(capsys, trials=1)
    assert code == 0
    assert "(known)" not in out  # nothing of the first search was taken: all was trained again
    assert Path("metrics/search.csv").read_bytes() == before

    project.targets[:NUM_TRAIN] = 1 - project.targets[:NUM_TRAIN]
    write_rows(project.targets)
    assert search(capsys, trials=1)[0] == 0
    assert Path("metrics/search.csv").read_bytes() != before


def test_more_trials_go_on_from_fewer(project, capsys, monkeypatch):
    calls = []

    def answer(self, head, recipe, *, repeat=0):
        calls.append(repeat)
        return np.full((NUM_TRAIN, 2), 0.5 - recipe.learning_rate, np.float32)

    monkeypatch.setattr(HeadTrials, "out_of_fold", answer)
    assert search(capsys, trials=3)[0] == 0
    first = Path("metrics/search.csv").read_bytes()
    del calls[:]
    assert search(capsys, trials=5)[0] == 0
    assert calls.count(0) == 2
    assert Path("metrics/search.csv").read_bytes().startswith(first)
    del calls[:]
    assert search(capsys, trials=5)[0] == 0
    assert calls == []  # what was trained on new folds is known, too
    assert search(capsys, "--seed", "1", trials=5)[0] == 0
    assert calls.count(0) == 5


def test_a_damaged_file_of_a_trial_is_trained_again(project, capsys, monkeypatch):
    calls = []

    def answer(self, head, recipe, *, repeat=0):
        calls.append(repeat)
        return np.full((NUM_TRAIN, 2), 0.5, np.float32)

    monkeypatch.setattr(HeadTrials, "out_of_fold", answer)
    assert search(capsys, trials=1)[0] == 0
    expected = written()
    kept = sorted(Path("data/.resume/search").glob("*/*.npz"))
    assert len(kept) == len(calls)
    kept[0].write_bytes(kept[0].read_bytes()[:-40])
    del calls[:]
    assert search(capsys, trials=1)[0] == 0
    assert len(calls) == 1
    assert written() == expected


def test_the_figures_are_those_of_the_rows_that_a_head_did_not_see(project, capsys, monkeypatch):
    """Heads that answer a half to everything have a loss of log 2, and the best is recognised by its loss."""
    answers = {0.001: 0.5, 0.25: 0.75, 0.5: 0.9}

    def answer(self, head, recipe, *, repeat=0):
        scores = np.full((NUM_TRAIN, 2), 0.5, np.float32)
        truth = project.targets[:NUM_TRAIN] == 1
        share = answers[recipe.learning_rate] if repeat == 0 else 0.6 if recipe.learning_rate > 0.001 else 0.5
        return np.where(truth, share, 1 - share).astype(np.float32) if share != 0.5 else scores

    monkeypatch.setattr(HeadTrials, "out_of_fold", answer)
    Path("space.yaml").write_text("train: {learning_rate: [0.25, 0.5]}\n")
    code, out, err = search(capsys, trials=8)
    assert code == 0, err
    table = files.read_csv("metrics/search.csv", bce="float64").set_index("train.learning_rate")["bce"]
    assert set(table.index) == {"0.001", "0.25", "0.5"}
    for rate, share in answers.items():
        np.testing.assert_allclose(table[str(rate)], -np.log(share), atol=1e-6)
    # On new folds: log 2 = 0.6931 and -log 0.6 = 0.5108, for all images alike.
    assert "params.yaml: bce 0.6931, map_macro" in out
    assert "on new folds bce 0.5108, map_macro 1.0000." in out
    assert "bce is lower by 0.1823 (95 % interval over the images: 0.1823 to 0.1823)." in out
    assert "chosen for it among 9" in out

    text, changes = recipes.merge(Path("params.yaml"), Path("data/search_best.yaml"))
    assert [(change.key, change.new) for change in changes] == [("train.learning_rate", 0.5)]
    assert "folds" not in yaml12.read("data/search_best.yaml")["train"]
    assert "learning_rate: 0.5" in text


def test_no_gain_is_called_chance(project, capsys, monkeypatch):
    generator = np.random.default_rng(1)
    flat = generator.uniform(0.4, 0.6, (2, NUM_TRAIN, 2)).astype(np.float32)

    def answer(self, head, recipe, *, repeat=0):
        if repeat == 0:
            return np.full((NUM_TRAIN, 2), 0.5 if recipe.learning_rate > 0.001 else 0.99, np.float32)
        return flat[int(recipe.learning_rate > 0.001)]

    monkeypatch.setattr(HeadTrials, "out_of_fold", answer)
    code, out, _ = search(capsys, trials=1)
    assert code == 0
    assert "no more than chance" in out


def test_a_loss_that_is_not_finite_is_a_line_of_the_table(project, capsys, monkeypatch):
    def diverge(self, head, recipe, *, repeat=0):
        if recipe.learning_rate > 0.001:
            raise DivergedError("params.yaml: the loss is not finite")
        return np.full((NUM_TRAIN, 2), 0.5, np.float32)

    monkeypatch.setattr(HeadTrials, "out_of_fold", diverge)
    code, out, err = search(capsys, trials=2)
    assert code == 0, err
    table = files.read_csv("metrics/search.csv")
    assert table["outcome"].tolist() == ["trained", "the loss was not finite", "the loss was not finite"]
    assert "No trial was better than params.yaml as it is." in out
    assert "posterity use" not in out


def test_values_that_do_not_go_together_are_a_line_of_the_table(project, capsys, monkeypatch):
    Path("space.yaml").write_text("train: {epochs: [1, 3], warmup_epochs: [0, 0.5, 0.75, 1.5]}\n")
    flat = np.full((NUM_TRAIN, 2), 0.5, np.float32)
    monkeypatch.setattr(HeadTrials, "out_of_fold", lambda *_, **__: flat)
    code, _, err = search(capsys, trials=20)
    assert code == 0, err
    table = files.read_csv("metrics/search.csv")
    is_wrong = (table["train.epochs"] == "1") & (table["train.warmup_epochs"] == "1.5")
    assert is_wrong.any()
    said = table["outcome"].str.contains("train.warmup_epochs must be less than train.epochs, 1. Got 1.5.")
    assert said.tolist() == is_wrong.tolist()


@pytest.mark.parametrize(
    ("option", "name"), [("--table", "data/split.csv"), ("--best", "params.yaml"), ("--best", "metrics/search.csv")]
)
def test_a_file_that_is_not_of_a_search_is_left_alone(project, capsys, monkeypatch, option, name):
    flat = np.full((NUM_TRAIN, 2), 0.5, np.float32)
    monkeypatch.setattr(HeadTrials, "out_of_fold", lambda *_, **__: flat)
    assert search(capsys)[0] == 0
    before = Path(name).read_bytes()
    code, _, err = search(capsys, option, name)
    assert code == 2
    assert f"{option}: expected a new file, or that of an earlier search. Got another file, {name}." in err
    assert Path(name).read_bytes() == before
    assert search(capsys)[0] == 0  # over its own files


def test_of_one_group_no_search_can_be_made(project, capsys):
    project.params({"train.folds": 1})
    index = cached_rows.read("data/rows").index.assign(group="the same")
    targets = cached_rows.read("data/rows").targets
    shutil.rmtree("data/rows")
    Path("data/rows").mkdir()
    cached_rows.write(Path("data/rows"), index, targets, ["a", "b"])
    code, _, err = search(capsys)
    assert code == 2
    assert "count as one. Got 40 in one group. Train on more." in err


def test_a_timeout_begins_no_other_trial(project, capsys, monkeypatch):
    flat = np.full((NUM_TRAIN, 2), 0.5, np.float32)
    monkeypatch.setattr(HeadTrials, "out_of_fold", lambda *_, **__: flat)
    seconds = iter(range(0, 6000, 20))  # looked at once before all trials, and three times in each
    monkeypatch.setattr(search_command, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    code, out, _ = search(capsys, "--timeout", "3", trials=50)
    assert code == 0
    assert "3 minutes are over: 2 of 50 trials." in out


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model.name": "compact_cnn"}, "expected model.name: backbone and model.mode: frozen. Got compact_cnn"),
        ({"model.mode": "finetune"}, "Got backbone and finetune"),
        ({"train.keep_epoch": "best"}, "train.keep_epoch must be last for a search"),
        ({"train.early_stopping": 3}, "train.early_stopping must be null for a search"),
        ({"machine.processes.count": 2}, "machine.processes.count must be 1 for a search. Got 2."),
        ({"machine.device.strategy": "mirrored"}, "machine.device.strategy must be single for a search"),
        ({"model.backbone": ["other.keras"]}, "data/features: expected features by ['other.keras'] of 60 images."),
        ({"train.folds": 50}, "train.folds must be an integer from 2 to the number of different training images"),
    ],
)
def test_what_cannot_be_searched_is_refused(project, capsys, changed, message):
    project.params(changed)
    code, _, err = search(capsys)
    assert code == 2
    assert message in err


def test_the_default_space_needs_the_optimizer_it_is_for(project, capsys):
    project.params({"train.optimizer": "adam", "train.weight_decay": 0.0})
    with pytest.raises(SystemExit):
        cli.main(["search"])
    assert "the default space of a search is for train.optimizer: adamw. Got adam." in capsys.readouterr().err


def test_one_fold_becomes_five_and_it_says_so(project, capsys, monkeypatch):
    project.params({"train.folds": 1})
    seen = []

    def answer(self, head, recipe, *, repeat=0):
        seen.append((*self.fold_of_row.shape, self.fold_of_row.max() + 1))
        return np.full((NUM_TRAIN, 2), 0.5, np.float32)

    monkeypatch.setattr(HeadTrials, "out_of_fold", answer)
    code, out, _ = search(capsys, trials=1)
    assert code == 0
    assert set(seen) == {(2, NUM_TRAIN, 5)}
    assert "train.folds is 1: the search cuts the 40 training images into 5 folds." in out


def test_old_features_are_refused(project, capsys, monkeypatch):
    monkeypatch.setattr(search_command, "changed_stages", lambda *_, **__: ["preprocess", "features"])
    code, _, err = search(capsys)
    assert code == 2
    assert "Got changes of preprocess, features. Run `dvc repro features split`." in err


def test_without_a_dvc_project_the_message_says_so(project):
    Path("dvc.lock").write_text("")
    with pytest.raises(UserError, match="There is no DVC project here"):
        recorded.changed_stages(["features"])


def test_two_at_once_are_refused(project, capsys):
    with search_command.resume_folder.exclusive(search_command.CACHE, "posterity search"):
        code, _, err = search(capsys)
    assert (code, "Another `posterity search` runs in this folder" in err) == (2, True)


@pytest.mark.parametrize("option", ["--trials=0", "--timeout=x", "--seed=-1"])
def test_wrong_numbers_are_refused(project, capsys, option):
    with pytest.raises(SystemExit):
        cli.main(["search", option])
    assert "expected a whole number" in capsys.readouterr().err

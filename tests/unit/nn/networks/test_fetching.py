"""Fetching presets from a folder that stands for Kaggle; nothing here uses a network connection."""

import hashlib
import json

import pytest

import tiny_presets
from posterity import cli
from posterity.errors import UserError
from posterity.nn.networks import backbones, fetching, hub

pytest.importorskip("keras_hub")

NAME = "vit_base_patch16_224_imagenet"
HANDLE = (hub.known_presets() or {})[NAME]


class Published:
    """A folder of files that are published, instead of `fetching.Kaggle`."""

    def __init__(self, folder, licence="Apache 2.0", fails=None):
        self.folder, self.said, self.fails, self.asked = folder, licence, fails or {}, []

    def get(self, handle, file):
        assert handle == HANDLE
        self.asked.append(file)
        if file in self.fails:
            raise self.fails[file]
        if not (self.folder / file).is_file():
            raise FileNotFoundError(f"`{file}` doesn't exist in preset directory `{handle}`.")
        return self.folder / file

    def licence(self, handle):
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    tiny_presets.save(folder, "vit")
    return folder


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_preset_is_fetched_once_with_a_note_of_what_it_is(published, tmp_path):
    place = Published(published)
    source = fetching.fetch(NAME, tmp_path, place)
    files = ["config.json", "image_converter.json", "model.weights.h5"]
    assert sorted(path.name for path in (tmp_path / NAME).iterdir()) == ["SOURCE.json", *files]
    assert source == json.loads((tmp_path / NAME / "SOURCE.json").read_text())
    assert source == {
        "preset": NAME,
        "handle": HANDLE,
        "page": HANDLE.replace("kaggle://", "https://www.kaggle.com/models/"),
        "licence": "Apache 2.0",
        "files": {name: sha256(published / name) for name in files},
    }
    first = (tmp_path / NAME / "SOURCE.json").read_bytes()
    place.asked.clear()
    assert fetching.fetch(NAME, tmp_path, place) == source
    assert place.asked == []
    fetching.fetch(NAME, tmp_path / "again", Published(published))
    assert (tmp_path / "again" / NAME / "SOURCE.json").read_bytes() == first
    model = backbones.load(NAME, folder=tmp_path, weights=None, height=16, width=12)
    assert model.output_shape == (None, 16)


def test_weights_of_several_files(published, tmp_path):
    parts = tmp_path / "parts"
    parts.mkdir()
    for name in ("config.json", "image_converter.json"):
        (parts / name).write_bytes((published / name).read_bytes())
    tiny_presets.build("vit").save_weights(parts / "model.weights.json", max_shard_size=1)
    shards = ["model_00000.weights.h5", "model_00001.weights.h5"]
    (parts / shards[1]).write_bytes((parts / shards[0]).read_bytes())  # Keras makes a second one of a gigabyte only
    index = json.loads((parts / "model.weights.json").read_text())
    index["weight_map"] |= {"/more": [shards[1]]}
    (parts / "model.weights.json").write_text(json.dumps(index))
    source = fetching.fetch(NAME, tmp_path, Published(parts))
    assert set(source["files"]) == {"config.json", "image_converter.json", "model.weights.json", *shards}
    index["weight_map"] = dict.fromkeys(index["weight_map"], "../../outside.weights.h5")
    (parts / "model.weights.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"of the preset names '../../outside.weights.h5'"):
        fetching.fetch(NAME, tmp_path / "other", Published(parts))
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize("file", ["config.json", "image_converter.json", "model.weights.h5"])
@pytest.mark.parametrize("error", [ConnectionError("no route to host"), ValueError("403 Client Error")])
def test_nothing_is_left_of_a_download_that_fails(published, tmp_path, file, error):
    with pytest.raises(UserError) as caught:
        fetching.fetch(NAME, tmp_path, Published(published, fails={file: error}))
    assert str(caught.value).startswith(
        f"{tmp_path / NAME}: expected to download {file} from {HANDLE}. It failed: {error}. Nothing was written. Check"
    )
    assert list(tmp_path.iterdir()) == []


def test_without_the_client_of_kaggle(tmp_path, monkeypatch):
    from keras_hub.src.utils import preset_utils

    monkeypatch.setattr(preset_utils, "kagglehub", None)
    with pytest.raises(UserError) as caught:
        fetching.fetch(NAME, tmp_path)
    assert str(caught.value).startswith(
        "posterity fetch-backbone cannot download: `from_preset()` requires the `kagglehub`"
    )
    assert str(caught.value).endswith('Run `pip install -c requirements.lock -e ".[hub]"`.')
    assert list(tmp_path.iterdir()) == []


def test_a_bug_keeps_its_traceback_and_leaves_nothing(published, tmp_path):
    with pytest.raises(ZeroDivisionError):
        fetching.fetch(NAME, tmp_path, Published(published, fails={"config.json": ZeroDivisionError()}))
    assert list(tmp_path.iterdir()) == []


def test_a_preset_without_a_file_that_it_needs(published, tmp_path):
    missing = {"image_converter.json": FileNotFoundError("`image_converter.json` doesn't exist")}
    with pytest.raises(UserError, match="expected to download image_converter.json from"):
        fetching.fetch(NAME, tmp_path, Published(published, fails=missing))
    missing = {"model.weights.h5": FileNotFoundError("none")}
    with pytest.raises(UserError, match="expected to download model.weights.json from"):
        fetching.fetch(NAME, tmp_path, Published(published, fails=missing))


@pytest.mark.parametrize("licence", [None, ConnectionError("gone")])
def test_a_licence_that_is_not_said(published, tmp_path, licence):
    assert fetching.fetch(NAME, tmp_path, Published(published, licence))["licence"] is None


def test_a_preset_that_was_changed(published, tmp_path):
    fetching.fetch(NAME, tmp_path, Published(published))
    with (tmp_path / NAME / "config.json").open("a") as stream:
        stream.write(" ")
    (tmp_path / NAME / "mine.txt").write_text("x")
    with pytest.raises(UserError, match=r"Got others: config.json, mine.txt\. Remove the folder and fetch it again"):
        fetching.fetch(NAME, tmp_path, Published(published))
    (tmp_path / NAME / "SOURCE.json").write_text("[]")
    with pytest.raises(UserError, match="expected the files that SOURCE.json names"):
        fetching.fetch(NAME, tmp_path, Published(published))


def test_a_folder_of_ones_own_is_not_replaced(published, tmp_path):
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="Got a folder that also holds mine.txt"):
        fetching.fetch(NAME, tmp_path, Published(published))


def test_unknown_names(tmp_path):
    with pytest.raises(UserError) as caught:
        fetching.fetch("dinov2_smal", tmp_path)
    assert "Got 'dinov2_smal'. Did you mean dinov2_small" in str(caught.value)
    with pytest.raises(UserError) as caught:
        fetching.fetch("x" * 20, tmp_path)
    assert "Take one of these.\nPresets: " in str(caught.value)
    assert "bert_base_en" not in str(caught.value)
    with pytest.raises(
        UserError, match=r"ResNet50 is a network of keras\.applications.*Set model\.backbone: \[ResNet50\]"
    ):
        fetching.fetch("ResNet50", tmp_path)


def test_the_command(published, tmp_path, monkeypatch, capsys):
    from small_project import SmallProject

    project = SmallProject(tmp_path / "project", num_images=2)
    project.params({"model.backbone_folder": "backbones"})
    monkeypatch.chdir(project.root)
    monkeypatch.setattr(fetching, "Kaggle", lambda: Published(published))
    cli.main(["fetch-backbone", NAME])
    assert (project.root / "backbones" / NAME / "SOURCE.json").is_file()
    lines = capsys.readouterr().out.splitlines()
    page = HANDLE.replace("kaggle://", "https://www.kaggle.com/models/")
    assert lines == [
        f"backbones/{NAME}: the preset {NAME} from {HANDLE}.",
        f"Licence: Apache 2.0. Read the terms before you use it: {page}",
        f"Next: set model.backbone: [{NAME}] and model.name: backbone in params.yaml.",
    ]
    with pytest.raises(SystemExit) as stopped:
        cli.main(["fetch-backbone", "nothing"])
    assert stopped.value.code == 2
    assert "error: posterity fetch-backbone: expected the name of a preset of KerasHub" in capsys.readouterr().err


def test_what_kaggle_is_asked_for(monkeypatch, tmp_path):
    from keras_hub.src.utils import preset_utils

    asked = []
    monkeypatch.setattr(preset_utils, "get_file", lambda *arguments: asked.append(arguments) or str(tmp_path / "x"))
    assert fetching.Kaggle().get(HANDLE, "config.json") == tmp_path / "x"
    assert asked == [(HANDLE, "config.json")]

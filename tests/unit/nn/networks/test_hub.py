"""Presets of KerasHub, made here with random weights; docs/models.md says how to install it."""

import json
import shutil
import sys

import keras
import numpy as np
import pytest

import tiny_presets
from posterity.errors import UserError
from posterity.nn import keras_file
from posterity.nn.inference import engines
from posterity.nn.networks import backbones, extractor, hub

keras_hub = pytest.importorskip("keras_hub")

FAMILIES = ["dinov2", "dinov3", "vit", "deit", "swin", "clip", "siglip", "resnet"]
# Tokens before those of the patches, and whether the first one stands for the image; None for what gives no tokens.
LAYOUT = {
    "dinov2": (3, True), "dinov3": (3, True), "vit": (1, True), "deit": (2, True), "swin": (0, False),
    "clip": (1, True), "siglip": None, "resnet": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("backbones")
    for family in [*FAMILIES, "bert"]:
        (root / family).mkdir()
        tiny_presets.save(root / family, family)
    return root


def size_of(family):
    return (16, 12) if family in ("vit", "deit") else (16, 16)


def load(entry, folder, size=None):
    height, width = size or size_of(entry)
    return backbones.load(entry, folder=folder, weights="imagenet", height=height, width=width)


def images(size, n=3):
    return np.random.default_rng(0).integers(0, 256, (n, *size, 3), dtype=np.uint8)


def run(model, batch):
    return np.asarray(model(batch, training=False))


def scaled(batch):
    return (batch * np.array(tiny_presets.SCALE) + np.array(tiny_presets.OFFSET)).astype(np.float32)


def refusal(*arguments, **options):
    with pytest.raises(UserError) as caught:
        load(*arguments, **options)
    return str(caught.value)


def pooled_by_hand(tokens, layout):
    """Class token and mean of the patches, of tokens (batch, tokens, width)."""
    skipped, class_token = layout
    mean = tokens[:, skipped:].mean(axis=1)
    return np.concatenate([tokens[:, 0], mean], axis=1) if class_token else mean


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_preset_sees_by_hand(family, folder):
    network = tiny_presets.build(family)
    network = getattr(network, "vision_encoder", network)
    batch = images(size_of(family))
    seen = np.asarray(network(keras.tree.map_structure(lambda _: scaled(batch), network.input)))
    expected = pooled_by_hand(seen, LAYOUT[family]) if LAYOUT[family] else seen
    got = run(load(family, folder), batch)
    assert got.dtype == np.float32
    assert got.shape[-1] == {"siglip": 8, "swin": 16, "resnet": 64}.get(family, 16)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["dinov2", "dinov3"])
def test_registers_are_skipped(family, folder):
    """The rule by hand, told apart from a mean over registers, too."""
    network = tiny_presets.build(family)
    batch = images((16, 16))
    tokens = np.asarray(network(keras.tree.map_structure(lambda _: scaled(batch), network.input)))
    assert tokens.shape == (3, 1 + 2 + 16, 8)  # class token, registers, 4 x 4 patches
    got = run(load(family, folder), batch)
    np.testing.assert_allclose(got[:, :8], tokens[:, 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got[:, 8:], sum(tokens[:, k] for k in range(3, 19)) / 16, rtol=1e-5, atol=1e-5)
    assert np.abs(got[:, 8:] - tokens[:, 1:].mean(axis=1)).max() > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_comes_back_the_same_and_exports(family, folder, tmp_path, capsys):
    model = extractor.feature_model([load(family, folder)])
    keras_file.save(model, tmp_path / "saved.keras")
    saved = keras_file.load(tmp_path / "saved.keras")
    batch = images(size_of(family))
    expected = run(model, batch)
    np.testing.assert_array_equal(run(saved, batch), expected)
    got = engines.batch_function(saved, "onnxruntime", batch)(batch)
    assert "Inference by ONNX Runtime (difference from Keras" in capsys.readouterr().err
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["dinov2", "siglip"])
def test_the_same_preset_gives_the_same_bytes(family, folder, tmp_path):
    for target in ("a", "b"):
        keras.utils.clear_session()
        keras.utils.set_random_seed(ord(target))
        keras_file.save(extractor.feature_model([load(family, folder)]), tmp_path / target)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("size", [(16, 12), (8, 20), (24, 4)])
def test_dinov3_takes_images_that_are_not_square(size, folder, tmp_path):
    """KerasHub declares as many tokens as a square of the height has; the network gives those of the image."""
    network = keras_hub.models.Backbone.from_preset(str(folder / "dinov3"), image_shape=(*size, 3))
    batch = images(size)
    tokens = np.asarray(network({"pixel_values": scaled(batch)}))
    assert tokens.shape[1] == 3 + size[0] * size[1] // 16
    model = load("dinov3", folder, size)
    expected = pooled_by_hand(tokens, (3, True))
    np.testing.assert_allclose(run(model, batch), expected, rtol=1e-5, atol=1e-5)
    model.save(tmp_path / "saved.keras")
    saved = keras_file.load(tmp_path / "saved.keras")
    np.testing.assert_allclose(run(saved, batch), expected, rtol=1e-5, atol=1e-5)


def test_dinov2_at_another_size_is_as_keras_hub_interpolates_it(folder, tmp_path):
    network = keras_hub.models.Backbone.from_preset(str(folder / "dinov2"), image_shape=(24, 24, 3))
    batch = images((24, 24))
    expected = pooled_by_hand(np.asarray(network({"images": scaled(batch)})), (3, True))
    model = load("dinov2", folder, (24, 24))
    np.testing.assert_allclose(run(model, batch), expected, rtol=1e-5, atol=1e-5)
    keras_file.save(model, tmp_path / "saved.keras")
    np.testing.assert_array_equal(run(keras_file.load(tmp_path / "saved.keras"), batch), run(model, batch))


def test_presets_and_other_backbones_side_by_side(folder):
    models = [
        backbones.load(entry, folder=folder, weights=None, height=32, width=32, name=f"backbone{number}")
        for number, entry in enumerate(["dinov2", "resnet", "MobileNet"])
    ]
    assert extractor.feature_model(models).output_shape == (None, 16 + 64 + 1024)


@pytest.mark.parametrize(
    ("family", "size", "said"),
    [
        ("dinov2", (16, 12), "takes square images whose side is a multiple of 4. Got 16 x 12 (height x width). Set "
         "image.height: 12 and image.width: 12."),
        ("dinov2", (18, 18), "Set image.height: 16 and image.width: 16."),
        ("dinov3", (16, 13), "takes images whose height and width are multiples of 4. Got 16 x 13 (height x width). "
         "Set image.height: 16 and image.width: 12."),
        ("vit", (16, 16), "takes images of 16 x 12 only. Got 16 x 16 (height x width). Set image.height: 16 and "
         "image.width: 12."),
        ("deit", (20, 12), "takes images of 16 x 12 only"),
        ("swin", (32, 32), "takes images of 16 x 16 only"),
        ("siglip", (32, 32), "takes images of 16 x 16 only"),
        ("clip", (16, 12), "takes images of 16 x 16 only"),
    ],
)  # fmt: skip
def test_sizes_that_a_preset_cannot_take(family, size, said, folder):
    message = refusal(family, folder, size)
    assert message.startswith(f"params.yaml: model.backbone: {folder / family} takes ")
    assert said in message
    if "Set image.height: " in message:  # the advice, followed
        height, width = (int(part.split(": ")[1]) for part in message[:-1].split("Set ")[1].split(" and "))
        assert load(family, folder, (height, width)).input_shape == (None, height, width, 3)


def test_a_map_has_one_channel_mean_each(folder):
    model = load("resnet", folder, (33, 20))
    assert model.output_shape == (None, 5, 3, 64)


def test_the_name_of_a_builtin_preset_is_a_folder_and_no_download(folder, tmp_path, monkeypatch):
    from keras_hub.src.utils import preset_utils

    def refuse(*arguments):
        raise AssertionError("a stage must not download")

    monkeypatch.setattr(preset_utils, "kagglehub", None)
    monkeypatch.setattr("socket.socket.connect", refuse)
    shutil.copytree(folder / "dinov2", tmp_path / "dinov2_small")
    monkeypatch.chdir(tmp_path)
    assert "dinov2_small" in hub.known_presets()
    assert load("dinov2_small", ".", (16, 16)).output_shape == (None, 16)
    message = refusal("dinov2_base", ".", (16, 16))
    assert message == (
        "params.yaml: model.backbone: the preset dinov2_base of KerasHub must be in .: no stage downloads one. Got "
        "none there. Run `posterity fetch-backbone dinov2_base`, once.\nFiles and presets in .: dinov2_small."
    )


def test_known_presets_are_those_of_networks_for_images():
    known = hub.known_presets()
    assert {"dinov2_small", "dinov3_vit_small_lvd1689m", "vit_base_patch16_224_imagenet", "resnet_50_imagenet"} <= set(
        known
    )
    assert known["siglip_base_patch16_224"].startswith("kaggle://keras/siglip/keras/siglip_base_patch16_224")
    assert not {"bert_base_en", "gemma_2b_en", "whisper_tiny_en"} & set(known)
    assert list(known) == sorted(known)


def test_without_keras_hub(folder, tmp_path, monkeypatch):
    model = load("vit", folder)
    keras_file.save(model, tmp_path / "vit.keras")
    for name in [name for name in sys.modules if name.split(".")[0] == "keras_hub"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    fix = 'Run `pip install -c requirements.lock -e ".[hub]"`.'
    message = refusal("vit", folder)
    assert message.startswith(f"params.yaml: model.backbone: {folder / 'vit'} needs the package keras-hub. Got none: ")
    assert message.endswith(fix)
    with pytest.raises(UserError) as caught:
        keras_file.load(tmp_path / "vit.keras")
    assert str(caught.value).startswith(
        f"{tmp_path / 'vit.keras'}: the network needs the package keras-hub. Got none: "
    )
    assert str(caught.value).endswith(fix)
    message = refusal("vit.keras", tmp_path, size=(16, 12))
    assert message.startswith("params.yaml: model.backbone: ")
    assert message.endswith(fix)
    assert "`posterity fetch-backbone NAME` brings a preset" in refusal("dinov2_base", folder, (16, 16))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras_hub.src.models.bert.bert_tokenizer", "keras_hub>BertTokenizer"),
        ("keras_hub.src.models.vit.vit_image_classifier", "keras_hub>ViTImageClassifier"),
        ("keras_hub.src.models.vit.vit_backbone", None),
        (None, "keras_nlp>BertTokenizer"),
        ("keras_hub.src.utils.preset_utils", "keras_hub>get_file"),
    ],
)
def test_of_keras_hub_a_file_may_ask_for_networks_only(module, name):
    nested = {"config": {"layers": [{"module": module, "class_name": "X", "registered_name": name, "config": {}}]}}
    with pytest.raises(ValueError, match="of KerasHub, of which only networks are loaded"):
        keras_file.check_hub(nested, "it")
    allowed = {"module": "keras_hub.src.models.vit.vit_backbone", "registered_name": "keras_hub>ViTBackbone"}
    keras_file.check_hub({"config": [allowed]}, "it")


def test_a_file_with_another_class_of_keras_hub_is_refused(tmp_path):
    inputs = keras.Input((4, 8))
    encoder = keras_hub.layers.TransformerEncoder(4, 2)
    keras.Model(inputs, encoder(inputs)).save(tmp_path / "encoder.keras")
    with pytest.raises(UserError, match="it asks for 'keras_hub>TransformerEncoder' of KerasHub"):
        keras_file.load(tmp_path / "encoder.keras")


def test_folders_that_are_no_presets_of_networks_for_images(folder, tmp_path):
    def changed(name, **files):
        shutil.copytree(folder / "vit", tmp_path / name)
        for file, content in files.items():
            target = tmp_path / name / file.replace("__", ".")
            target.unlink() if content is None else target.write_text(content)
        return tmp_path / name

    converter = "image_converter__json"
    path = changed("unsaid", **{converter: None})
    message = refusal("unsaid", tmp_path, (16, 12))
    assert message.startswith(
        f"params.yaml: model.backbone: {path} must hold image_converter.json or preprocessor_config"
    )
    changed("odd", **{converter: json.dumps({"config": {"scale": [1, 2]}})})
    assert "as the library writes it. Got: scale: [1, 2]. Take" in refusal("odd", tmp_path, (16, 12))
    changed("empty", **{converter: "{}"})
    assert "Got: 'config' is missing. Take" in refusal("empty", tmp_path, (16, 12))
    changed("damaged", config__json="{")
    assert "must be a folder with a preset that KerasHub can read. Got an error: Expecting" in refusal(
        "damaged", tmp_path, (16, 12)
    )
    changed("foreign", config__json=json.dumps({"model_type": "beit"}))
    assert "KerasHub has no converter for" in refusal("foreign", tmp_path, (16, 12))
    (changed("cut") / "model.weights.h5").write_bytes((folder / "vit/model.weights.h5").read_bytes()[:3000])
    assert "must be a folder with a preset that KerasHub can read. Got an error: " in refusal("cut", tmp_path, (16, 12))
    hostile = json.loads((folder / "vit/config.json").read_text())
    hostile["registered_name"] = "keras_hub>BertTokenizer"
    changed("hostile", config__json=json.dumps(hostile))
    assert "it asks for 'keras_hub>BertTokenizer' of KerasHub" in refusal("hostile", tmp_path, (16, 12))
    assert "must hold a network from RGB images to" in refusal("bert", folder, (16, 16))
    assert "Got a BertBackbone." in refusal("bert", folder, (16, 16))


def test_a_preset_outside_the_folder(folder):
    message = refusal("../vit", folder / "dinov2", (16, 12))
    assert "must be the name of a file in model.backbone_folder" in message
    assert message.endswith("Copy the file there and write vit.")


DINOV2 = {
    "model_type": "dinov2", "image_size": 16, "patch_size": 4, "hidden_size": 8, "mlp_ratio": 2, "num_hidden_layers": 1,
    "num_attention_heads": 2, "layerscale_value": 1.0, "use_swiglu_ffn": False, "hidden_dropout_prob": 0.0,
    "drop_path_rate": 0.0,
}  # fmt: skip
DENSE = ["attention.attention.query", "attention.attention.key", "attention.attention.value", "attention.output.dense"]


def linear(name, inputs, outputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def dinov2_tensors():
    layer = "encoder.layer.0"
    tensors = {
        "embeddings.cls_token": (1, 1, 8), "embeddings.mask_token": (1, 8),
        "embeddings.position_embeddings": (1, 17, 8),
        "embeddings.patch_embeddings.projection.weight": (8, 3, 4, 4),
        "embeddings.patch_embeddings.projection.bias": (8,),
        f"{layer}.layer_scale1.lambda1": (8,), f"{layer}.layer_scale2.lambda1": (8,),
    }  # fmt: skip
    for norm in (f"{layer}.norm1", f"{layer}.norm2", "layernorm"):
        tensors |= {f"{norm}.weight": (8,), f"{norm}.bias": (8,)}
    for dense in DENSE:
        tensors |= linear(f"{layer}.{dense}", 8, 8)
    return tensors | linear(f"{layer}.mlp.fc1", 8, 16) | linear(f"{layer}.mlp.fc2", 16, 8)


VIT = {
    "model_type": "vit", "architectures": ["ViTForImageClassification"], "image_size": 16, "patch_size": 4,
    "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "qkv_bias": True,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


def vit_tensors():
    layer = "vit.encoder.layer.0"
    tensors = {
        "vit.embeddings.cls_token": (1, 1, 8), "vit.embeddings.position_embeddings": (1, 17, 8),
        "vit.embeddings.patch_embeddings.projection.weight": (8, 3, 4, 4),
        "vit.embeddings.patch_embeddings.projection.bias": (8,),
    }  # fmt: skip
    for norm in (f"{layer}.layernorm_before", f"{layer}.layernorm_after", "vit.layernorm"):
        tensors |= {f"{norm}.weight": (8,), f"{norm}.bias": (8,)}
    for dense in DENSE:
        tensors |= linear(f"{layer}.{dense}", 8, 8)
    return tensors | linear(f"{layer}.intermediate.dense", 8, 16) | linear(f"{layer}.output.dense", 16, 8)


@pytest.mark.parametrize(
    ("config", "tensors"), [(DINOV2, dinov2_tensors()), (VIT, vit_tensors())], ids=["dinov2", "vit"]
)
def test_a_folder_of_transformers(config, tensors, tmp_path):
    pytest.importorskip("safetensors")
    tiny_presets.save_transformers(tmp_path / "folder", config, tensors)
    network = keras_hub.models.Backbone.from_preset(str(tmp_path / "folder"))
    batch = images((16, 16))
    prepared = ((batch / 255 - [0.5, 0.4, 0.3]) / [0.25, 0.5, 0.2]).astype(np.float32)
    tokens = np.asarray(network(keras.tree.map_structure(lambda _: prepared, network.input)))
    assert tokens.shape == (3, 17, 8)
    expected = np.concatenate([tokens[:, 0], tokens[:, 1:].mean(axis=1)], axis=1)
    np.testing.assert_allclose(run(load("folder", tmp_path, (16, 16)), batch), expected, rtol=1e-4, atol=1e-5)


def test_a_vit_without_its_classifier_is_refused_as_keras_hub_reads_none(tmp_path):
    pytest.importorskip("safetensors")
    tensors = {name.removeprefix("vit."): shape for name, shape in vit_tensors().items()}
    tiny_presets.save_transformers(tmp_path / "folder", VIT | {"architectures": ["ViTModel"]}, tensors)
    message = refusal("folder", tmp_path, (16, 16))
    assert "must be a folder with a preset that KerasHub can read. Got an error: " in message
    assert "vit.embeddings" in message


@pytest.mark.parametrize("family", ["dinov3", "clip"])
def test_precision_is_that_of_the_policy_and_features_are_float32(family, folder):
    batch = images((16, 16))
    expected = run(load(family, folder), batch)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = load(family, folder)
        got = run(model, batch)
    finally:
        keras.config.set_dtype_policy("float32")
    assert got.dtype == np.float32
    assert 0 < np.abs(got - expected).max() < 0.2  # 8 bits of mantissa, through three blocks

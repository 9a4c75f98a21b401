"""What of a backbone is trained; the transformers are those of KerasHub, with random weights."""

import keras
import numpy as np
import pytest

import tiny_presets
from posterity.errors import UserError
from posterity.nn import keras_file
from posterity.nn.networks import tuning


def backbone(layers):
    """A network of ``layers`` inside a model, as `backbones.load` makes it."""
    images = keras.Input((8, 8, 3), dtype="uint8")
    inner = keras.Sequential([keras.Input((None, None, 3)), *layers])
    return keras.Model(images, inner(keras.ops.cast(images, "float32")))


def test_freezing_by_hand():
    inner = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1, name="c1"), keras.layers.BatchNormalization(name="b1")]
    )
    layers = [inner, keras.layers.Conv2D(2, 1, name="c2"), keras.layers.BatchNormalization(name="b2")]
    model = backbone([*layers, keras.layers.Conv2D(2, 1, name="c3"), keras.layers.ReLU()])

    def trained():
        return sorted(weight.path.split("/")[-2] for weight in model.trainable_weights if "kernel" in weight.path)

    for layers, expected in ((None, 3), (0, 0), (2, 2), (1, 1), (9, 3)):
        assert tuning.freeze(model, layers) == expected
        assert trained() == ["c1", "c2", "c3"][3 - expected :]
        assert len(model.trainable_weights) == 2 * expected  # a kernel and a bias each, no batch norm


def test_frozen_batch_norm_ignores_the_batch():
    model = backbone([keras.layers.Conv2D(2, 1), keras.layers.BatchNormalization()])
    batch = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    expected = model(batch, training=False)
    tuning.freeze(model)
    before = model.get_weights()
    np.testing.assert_allclose(model(batch, training=True), expected, rtol=1e-5)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    model.layers[-1].layers[-1].trainable = True
    assert np.abs(model(batch, training=True) - expected).max() > 1  # unfrozen, it normalises by the batch


# Weights of a block: two norms, four projections of attention, two dense layers, all with two each, and the scales.
IN_A_BLOCK = {"dinov2": 18, "dinov3": 18, "vit": 16, "deit": 16, "clip": 16, "siglip": 16, "swin": 13}
ABOVE = {"siglip": 2 + 15}  # the last norm, and the pooling by attention with its probe; otherwise the norm alone
QUERY_AND_VALUE = ["dinov2", "dinov3", "vit", "deit", "clip", "siglip"]


def transformer(family):
    pytest.importorskip("keras_hub")
    network = tiny_presets.build(family)
    network = getattr(network, "vision_encoder", network)
    images = keras.Input((*network.image_shape[:2], 3), dtype="uint8")
    pixels = keras.ops.cast(images, "float32") / 255
    return keras.Model(images, network(keras.tree.map_structure(lambda _: pixels, network.input)), name="backbone1")


def images_for(model):
    return np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:]), dtype=np.uint8)


def fit(model):
    """Train a little, and return what the network then gives for `images_for`, and the names of what has changed."""
    before = [np.array(weight) for weight in model.weights]
    batch = images_for(model)
    target = np.random.default_rng(1).normal(size=model(batch).shape).astype(np.float32)
    trained = keras.Model(model.input, model.output)
    trained.compile(keras.optimizers.Adam(0.05), "mse", jit_compile=False)
    trained.fit(batch, target, epochs=3, verbose=0)
    changed = [
        old.shape == tuple(new.shape) and np.any(old != np.array(new))
        for old, new in zip(before, model.weights, strict=True)
    ]
    return np.asarray(model(batch)), [
        weight.path for weight, is_new in zip(model.weights, changed, strict=True) if is_new
    ]


@pytest.mark.parametrize("family", IN_A_BLOCK)
def test_layers_are_blocks_of_a_transformer(family):
    model = transformer(family)
    total = 3
    per_block, above = IN_A_BLOCK[family], ABOVE.get(family, 2)
    for layers in (1, 2, 3):
        assert tuning.freeze(model, layers) == layers
        if family != "swin":  # its stages differ in width and have a reduction between them
            assert len(model.trainable_weights) == layers * per_block + above
    every_block = len(model.trainable_weights)
    for layers in (None, 4):
        assert tuning.freeze(model, layers) == total
        assert len(model.trainable_weights) > every_block  # the embedding of the patches, too
    assert tuning.freeze(model, 0) == 0
    assert model.trainable_weights == []


@pytest.mark.filterwarnings("error:Gradients do not exist")
def test_what_lies_below_the_lowest_block_stays():
    model = transformer("vit")
    tuning.freeze(model, 1)
    _, changed = fit(model)
    assert changed
    assert all("transformer_block_3" in path or "/ln" in path or "layer_norm" in path for path in changed)


@pytest.mark.filterwarnings("error:Gradients do not exist")
def test_a_finetuned_dinov2_is_saved_with_its_positions(tmp_path):
    """KerasHub saves them only if they have changed by a positive sum."""
    model = transformer("dinov2")
    embeddings = model.layers[-1].embeddings
    positions = embeddings.interpolated_position_embeddings
    positions.assign(np.asarray(positions) - 0.5)
    tuning.freeze(model)
    expected, changed = fit(model)
    assert any("interpolated_position_embeddings" in path for path in changed)
    assert not any("mask_token" in path for path in changed)
    tuning.settle(model)
    keras_file.save(model, tmp_path / "saved.keras")
    np.testing.assert_array_equal(keras_file.load(tmp_path / "saved.keras")(images_for(model)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("family", QUERY_AND_VALUE)
def test_lora_trains_additions_alone_and_ends_in_the_kernels(family, tmp_path):
    model = transformer(family)
    names = [weight.path for weight in model.weights]
    batch = images_for(model)
    before = np.asarray(model(batch))
    in_blocks = 2 * 3  # of each block the query and the value
    assert tuning.add_lora(model, 2, seed=1) == in_blocks
    np.testing.assert_allclose(model(batch), before, rtol=1e-5, atol=1e-6)
    assert [weight.name for weight in model.trainable_weights] == ["lora_kernel_a", "lora_kernel_b"] * in_blocks
    assert {weight.shape[-1] for weight in model.trainable_weights[::2]} == {2}
    expected, changed = fit(model)
    assert all("lora_kernel" in path for path in changed)
    assert np.abs(expected - before).max() > 0.01
    tuning.settle(model)
    assert [weight.path for weight in model.weights] == names
    np.testing.assert_allclose(model(batch), expected, rtol=1e-4, atol=1e-5)
    keras_file.save(model, tmp_path / "saved.keras")
    np.testing.assert_allclose(keras_file.load(tmp_path / "saved.keras")(batch), expected, rtol=1e-4, atol=1e-5)


def test_an_addition_by_hand():
    """W + A B, for one block and one kernel."""
    model = transformer("dinov3")
    assert tuning.add_lora(model, 1, layers=1, seed=1) == 2
    query = model.layers[-1].encoder.layers[-1].attention.query_dense
    kernel = np.array(query.kernel)
    query.lora_kernel_a.assign(np.arange(8)[:, None])
    query.lora_kernel_b.assign(np.full((1, 8), 0.5))
    tuning.settle(model)
    np.testing.assert_allclose(query.kernel, kernel + np.arange(8)[:, None] * 0.5, rtol=1e-6)


def test_the_same_seed_draws_the_same_additions():
    drawn = []
    for seed in (1, 1, 2):
        model = transformer("vit")
        keras.utils.set_random_seed(len(drawn))
        tuning.add_lora(model, 2, layers=2, seed=seed)
        drawn.append([np.array(weight) for weight in model.trainable_weights])
    assert all(np.array_equal(a, b) for a, b in zip(drawn[0], drawn[1], strict=True))
    assert not np.array_equal(drawn[0][0], drawn[2][0])
    assert not np.array_equal(drawn[0][0], drawn[0][2])


def test_lora_needs_attention_with_query_and_value():
    model = backbone([keras.layers.Conv2D(2, 1)])
    for one in (model, transformer("swin")):
        with pytest.raises(
            UserError, match=r"params.yaml: model.finetune.lora_rank needs a transformer whose attention"
        ):
            tuning.add_lora(one, 2, seed=1)

"""Presets of KerasHub with random weights, small enough to be built in a moment."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

SMALL = {"patch_size": 4, "num_layers": 3, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 16}
SQUARE, WIDE = (16, 16, 3), (16, 12, 3)
SCALE, OFFSET = [0.01, 0.02, 0.03], [-1.0, 0.5, 0.25]


def build(family: str) -> keras.Model:
    """A network of KerasHub of 3 blocks and width 8, for images of 16 x 16, or 16 x 12 where it can be."""
    from keras_hub import models

    keras.utils.set_random_seed(1)
    registers = SMALL | {"num_register_tokens": 2}
    small = {key: value for key, value in SMALL.items() if key != "intermediate_dim"}
    text = {"vocabulary_size": 10, "embedding_dim": 8, "hidden_dim": 8, "num_layers": 1, "num_heads": 2}
    text |= {"intermediate_dim": 8, "max_sequence_length": 4}
    made: dict[str, Any] = {
        "dinov2": lambda: models.DINOV2Backbone(**registers, image_shape=SQUARE, position_embedding_shape=SQUARE),
        "dinov3": lambda: models.DINOV3Backbone(**registers, image_shape=SQUARE),
        "vit": lambda: models.ViTBackbone(**small, mlp_dim=16, image_shape=WIDE),
        "deit": lambda: models.DeiTBackbone(**SMALL, image_shape=WIDE),
        "swin": lambda: models.SwinTransformerBackbone(SQUARE, 8, depths=(1, 2), num_heads=(1, 2), window_size=2),
        "siglip": lambda: models.SigLIPBackbone(
            models.SigLIPVisionEncoder(**SMALL, image_shape=SQUARE), models.SigLIPTextEncoder(**text)
        ),
        "clip": lambda: models.CLIPBackbone(
            models.CLIPVisionEncoder(**SMALL, image_shape=SQUARE), models.CLIPTextEncoder(**text), projection_dim=4
        ),
        "resnet": lambda: models.ResNetBackbone([64], [3], [64, 64], [1, 1], [1, 2], block_type="basic_block"),
        "bert": lambda: models.BertBackbone(10, 1, 2, 8, 16, max_sequence_length=4),
    }
    network = made[family]()
    generator = np.random.default_rng(2)
    for weight in network.weights:
        if weight.trainable:  # what starts at 0, such as registers, has to be seen in the output, too
            values = generator.normal(0, 0.3, weight.shape)
            weight.assign(values)
    if family == "dinov2":
        embeddings = network.embeddings
        embeddings.position_embeddings.assign(embeddings.interpolated_position_embeddings)
    return network


def save(folder: Path, family: str) -> keras.Model:
    """Write a preset into ``folder`` and return the network that is in it: the part for images, if it has others."""
    network = build(family)
    network.save_to_preset(str(folder))
    converter = {"config": {"scale": SCALE, "offset": OFFSET, "image_size": [16, 16]}}
    (folder / "image_converter.json").write_text(json.dumps(converter))
    return getattr(network, "vision_encoder", network)


def save_transformers(folder: Path, config: dict[str, Any], tensors: dict[str, tuple[int, ...]]) -> None:
    """Write a folder as the library transformers does, with random tensors of these names and shapes."""
    from safetensors.numpy import save_file

    folder.mkdir()
    generator = np.random.default_rng(3)
    values = {name: generator.normal(0, 0.3, shape).astype(np.float32) for name, shape in tensors.items()}
    save_file(values, str(folder / "model.safetensors"))
    (folder / "config.json").write_text(json.dumps(config))
    preprocessor = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.25, 0.5, 0.2], "do_resize": True, "size": 16}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))

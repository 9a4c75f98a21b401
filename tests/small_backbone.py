"""A backbone of a thousand weights, and the settings of params.yaml that train a head on it."""

from pathlib import Path

import keras
import numpy as np

FROZEN = {
    "model.name": "backbone",
    "model.backbone": ["tiny.keras"],
    "model.backbone_folder": "backbones",
    "model.mode": "frozen",
    "model.head": {"hidden_units": 5, "dropout": 0.1, "both_views": False},
    "model.finetune": {"epochs": 2, "learning_rate": 0.01, "layers": None, "lora_rank": None},
    "train.folds": 1,
    "train.epochs": 3,
    "train.learning_rate": 0.1,
    "train.optimizer": "adam",
    "train.weight_decay": 0.0,
    "train.keep_epoch": "last",
    "train.early_stopping": None,
    "train.mixup": 0.2,
    "train.augment": {"flip": True, "shift": 0.0, "zoom": 0.0, "brightness": 0.1, "contrast": 0.0, "erase": 0.0},
    "decide.calibration": "off",
    "machine.device.inference_engine": "auto",
    "predict.images": {"new": "images"},
    "predict.format": "csv",
}


def save_backbone(path: Path) -> None:
    """A network for images of any size with a batch normalisation that has seen something."""
    keras.utils.set_random_seed(3)
    layers = [
        keras.layers.Rescaling(1 / 127.5, offset=-1.0),
        keras.layers.Conv2D(6, 5, strides=4, use_bias=False, name="low"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.ReLU(),
        keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="high"),
    ]
    model = keras.Sequential([keras.Input((None, None, 3)), *layers])
    generator = np.random.default_rng(0)
    model.get_layer("norm").set_weights([generator.uniform(0.5, 1.5, 6) for _ in range(4)])
    model.save(path)

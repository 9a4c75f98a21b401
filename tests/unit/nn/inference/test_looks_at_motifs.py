"""The drawn sample, whose motifs' places are known: a network that tells them apart looks at them."""

import io

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

from posterity.evaluation.pointing_game import centre_hits, pointing_game, random_rates
from posterity.nn.inference.saliency import explain
from posterity.nn.networks import scratch
from posterity.synthetic.dataset import NAMES, draw_image, labels_table, motif_boxes

pytestmark = pytest.mark.proof
SEED, NUM_TRAIN, NUM_SHOWN = 7, 640, 60
HEIGHT, WIDTH = 400, 300


def draw(index):
    image = np.asarray(Image.open(io.BytesIO(draw_image(SEED, index))))
    return cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def test_the_maps_of_compact_cnn_point_at_the_motifs():
    """Far more often than a place drawn by lot, and than the middle of the image, where a lone motif is."""
    images = np.stack([draw(index) for index in range(NUM_TRAIN + NUM_SHOWN)])
    targets = labels_table(SEED, len(images))[list(NAMES)].to_numpy(np.float32)
    keras.utils.set_random_seed(1)
    frequencies = targets[:NUM_TRAIN].mean(0)
    network = scratch.build("compact_cnn", height=HEIGHT, width=WIDTH, label_frequencies=frequencies)
    network.training.compile(keras.optimizers.AdamW(2e-3), "binary_crossentropy")
    network.training.fit(images[:NUM_TRAIN], targets[:NUM_TRAIN], batch_size=32, epochs=8, verbose=0)

    pairs, boxes = [], []
    for index in range(NUM_TRAIN, len(images)):
        for name, box in motif_boxes(SEED, index).items():
            pairs.append((index, NAMES.index(name)))
            boxes.append(box)
    rows, labels = zip(*pairs, strict=True)
    boxes = np.array(boxes)
    rate = pointing_game(explain(network.model, images[list(rows)], labels), boxes).mean()
    assert rate > centre_hits(boxes).mean() + 0.15  # 0.91 when this was written, 0.51 for the middle
    assert rate > random_rates(boxes).mean() + 0.4  # 0.20 by lot

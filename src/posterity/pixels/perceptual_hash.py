"""What a picture looks like, as 64 bits: pictures that look alike have hashes that differ in few bits.

The hash is the pHash of hackerfactor.com ("Looks Like It", 2011), as the library imagehash computes it: the 8 x 8
lowest frequencies of the cosine transform of 32 x 32 grey pixels, each 1 if it is above their median. imagehash 4.3.2
takes 5.5 s for one hash of each of 7,254 posters in two threads, this 1 s for thumbnails and 25 hashes of each.

A light crop changes up to 22 of the 64 bits, as many as separate some pictures that have nothing in common. So a
picture is hashed whole and cropped in 24 ways: a cropped copy, hashed whole, is close to one of these.
"""

import cv2
import numpy as np
import numpy.typing as npt

from posterity.pixels.resize import resize_by_area

UInt8Array = npt.NDArray[np.uint8]
UInt64Array = npt.NDArray[np.uint64]
FloatArray = npt.NDArray[np.float32]

SIDE = 64  # of a thumbnail
HASH_SIDE = 32  # of the pixels that are hashed and compared
FREQUENCIES = 8  # along each axis
CHUNK = 512  # thumbnails at a time: 20 MB

STEPS = (0.0, 0.0125, 0.025, 0.0375, 0.05)
# What may be cut off the two ends of an axis, as shares of its length.
CUTS = [(start, end) for start in STEPS for end in STEPS]
# Of these, the ones that are hashed, along the height times along the width; the first is nothing.
HASHED_CUTS = [(0.0, 0.0), (0.025, 0.025), (0.05, 0.05), (0.05, 0.0), (0.0, 0.05)]
NUM_CROPS = len(HASHED_CUTS) ** 2


def thumbnail(image: UInt8Array) -> UInt8Array:
    """Reduce an image, uint8 (any height, any width, 3), to grey, uint8 (64, 64)."""
    return resize_by_area(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8), SIDE, SIDE)


def perceptual_hashes(thumbnails: UInt8Array) -> UInt64Array:
    """Hash every thumbnail whole and lightly cropped.

    Parameters
    ----------
    thumbnails : ndarray of uint8, shape (n, 64, 64)
        As `thumbnail` makes them.

    Returns
    -------
    ndarray of uint64, shape (n, 25)
        Column 0 is the hash of the whole picture, the others are those of its crops.

    Examples
    --------
    To be lighter or darker changes no bit.

    >>> dark = np.random.default_rng(0).integers(0, 100, (1, 64, 64)).astype(np.uint8)
    >>> bool((perceptual_hashes(dark) == perceptual_hashes(2 * dark)).all())
    True
    """
    transforms = np.concatenate([_cosines() @ CUT_MATRICES[CUTS.index(cut)] for cut in HASHED_CUTS])  # (5 * 8, 64)
    hashes = np.empty((len(thumbnails), NUM_CROPS), np.uint64)
    size = (len(HASHED_CUTS), FREQUENCIES)
    for start in range(0, len(thumbnails), CHUNK):
        pixels = thumbnails[start : start + CHUNK].astype(np.float32)
        values = (transforms @ pixels @ transforms.T).reshape(-1, *size, *size).swapaxes(2, 3)
        values = values.reshape(-1, FREQUENCIES**2)
        # Above the lower one of the two middle values is above the median.
        middle = FREQUENCIES**2 // 2 - 1
        bits = values > np.partition(values, middle, axis=1)[:, middle, None]
        hashes[start : start + CHUNK] = np.packbits(bits, axis=1).view(">u8").reshape(-1, NUM_CROPS)
    return hashes


def _cosines() -> FloatArray:
    """The lowest frequencies of the cosine transform (type II, not normalised): (8, 32)."""
    positions, frequencies = np.arange(HASH_SIDE), np.arange(FREQUENCIES)[:, None]
    cosines: FloatArray = np.cos(np.pi * (2 * positions + 1) * frequencies / (2 * HASH_SIDE)).astype(np.float32)
    return cosines


def _cut_matrix(start: float, end: float) -> FloatArray:
    """The matrix (32, 64) that cuts these shares off an axis of 64 pixels and averages the rest to 32 by area."""
    edges = np.linspace(start * SIDE, (1 - end) * SIDE, HASH_SIDE + 1)[:, None]
    covered = np.clip(edges - np.arange(SIDE), 0, 1)  # of each old pixel, the part before each edge
    shares = np.diff(covered, axis=0)
    matrix: FloatArray = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    return matrix


CUT_MATRICES = np.stack([_cut_matrix(*cut) for cut in CUTS])  # (25, 32, 64)

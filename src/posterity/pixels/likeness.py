"""How much two pictures look alike, block by block, after a light crop of the one is undone.

A hash says which pairs are worth a look; it does not decide: two films with a face above a title can have the same one.
What decides is compared at 32 x 32 grey pixels, in 4 x 4 blocks, of each row and column of a block less its mean. One
figure for the whole picture would be high for any two pictures with the same bars, frame or sky; these leave nothing in
such a block, and a block with nothing in it does not count.
"""

import numpy as np
import numpy.typing as npt

from posterity.pixels.perceptual_hash import CUT_MATRICES, CUTS, HASH_SIDE, FloatArray, UInt8Array

IntArray = npt.NDArray[np.int64]

BLOCKS = 4  # along each side
MIN_TEXTURE = 3.0  # standard deviation in grey levels; JPEG noise in a flat block of 8 x 8 means stays below 2
MIN_BLOCKS = 3  # with texture; a picture with fewer looks like everything and nothing
CHUNK = 256  # pairs at a time: 15 MB
ROUNDS = 2  # of the search for the crop, along each axis; with one, 1 in 100 of the cropped posters was missed
_SQUARES = (CUT_MATRICES.swapaxes(1, 2) @ CUT_MATRICES).reshape(len(CUTS), -1)


def similarities(first: UInt8Array, second: UInt8Array) -> FloatArray:
    """Compare pairs of pictures of which one may be a light crop of the other.

    The crop is searched for on a grid of 1.25 % steps up to 5 % a side, along the height and the width in turn.

    Parameters
    ----------
    first, second : ndarray of uint8, shape (n, 64, 64)
        Thumbnails of the two pictures of each pair, as `perceptual_hash.thumbnail` makes them.

    Returns
    -------
    ndarray of float32, shape (n,)
        Mean correlation of the blocks in which one of the two pictures has texture: 1 = the same up to brightness and
        contrast, about 0 = nothing in common. 0 where fewer than 3 of the 16 blocks have texture: in blank pictures and
        in those of straight stripes only.

    Examples
    --------
    >>> pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.uint8)
    >>> similarities(pictures[[0, 0]], pictures[[0, 1]]).astype(float).round(1).tolist()
    [1.0, 0.1]
    """
    result = np.empty(len(first), np.float32)
    for start in range(0, len(first), CHUNK):
        one, other = (pictures[start : start + CHUNK].astype(np.float32) for pictures in (first, second))
        result[start : start + CHUNK] = np.maximum(_crop_similarity(one, other), _crop_similarity(other, one))
    return result


def _crop_similarity(crops: FloatArray, wholes: FloatArray) -> FloatArray:
    """The similarity if the first picture of each pair is a crop of the second, both (n, 64, 64)."""
    crops = CUT_MATRICES[0] @ crops @ CUT_MATRICES[0].T
    pattern = crops - crops.mean(axis=(1, 2), keepdims=True)
    wholes = wholes - wholes.mean(axis=(1, 2), keepdims=True)  # sums of squares are more exact so
    width = np.zeros(len(crops), np.int64)
    for _ in range(ROUNDS):
        height = _best_cut(pattern, wholes @ CUT_MATRICES[width].swapaxes(1, 2))
        width = _best_cut(pattern.swapaxes(1, 2), (CUT_MATRICES[height] @ wholes).swapaxes(1, 2))
    aligned = np.asarray(CUT_MATRICES[height] @ wholes @ CUT_MATRICES[width].swapaxes(1, 2), np.float32)
    return _block_correlation(crops, aligned)


def _best_cut(patterns: FloatArray, strips: FloatArray) -> IntArray:
    """The cut of the first axis of each strip (n, 64, 32) that makes it most like its pattern (n, 32, 32) of mean 0.

    The cut strips are never computed. With a cut matrix C, a strip S and a pattern P, the sum of products of C S and P
    is that of C and P S', and the sum of squares of C S is the sum of products of C' C and S S'.
    """
    number = len(strips)
    products = (patterns @ strips.swapaxes(1, 2)).reshape(number, -1) @ CUT_MATRICES.reshape(len(CUTS), -1).T
    squares = (strips @ strips.swapaxes(1, 2)).reshape(number, -1) @ _SQUARES.T / HASH_SIDE**2
    means = strips.sum(axis=2) @ CUT_MATRICES.sum(axis=1).T / HASH_SIDE**2
    # The correlation, times what is the same for all cuts of a strip.
    best: IntArray = (products / np.sqrt(np.maximum(squares - means**2, 1e-3))).argmax(axis=1)
    return best


def _block_correlation(first: FloatArray, second: FloatArray) -> FloatArray:
    one, other = _blocks(first), _blocks(second)
    spread, other_spread = one.std(axis=2), other.std(axis=2)
    correlation = (one * other).mean(axis=2) / np.maximum(spread * other_spread, 1e-3)
    has_texture = np.maximum(spread, other_spread) > MIN_TEXTURE
    number = has_texture.sum(axis=1)
    means = np.where(has_texture, correlation, 0).sum(axis=1) / np.maximum(number, 1)
    return np.where(number >= MIN_BLOCKS, means, 0).astype(np.float32)


def _blocks(pictures: FloatArray) -> FloatArray:
    """Cut (n, 32, 32) into (n, 16, 64), each row and each column of a block less its mean."""
    side = HASH_SIDE // BLOCKS
    blocks = pictures.reshape(-1, BLOCKS, side, BLOCKS, side).swapaxes(2, 3).reshape(-1, BLOCKS**2, side, side)
    blocks = blocks - blocks.mean(axis=2, keepdims=True)
    centred: FloatArray = blocks - blocks.mean(axis=3, keepdims=True)
    return centred.reshape(-1, BLOCKS**2, side**2)

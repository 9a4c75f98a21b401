"""An image with a map of places on top of it, for the eye."""

import cv2
import numpy as np
import numpy.typing as npt

COLOURS = cv2.COLORMAP_INFERNO  # its lightness rises evenly from 0 to 1, so it reads in grey and by the colour-blind
STRONGEST = 0.75  # share of the colour where the map is 1: what is under it can still be recognised
GREYED = 0.6  # share of its own colour that the picture loses: else its reds and yellows look like the map's


def overlay(image: npt.NDArray[np.uint8], saliency: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Colour an image by a map: where the map is 0 the picture stays, paler; where it is 1 it is bright yellow.

    Parameters
    ----------
    image : array of uint8, shape (height, width, 3)
        RGB.
    saliency : array of float32, shape (height, width)
        From 0 to 1, such as one of `posterity.nn.inference.saliency.explain`.

    Returns
    -------
    array of uint8, shape (height, width, 3)
        RGB.

    Raises
    ------
    ValueError
        If the two are not of one size, or not of these types; or if the map holds anything but numbers from 0 to 1.

    Examples
    --------
    >>> white = np.full((1, 2, 3), 255, np.uint8)
    >>> overlay(white, np.array([[0.0, 1.0]], np.float32)).tolist()
    [[[255, 255, 255], [253, 255, 187]]]
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be uint8 (height, width, 3). Got {image.dtype} {image.shape}")
    if saliency.shape != image.shape[:2]:
        raise ValueError(f"saliency must have the shape {image.shape[:2]} of the image. Got {saliency.shape}")
    if not (saliency.size and saliency.min() >= 0 and saliency.max() <= 1):  # not true for NaN either
        raise ValueError("saliency must hold numbers from 0 to 1")
    levels = np.rint(saliency * np.float32(255)).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, COLOURS), cv2.COLOR_BGR2RGB).astype(np.float32)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    pale = image + np.float32(GREYED) * (grey - image)
    share = np.float32(STRONGEST) * saliency[..., None].astype(np.float32)
    blended: npt.NDArray[np.uint8] = np.rint(pale + share * (colours - pale)).astype(np.uint8)
    return blended

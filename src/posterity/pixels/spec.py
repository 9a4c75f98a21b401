"""How an image file becomes an array: a description that needs no decoder, and travels with a model."""

from dataclasses import dataclass

from posterity.choices import Fit, Resampling


@dataclass(frozen=True)
class ImageSpec:
    """How an image file becomes an array. It is saved with the model: prediction must do what training did.

    Attributes
    ----------
    height, width : int
        Size of the array in pixels.
    resampling : str
        Filter of the resize: ``area`` (the fastest: a mean where a side shrinks, linear where it grows) or one of
        Pillow's. All but ``nearest`` antialias.
    fit : str
        ``stretch`` ignores the aspect ratio, ``pad`` adds black bars, ``crop`` cuts the overhang off both sides.
    max_pixels : int
        Images of more pixels are refused before they are decoded.
    """

    height: int = 400
    width: int = 300
    resampling: Resampling = "area"
    fit: Fit = "stretch"
    max_pixels: int = 89_478_485

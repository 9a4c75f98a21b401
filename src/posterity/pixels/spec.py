"""How an image file becomes an array: a description that needs no decoder, and travels with a model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, get_args

from posterity.choices import COMMON_FORMATS, LARGEST_FILE, LARGEST_SIDE, Fit, ImageFormat, Resampling


@dataclass(frozen=True)
class Limits:
    """Which image files are opened at all. Nothing of a file but its header is decoded to find out.

    Attributes
    ----------
    formats : tuple of str
        Formats that are read, whatever the suffix of the file says.
    max_pixels : int
        Most pixels, width x height.
    max_side : int
        Most pixels of the longer side. Some decoders keep a pointer per row: 80,000,000 rows of one pixel took 2 GB.
    max_scans : int
        Most scans of a progressive JPEG file. Each is decoded over the whole image: 400 of them took 11 s.
    """

    formats: tuple[ImageFormat, ...] = COMMON_FORMATS
    max_pixels: int = 89_478_485
    max_side: int = 65_535
    max_scans: int = 64


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
    max_pixels, formats, max_side, max_scans
        Which files are refused, see `Limits`.
    grey_range : int, optional
        The level of 16- and 32-bit grey that becomes white; higher ones do, too. None = 65,535.
    """

    height: int = 400
    width: int = 300
    resampling: Resampling = "area"
    fit: Fit = "stretch"
    max_pixels: int = Limits.max_pixels
    formats: tuple[ImageFormat, ...] = COMMON_FORMATS
    max_side: int = Limits.max_side
    max_scans: int = Limits.max_scans
    grey_range: int | None = None

    @cached_property
    def limits(self) -> Limits:
        """The files that are not refused."""
        return Limits(self.formats, self.max_pixels, self.max_side, self.max_scans)

    def to_content(self) -> dict[str, Any]:
        """Plain JSON content, as `from_content` reads it.

        A field that is younger than the first model files is left out while it has its default: a data set that does
        not use it gives the bytes that it gave before there was the field.
        """
        default, content = ImageSpec(), asdict(self)
        content["formats"] = list(self.formats)
        return {
            name: value
            for name, value in content.items()
            if name in _FIRST or getattr(self, name) != getattr(default, name)
        }

    @staticmethod
    def from_content(content: Any) -> "ImageSpec":
        """Undo `to_content`. What an old file does not name has its default.

        Raises
        ------
        TypeError, ValueError
            If the content is no mapping, if there is a name that this version does not know, or if a value is of
            another type or outside its range: nothing is made of a size that nobody has memory for.
        """
        if not isinstance(content, Mapping):
            raise TypeError(f"a {type(content).__name__} instead of the fields of an image")
        if unknown := [name for name in content if name not in {field.name for field in fields(ImageSpec)}]:
            raise TypeError(f"the unknown field {unknown[0]!r}")
        for name, value in content.items():
            _check(name, value)
        values: dict[str, Any] = {name: tuple(value) if name == "formats" else value for name, value in content.items()}
        return ImageSpec(**values)


def _check(name: str, value: Any) -> None:
    """Raise a ValueError unless ``value`` is one that the field ``name`` may have."""
    if name in _CHOICES:
        allowed = _CHOICES[name]
        listed = value if name == "formats" and isinstance(value, list | tuple) else [value]
        if not listed or not all(isinstance(one, str) and one in allowed for one in listed):
            raise ValueError(f"{name}: expected {'some' if name == 'formats' else 'one'} of {', '.join(allowed)}")
    elif not (name == "grey_range" and value is None):
        most = LARGEST_SIDE if name in ("height", "width") else LARGEST_FILE
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            got = repr(value) if isinstance(value, int | float | str) else type(value).__name__
            raise ValueError(f"{name}: expected a whole number from 1 to {most:,}. Got {got[:100]}")


_CHOICES = {"resampling": get_args(Resampling), "fit": get_args(Fit), "formats": get_args(ImageFormat)}
_FIRST = {field.name for field in fields(ImageSpec)[:5]}  # height to max_pixels

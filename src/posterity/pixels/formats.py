"""What kind of file this is: Pillow's names of the formats that may be allowed, and the others by their first bytes."""

import functools
from collections.abc import Sequence

from PIL import Image

# In the order in which they are tried: the weaker the mark of a format, the later. DIB is a BMP without its header.
PILLOW_NAMES = {
    "jpeg": ("JPEG",),  # MPO, a JPEG file with several pictures, comes with it
    "png": ("PNG",),
    "gif": ("GIF",),
    "ppm": ("PPM",),
    "webp": ("WEBP",),
    "tiff": ("TIFF",),
    "avif": ("AVIF",),
    "jpeg2000": ("JPEG2000",),
    "qoi": ("QOI",),
    "icns": ("ICNS",),
    "dds": ("DDS",),
    "psd": ("PSD",),
    "bmp": ("BMP", "DIB"),
    "sgi": ("SGI",),
    "ico": ("ICO",),
    "pcx": ("PCX",),
    "tga": ("TGA",),
}
SNIFFED = 512  # bytes that `named` looks at

# First bytes, what the file then is, and why it is not read, or "".
_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"%!PS", "an EPS or PostScript file", "it is a program, which Ghostscript would have to run"),
    (b"\xc5\xd0\xd3\xc6", "an EPS file", "it is a program, which Ghostscript would have to run"),
    (b"%PDF", "a PDF file", "it may hold many pages"),
    (b"\xd7\xcd\xc6\x9a", "a WMF file", "only Windows draws it"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", ""),
    (b"GRIB", "a GRIB file", ""),
    (b"SIMPLE  =", "a FITS file", "its range of values is not defined"),
    (b"\xff\x0a", "a JPEG XL image", "Pillow does not read it"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image", "Pillow does not read it"),
    (b"PK\x03\x04", "a zip file (or an Office document)", ""),
    (b"\x1f\x8b", "a gzip file", ""),
    (b"7z\xbc\xaf'\x1c", "a 7z file", ""),
    (b"Rar!", "a RAR file", ""),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video", ""),
    (b"\0\0\x01\xba", "an MPEG video", ""),
    (b"\0\x05\x16\x07", "an AppleDouble file, which macOS puts beside a file", ""),
    (b"version https://git-lfs", "a Git LFS pointer, not the image itself", "`git lfs pull` fetches the image"),
    (b"SQLite format 3\0", "a SQLite data base", ""),
    (b"\x93NUMPY", "a NumPy array", ""),
)
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF"}


@functools.cache
def pillow_names(formats: tuple[str, ...]) -> tuple[str, ...]:
    """What `PIL.Image.open` calls ``formats``, in an order that does not depend on theirs."""
    names = [name for key, given in PILLOW_NAMES.items() if key in formats for name in given]
    if any(name not in Image.OPEN for name in names):
        Image.init()
    return tuple(name for name in names if name in Image.OPEN)  # one without AVIF has no AVIF


def key_of(pillow_name: str | None) -> str:
    """The choice of ``image.formats`` for what Pillow has opened."""
    return next((key for key, names in PILLOW_NAMES.items() if pillow_name in names), "jpeg")


def named(start: bytes, formats: Sequence[str]) -> str:
    """Say what a file is that none of ``formats`` fits, by its first `SNIFFED` bytes: what comes after "is"."""
    allowed = f"image.formats allows {', '.join(formats)}"
    for mark, what, reason in _STARTS:
        if start.startswith(mark):
            return f"{what}{f': {reason}' if reason else ''}; {allowed}"
    if start[4:8] == b"ftyp":
        brand = _BRANDS.get(start[8:12])
        if brand:
            return f"a {brand} image, which Pillow does not read: convert it to JPEG or PNG; {allowed}"
        return f"a video or another file of the MP4 family; {allowed}"
    if start[128:132] == b"DICM":
        return f"a DICOM file: export it to PNG, and see image.grey_range; {allowed}"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return f"a web page (HTML), perhaps the answer of a server that did not have the image; {allowed}"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return f"an SVG drawing, which has no pixels: convert it to PNG; {allowed}"
    return "not an image that Pillow can read"

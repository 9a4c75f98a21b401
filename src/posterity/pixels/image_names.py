"""Which files of a folder are images, as their names tell. No file is opened for it, and no decoder is loaded."""

from pathlib import PurePath

# The usual suffixes of each format that posterity can read: the keys are the choices for `image.formats`.
SUFFIXES = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "png": (".png", ".apng"),
    "webp": (".webp",),
    "avif": (".avif", ".avifs"),
    "gif": (".gif",),
    "tiff": (".tif", ".tiff"),
    "bmp": (".bmp", ".dib"),
    "jpeg2000": (".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
    "ppm": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "qoi": (".qoi",),
    "ico": (".ico",),
    "icns": (".icns",),
    "dds": (".dds",),
    "psd": (".psd",),
    "sgi": (".sgi", ".rgb", ".rgba", ".bw"),
    "pcx": (".pcx",),
    "tga": (".tga", ".icb", ".vda", ".vst"),
}
ALL_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
# macOS puts what its own file system keeps beside a file into this folder of a zip file, under the file's name.
NO_IMAGES_IN = "__MACOSX"


def is_image_path(relative_path: str) -> bool:
    """Whether a file found in a folder counts as an image, by its path relative to that folder.

    It has the suffix of a format that can be read, in any case of letters, and is neither hidden nor in a hidden folder
    (``.thumbnails/a.jpg``, ``._a.jpg``) nor in a ``__MACOSX``: such files are made by programs, and are no pictures of
    the user's. A file that a user names is opened whatever its name is.

    >>> is_image_path("a/b.JPG")
    True
    >>> is_image_path("a/._b.jpg")
    False
    """
    path = PurePath(relative_path)
    return path.suffix.lower() in ALL_SUFFIXES and not any(map(is_hidden, path.parts))


def is_hidden(name: str) -> bool:
    """Whether a file or a folder of this name, and all that is below it, was made by programs and not by the user."""
    return name == NO_IMAGES_IN or (name.startswith(".") and name != "..")

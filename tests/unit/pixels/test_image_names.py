import pytest
from PIL import Image

from posterity.pixels.image_names import ALL_SUFFIXES, SUFFIXES, is_image_path


@pytest.mark.parametrize(
    "path", ["a.jpg", "a.PNG", "x/y/a.b.Tiff", "../a.webp", "./a.jp2", "\udcff.gif", "MACOSX/a.bmp"]
)
def test_images(path):
    assert is_image_path(path)


@pytest.mark.parametrize(
    "path",
    ["a.txt", "jpg", ".jpg", "._a.jpg", ".a.png", "x/.git/a.png", "__MACOSX/a.jpg", "x/__MACOSX/._a.jpg", "a.eps", ""],
)
def test_other_files(path):
    assert not is_image_path(path)


def test_pillow_knows_every_suffix():
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}
    assert known >= ALL_SUFFIXES
    assert len(ALL_SUFFIXES) == sum(len(suffixes) for suffixes in SUFFIXES.values())

"""Through `posterity.pixels.decode.decode`, since nobody else may call `posterity.pixels.jpeg`."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from posterity.pixels.decode import decode
from posterity.pixels.resize import resize_by_area
from posterity.pixels.spec import ImageSpec

HEIGHT, WIDTH = 61, 90
SMOOTH = Image.effect_noise((WIDTH, HEIGHT), 90).filter(ImageFilter.GaussianBlur(1))
COLOURS = Image.merge("RGB", [SMOOTH, ImageOps.flip(SMOOTH), ImageOps.mirror(SMOOTH)])


def jpeg(image=COLOURS, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def by_pillow(content, shrink=1):
    with Image.open(io.BytesIO(content)) as image:
        if shrink > 1:
            image.draft(None, (image.width // shrink, image.height // shrink))
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


KINDS = {
    "4:2:0": jpeg(quality=75),
    "4:4:4": jpeg(quality=95, subsampling=0),
    "4:2:2, progressive": jpeg(progressive=True, subsampling=1),
    "stored as RGB": jpeg(keep_rgb=True),
    "grey": jpeg(SMOOTH),
    "restart markers": jpeg(restart_marker_rows=1),
    **{f"EXIF orientation {k}": jpeg(exif=exif(k)) for k in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_plain_jpegs_have_the_pixels_of_pillow_without_its_decoder(tmp_path, monkeypatch, kind):
    expected = by_pillow(KINDS[kind])
    path = tmp_path / "image.jpg"
    path.write_bytes(KINDS[kind])

    def refuse(_):
        raise AssertionError("decoded by Pillow")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    np.testing.assert_array_equal(decode(path, ImageSpec(*expected.shape[:2])), expected)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("height", "width", "shrink"),
    [(31, 22, 1), (30, 22, 1), (30, 45, 1), (15, 22, 2), (7, 11, 4), (8, 2, 2), (3, 5, 8), (1, 1, 8)],
)
def test_large_jpegs_are_scaled_by_the_decoder_to_no_less_than_twice_the_target(
    tmp_path, height, width, shrink, orientation
):
    # 61 high and 90 wide; lying on its side with orientation 6, and so is the target.
    content = jpeg(exif=exif(orientation))
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    if orientation == 6:
        height, width = width, height
    expected = resize_by_area(by_pillow(content, shrink), width, height)
    np.testing.assert_array_equal(decode(path, ImageSpec(height, width)), expected)


def test_pixels_alone_decide_the_result(tmp_path):
    content = jpeg(quality=80)
    pixels = Image.open(io.BytesIO(content))
    (tmp_path / "image.jpg").write_bytes(content)
    for suffix in ("png", "bmp", "tiff"):
        pixels.save(tmp_path / f"image.{suffix}")
    for fit in ("stretch", "pad", "crop"):
        spec = ImageSpec(47, 50, fit=fit)
        expected = decode(tmp_path / "image.jpg", spec)
        for suffix in ("png", "bmp", "tiff"):
            np.testing.assert_array_equal(decode(tmp_path / f"image.{suffix}", spec), expected)


def test_damage_that_pillow_forgives_is_forgiven(tmp_path):
    content = bytearray(jpeg())
    middle = len(content) // 2
    content[middle : middle + 8] = b"\xff\xd9" * 4  # the image ends too early, the file does not
    content += b"\xff\xd9"
    expected = by_pillow(bytes(content))
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    np.testing.assert_array_equal(decode(path, ImageSpec(HEIGHT, WIDTH)), expected)


def test_the_first_picture_of_a_multi_picture_jpeg(tmp_path):
    path = tmp_path / "image.jpg"
    COLOURS.save(path, "MPO", save_all=True, append_images=[ImageOps.invert(COLOURS)])
    np.testing.assert_array_equal(decode(path, ImageSpec(HEIGHT, WIDTH)), by_pillow(path.read_bytes()))

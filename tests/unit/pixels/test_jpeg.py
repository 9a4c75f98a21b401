"""Through `posterity.pixels.decode.decode`, since nobody else may call `posterity.pixels.jpeg`."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from posterity.pixels.decode import ImageProblem, decode, read_header
from posterity.pixels.jpeg import count_scans
from posterity.pixels.resize import resize_by_area
from posterity.pixels.spec import ImageSpec, Limits

HEIGHT, WIDTH = 61, 90
SMOOTH = Image.effect_noise((WIDTH, HEIGHT), 90).filter(ImageFilter.GaussianBlur(1))
WHOLE = ImageSpec(HEIGHT, WIDTH)
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


WAYS = {"baseline": {}, "progressive": {"progressive": True}, "restarts": {"restart_marker_blocks": 3}}
CMYK = Image.merge("CMYK", [SMOOTH] * 4)


def problem(content, spec=WHOLE):
    with pytest.raises(ImageProblem) as caught:
        decode(content, spec)
    assert caught.value.kind == "unreadable_image"
    return str(caught.value)


@pytest.mark.parametrize("image", [COLOURS, SMOOTH, CMYK], ids=["RGB", "grey", "CMYK"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("resampling", ["area", "bilinear"])
def test_only_the_end_marker_is_missing(image, way, resampling):
    content, spec = jpeg(image, **WAYS[way]), replace(WHOLE, resampling=resampling)
    expected = decode(content, spec)
    np.testing.assert_array_equal(expected, by_pillow(content))
    for length in (1, 2):
        np.testing.assert_array_equal(decode(content[:-length], spec), expected)


@pytest.mark.parametrize("image", [COLOURS, SMOOTH, CMYK], ids=["RGB", "grey", "CMYK"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("resampling", ["area", "bilinear"])
@pytest.mark.parametrize("share", [0.5, 0.75, 0.98])
def test_data_that_end_early_are_refused_with_and_without_an_end_marker(image, way, resampling, share):
    content, spec = jpeg(image, **WAYS[way]), replace(WHOLE, resampling=resampling)
    cut = content[: int(share * len(content))]
    for damaged in (cut, cut + b"\xff\xd9"):
        assert problem(damaged, spec).startswith(
            "cannot be decoded: image file is truncated or damaged (Corrupt JPEG data"
        )


def test_damage_in_the_middle_is_refused():
    content = bytearray(jpeg())
    middle = len(content) // 2
    content[middle : middle + 8] = b"\xff\xd9" * 4  # the image ends too early, the file does not
    assert "premature end of data segment" in problem(bytes(content) + b"\xff\xd9")
    pieces = bytearray(jpeg(progressive=True))
    pieces[middle : middle + 40] = bytes(40)
    assert "truncated or damaged" in problem(bytes(pieces))


@pytest.mark.parametrize("end", [b"\xff\xd9", b""])
def test_zeros_before_the_end_are_no_damage(end):
    content = jpeg()
    padded = content[:-2] + bytes(30) + end
    np.testing.assert_array_equal(decode(padded, WHOLE), by_pillow(content))


def scans_of(image, **options):
    """Scans as their markers say, in a file without a thumbnail, whose data have no FF DA: it would be FF 00 DA."""
    return jpeg(image, **options).count(b"\xff\xda")


@pytest.mark.parametrize("way", WAYS)
def test_scans_are_counted(way):
    content = jpeg(**WAYS[way])
    assert count_scans(content) == scans_of(COLOURS, **WAYS[way])
    assert count_scans(content[: len(content) // 2]) <= count_scans(content)
    for junk in (b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff" * 9, bytes(99)):
        assert count_scans(junk) == 0


def test_the_scans_of_a_thumbnail_do_not_count():
    tags = exif(1)
    content = jpeg(exif=tags.tobytes() + jpeg(progressive=True, quality=5), progressive=True)
    assert content.count(b"\xff\xda") == 20
    assert count_scans(content) == 10


def with_scans(content, number):
    """A progressive file with its last scan repeated: each repetition is decoded over the whole image."""
    start = content.rindex(b"\xff\xda")
    return content[:start] + content[start:-2] * number + content[-2:]


def test_files_of_many_scans_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    content = with_scans(jpeg(progressive=True), 400)
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    monkeypatch.setattr("simplejpeg.decode_jpeg", None)
    for look in (lambda: decode(content, WHOLE), lambda: decode(path, WHOLE), lambda: read_header(path, Limits())):
        with pytest.raises(ImageProblem, match=r"has 409 scans, over image.max_scans = 64") as caught:
            look()
        assert caught.value.kind == "oversized_image"
    assert read_header(path, Limits(max_scans=409)) == (WIDTH, HEIGHT)


def test_the_first_picture_of_a_multi_picture_jpeg(tmp_path):
    path = tmp_path / "image.jpg"
    COLOURS.save(path, "MPO", save_all=True, append_images=[ImageOps.invert(COLOURS)])
    np.testing.assert_array_equal(decode(path, ImageSpec(HEIGHT, WIDTH)), by_pillow(path.read_bytes()))

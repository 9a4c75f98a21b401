import hashlib
import io
import os
import pickle
import socket

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from posterity.errors import UserError
from posterity.pixels.decode import (
    ImageProblem,
    decode,
    decode_all,
    decode_all_with_remarks,
    read_header,
)
from posterity.pixels.spec import ImageSpec, Limits
from posterity.workers.threads import threads
from time_limit import time_limit

SPEC = ImageSpec(height=4, width=6)
RED = (255, 0, 0)


def save(folder, image, name="image.png", **options):
    path = folder / name
    image.save(path, **options)
    return path


def test_an_rgb_image_of_the_right_size_is_unchanged(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    decoded = decode(save(tmp_path, Image.fromarray(pixels)), SPEC)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (6, 4), 100), (100, 100, 100)),
        (Image.new("1", (6, 4), 1), (255, 255, 255)),
        (Image.new("LA", (6, 4), (0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (6, 4), (255, 0, 0, 128)), (255, 127, 127)),
        (Image.fromarray(np.full((4, 6), 0x80FF, np.uint16)), (128, 128, 128)),
    ],
    ids=["grey", "bilevel", "transparent-grey", "half-transparent-red", "16-bit"],
)
def test_every_mode_becomes_rgb(tmp_path, image, expected):
    decoded = decode(save(tmp_path, image), SPEC)
    assert np.abs(decoded.reshape(-1, 3).astype(int) - expected).max() <= 1


def test_a_transparent_palette_colour_is_laid_over_white(tmp_path):
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, *RED])
    assert decode(save(tmp_path, image, transparency=1), SPEC).min() == 255
    assert tuple(decode(save(tmp_path, image, transparency=0), SPEC)[0, 0]) == RED


def test_cmyk_jpeg(tmp_path):
    path = save(tmp_path, Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "image.jpg", quality=95)
    decoded = decode(path, SPEC)[0, 0].astype(int)
    assert decoded[0] > 200
    assert decoded[1:].max() < 60


def test_floating_point_pixels_are_refused(tmp_path):
    with pytest.raises(ImageProblem, match="floating-point") as caught:
        decode(save(tmp_path, Image.new("F", (6, 4), 0.5), "image.tiff"), SPEC)
    assert caught.value.kind == "unreadable_image"


def test_exif_rotation_is_applied(tmp_path):
    # Stored lying, 4 high and 8 wide, left half red; orientation 6 turns it clockwise: the red half comes to the top.
    stored = Image.new("RGB", (8, 4), "blue")
    stored.paste(RED, (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path, stored, exif=exif)
    decoded = decode(path, ImageSpec(height=8, width=4))
    assert tuple(decoded[0, 0]) == RED
    assert tuple(decoded[-1, 0]) == (0, 0, 255)
    assert read_header(path, Limits(max_pixels=100)) == (4, 8)


def test_fit(tmp_path):
    # 4 high, 8 wide: red, green, green, blue quarters; the target is as high and half as wide.
    image = Image.new("RGB", (8, 4), "green")
    image.paste(RED, (0, 0, 2, 4))
    image.paste((0, 0, 255), (6, 0, 8, 4))
    path = save(tmp_path, image)

    def row(fit):
        return [tuple(int(v) for v in pixel) for pixel in decode(path, ImageSpec(4, 4, "nearest", fit))[1]]

    green = (0, 128, 0)
    assert row("stretch") == [RED, green, green, (0, 0, 255)]
    assert row("crop") == [green] * 4
    assert row("pad") == [RED, green, green, (0, 0, 255)]
    padded = decode(path, ImageSpec(4, 4, "nearest", "pad"))
    assert padded[[0, 3]].max() == 0
    assert padded[1].max() == 255


def test_shrinking_antialiases(tmp_path):
    stripes = np.zeros((40, 60, 3), np.uint8)
    stripes[:, ::2] = 255
    decoded = decode(save(tmp_path, Image.fromarray(stripes)), SPEC)
    assert np.abs(decoded.astype(int) - 127).max() < 20


def test_a_large_jpeg_decodes_close_to_a_full_decode(tmp_path):
    ramp = np.linspace(0, 255, 900, dtype=np.uint8)
    pixels = np.stack([np.tile(ramp, (1200, 1)), np.tile(ramp[::-1], (1200, 1)), np.full((1200, 900), 90, np.uint8)], 2)
    path = save(tmp_path, Image.fromarray(pixels), "image.jpg", quality=95)
    with Image.open(path) as image:
        full = np.asarray(image.convert("RGB").resize((75, 100), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decode(path, ImageSpec(100, 75)).astype(int) - full).max() <= 4


def jpeg_bytes():
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "detail"),
    [(b"", "is empty"), (b"not an image", "is not an image"), (jpeg_bytes()[:900], "truncated")],
    ids=["empty", "text", "truncated"],
)
def test_damaged_files(tmp_path, content, detail):
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageProblem, match=detail) as caught:
        decode(path, SPEC)
    assert caught.value.kind == "unreadable_image"


def test_a_header_is_enough_for_read_header(tmp_path):
    path = tmp_path / "image.jpg"
    path.write_bytes(jpeg_bytes()[:900])
    assert read_header(path, Limits(max_pixels=64 * 64)) == (64, 64)


def test_missing_file(tmp_path):
    with pytest.raises(ImageProblem, match="no such file") as caught:
        read_header(tmp_path / "none.jpg", Limits())
    assert caught.value.kind == "missing_image"


def test_an_image_over_the_pixel_limit_is_not_decoded(tmp_path):
    path = save(tmp_path, Image.new("RGB", (6, 4)))
    with pytest.raises(ImageProblem, match=r"6 x 4 = 24 pixels, over image.max_pixels = 23") as caught:
        decode(path, ImageSpec(4, 6, max_pixels=23))
    assert caught.value.kind == "oversized_image"
    assert decode(path, ImageSpec(4, 6, max_pixels=24)).shape == (4, 6, 3)


def test_a_folder_is_not_an_image(tmp_path):
    with pytest.raises(ImageProblem, match="is a folder, not an image file"):
        decode(tmp_path, SPEC)


def test_a_problem_survives_the_way_to_another_process():
    problem = pickle.loads(pickle.dumps(ImageProblem("missing_image", "no such file")))
    assert (type(problem), problem.kind, str(problem)) == (ImageProblem, "missing_image", "no such file")


def test_decoding_keeps_the_order_and_reports_problems_in_place(tmp_path):
    paths = []
    for k in range(20):
        paths.append(tmp_path / f"{k}.png")
        if k == 7:
            paths[-1].write_bytes(b"")
        else:
            Image.new("RGB", (2, 3), (k, k, k)).save(paths[-1])
    decoded = list(decode_all(paths, ImageSpec(height=3, width=2), threads(3)))
    assert [k for k, image in enumerate(decoded) if isinstance(image, ImageProblem)] == [7]
    images = [image for image in decoded if not isinstance(image, ImageProblem)]
    assert [image[0, 0, 0] for image in images] == [k for k in range(20) if k != 7]


def test_an_image_of_another_digest_is_not_decoded(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for shade, path in enumerate(paths):
        Image.new("RGB", (2, 3), (shade, 0, 0)).save(path)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert len(list(decode_all(paths, SPEC, threads(1), digests=digests))) == 2
    with pytest.raises(UserError, match=r"b.png: has changed since stage validate read it. Run `dvc repro` again."):
        list(decode_all(paths, SPEC, threads(1), digests=digests[:1] * 2))


@pytest.mark.parametrize("content", [None, "folder", b"", b"not an image", jpeg_bytes()[:900]])
def test_the_problem_is_worded_alike_with_and_without_a_digest(tmp_path, content):
    path = tmp_path / "image.jpg"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else "0"
    (plain,) = decode_all([path], SPEC, threads(1))
    (checked,) = decode_all([path], SPEC, threads(1), digests=[digest])
    assert isinstance(plain, ImageProblem)
    assert isinstance(checked, ImageProblem)
    assert (checked.kind, str(checked)) == (plain.kind, str(plain))


def test_a_name_that_is_too_long_is_worded_alike_with_and_without_a_digest(tmp_path):
    path = tmp_path / ("x" * 300)
    (plain,) = decode_all([path], SPEC, threads(1))
    (checked,) = decode_all([path], SPEC, threads(1), digests=["0"])
    assert isinstance(plain, ImageProblem)
    assert isinstance(checked, ImageProblem)
    assert (checked.kind, str(checked)) == (plain.kind, str(plain))


def test_the_bytes_that_are_hashed_are_those_that_are_decoded(tmp_path, monkeypatch):
    path = save(tmp_path, Image.new("RGB", (6, 4), (1, 2, 3)))
    real = hashlib.sha256
    digest = real(path.read_bytes()).hexdigest()

    def hash_and_delete(content):
        path.unlink()
        return real(content)

    monkeypatch.setattr(hashlib, "sha256", hash_and_delete)
    (image,) = decode_all([path], SPEC, threads(1), digests=[digest])
    assert not isinstance(image, ImageProblem)
    assert image[0, 0].tolist() == [1, 2, 3]
    assert not path.exists()


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def detail_of(source, spec=SPEC, kind="unreadable_image"):
    with pytest.raises(ImageProblem) as caught:
        decode(source, spec)
    assert caught.value.kind == kind
    return str(caught.value)


@pytest.mark.parametrize("special", ["pipe", "device", "socket", "folder"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, special):
    path = tmp_path / "image.jpg"
    if special == "pipe":
        os.mkfifo(path)
    elif special == "device":
        path.symlink_to("/dev/zero")
    elif special == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    with time_limit(20):
        for found in (*decode_all([path], SPEC, threads(1)), *decode_all([path], SPEC, threads(1), digests=["0"])):
            assert isinstance(found, ImageProblem)
            assert found.kind == "unreadable_image"
            # A socket cannot even be opened.
            assert ("No such device" if special == "socket" else f"is a {special}".replace("a pipe", "a named")) in str(
                found
            )
        with pytest.raises(ImageProblem):
            read_header(path, Limits())


def test_a_dead_link_is_named(tmp_path):
    (tmp_path / "image.jpg").symlink_to("blob")
    detail = detail_of(tmp_path / "image.jpg", kind="missing_image")
    assert detail == "no such file: it is a link to blob, which does not exist"


@pytest.mark.parametrize(
    ("form", "key"),
    [
        ("JPEG", "jpeg"), ("MPO", "jpeg"), ("PNG", "png"), ("WEBP", "webp"), ("AVIF", "avif"), ("GIF", "gif"),
        ("TIFF", "tiff"), ("BMP", "bmp"), ("DIB", "bmp"), ("JPEG2000", "jpeg2000"), ("PPM", "ppm"), ("QOI", "qoi"),
        ("ICO", "ico"), ("ICNS", "icns"), ("DDS", "dds"), ("SGI", "sgi"), ("PCX", "pcx"), ("TGA", "tga"),
    ],
)  # fmt: skip
def test_a_format_is_read_only_if_it_is_allowed(form, key):
    content = encoded(Image.new("RGB", (32, 32), RED), form)
    assert decode(content, ImageSpec(4, 6, formats=(key,))).shape == (4, 6, 3)
    other = "png" if key != "png" else "gif"
    assert detail_of(content, ImageSpec(4, 6, formats=(other,))) == (
        f"is a {key.upper()} image, but image.formats allows {other} only: add {key} there or convert the file"
    )


def test_eps_is_refused_before_ghostscript_is_called(monkeypatch):
    monkeypatch.setattr("subprocess.check_call", None)
    content = encoded(Image.new("RGB", (32, 32), RED), "EPS")
    assert detail_of(content).startswith(
        "is an EPS or PostScript file: it is a program, which Ghostscript would have to run; image.formats allows jpeg"
    )


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"%PDF-1.7", "is a PDF file"),
        (b"\0\0\0\x18ftypheic", "is a HEIC image, which Pillow does not read: convert it to JPEG or PNG"),
        (b"\0\0\0\x18ftypisom", "is a video or another file of the MP4 family"),
        (b"\n<!DOCTYPE html><html>404", "is a web page (HTML), perhaps the answer of a server that did not have"),
        (b'<?xml version="1.0"?><svg>', "is an SVG drawing"),
        (bytes(128) + b"DICM", "is a DICOM file: export it to PNG"),
        (b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer, not the image itself"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "is an AppleDouble file"),
        (b"PK\x03\x04", "is a zip file"),
    ],
)
def test_other_files_are_named_by_their_first_bytes(start, said):
    assert detail_of(start + bytes(200)).startswith(said)


def test_a_png_with_a_long_text_is_read_and_one_with_an_endless_text_is_not():
    image, sizes = Image.new("RGB", (6, 4), RED), (1_200_000, 70_000_000)
    texts = [PngInfo(), PngInfo()]
    for text, size in zip(texts, sizes, strict=True):
        text.add_text("Comment", "y" * size, zip=True)
    sound, bomb = (encoded(image, "PNG", pnginfo=text) for text in texts)
    assert decode(sound, SPEC)[0, 0].tolist() == list(RED)
    assert "too large" in detail_of(bomb)


def test_a_longer_side_than_allowed_is_refused():
    content = encoded(Image.new("1", (1, 70_000)), "PNG")
    detail = detail_of(content, kind="oversized_image")
    assert detail == "1 x 70000 pixels, over image.max_side = 65,535"
    assert decode(content, ImageSpec(4, 6, max_side=70_000)).shape == (4, 6, 3)


def remarks_on(tmp_path, image, spec=SPEC, **options):
    path = save(tmp_path, image, **options)
    (found,) = decode_all_with_remarks([path], spec, threads(1))
    assert not isinstance(found, ImageProblem)
    np.testing.assert_array_equal(found.pixels, decode(path, spec))
    return found.pixels, [tuple(remark) for remark in found.remarks]


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("resampling", ["area", "lanczos"])
def test_an_image_of_one_colour_is_remarked_upon(tmp_path, fit, resampling):
    spec = ImageSpec(4, 6, resampling, fit)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 4), dtype=np.uint8)
    noise[..., 3] = 0
    # Wider than 4 x 6, so that it gets black bars.
    remarks = remarks_on(tmp_path, Image.fromarray(noise[:20]), spec)[1]
    assert remarks == [("constant_image", "comes out as one colour, (255, 255, 255)")]
    noise[0, 0, 3] = noise[39, 59, 3] = 255
    assert remarks_on(tmp_path, Image.fromarray(noise), ImageSpec(40, 60, resampling, fit))[1] == []


def test_one_pixel_anywhere_makes_two_colours(tmp_path):
    for row, column in ((0, 0), (3, 5), (499, 1), (256, 299)):
        pixels = np.full((500, 300, 3), 9, np.uint8)
        pixels[row, column, 1] = 10
        assert remarks_on(tmp_path, Image.fromarray(pixels), ImageSpec(500, 300))[1] == []


GREY = {"16": np.uint16, "32": np.int32}


def grey(values, bits):
    """An image 6 wide and 1 high."""
    return Image.fromarray(np.array([values], GREY[bits]))


@pytest.mark.parametrize("bits", GREY)
@pytest.mark.parametrize(
    ("levels", "grey_range", "expected", "remark"),
    [
        # By hand: floor(256 * level / (range + 1)).
        ((0, 255, 256, 32768, 65279, 65535), None, (0, 0, 1, 128, 254, 255), ""),
        ((0, 16, 1024, 2048, 4079, 4095), 4095, (0, 1, 64, 128, 254, 255), ""),
        ((0, 1, 2, 100, 254, 255), 255, (0, 1, 2, 100, 254, 255), ""),
        ((0, 1, 50, 99, 100, 100), 100, (0, 2, 126, 250, 253, 253), ""),
        ((0, 16, 1024, 2048, 4095, 3), None, (0, 0, 4, 8, 15, 0), "grey levels up to 4,095 of 65,535 only, so that it "
         "is nearly black; image.grey_range: 4095 would spread them"),
        ((0, 1, 2, 100, 255, 3), None, (0,) * 6, "grey levels up to 255 of 65,535 only, so that it is nearly black; "
         "image.grey_range: 255 would spread them"),
        ((0, 16, 1024, 2048, 4095, 4096), None, (0, 0, 4, 8, 15, 16), ""),
        ((0, 16, 1024, 2048, 4095, 9000), 4095, (0, 1, 64, 128, 255, 255), "grey levels from 0 to 9,000, of which "
         "those outside 0 to 4,095 are cut off; image.grey_range sets the highest"),
        ((0, 5, 10, 20, 30, 40), 4095, (0, 0, 0, 1, 1, 2), ""),
    ],
)  # fmt: skip
def test_deep_grey(tmp_path, bits, levels, grey_range, expected, remark):
    spec = ImageSpec(1, 6, grey_range=grey_range)
    pixels, remarks = remarks_on(tmp_path, grey(levels, bits), spec, name="image.tiff")
    assert pixels[0, :, 0].tolist() == list(expected)
    assert [text for kind, text in remarks if kind == "grey_levels"] == ([remark] if remark else [])


def test_32_bits_beyond_16(tmp_path):
    levels = (-5, 0, 1000, 65535, 65536, 1_000_000)
    pixels, remarks = remarks_on(tmp_path, grey(levels, "32"), ImageSpec(1, 6), name="image.tiff")
    assert pixels[0, :, 0].tolist() == [0, 0, 3, 255, 255, 255]
    assert remarks[0][1].startswith("grey levels from -5 to 1,000,000, of which those outside 0 to 65,535 are cut off")
    pixels, remarks = remarks_on(tmp_path, grey(levels[1:], "32"), ImageSpec(1, 5, grey_range=1_048_575), name="i.tiff")
    assert pixels[0, :, 0].tolist() == [0, 0, 15, 16, 244]
    assert remarks == []


def test_black_is_not_called_nearly_black(tmp_path):
    assert remarks_on(tmp_path, grey((0,) * 6, "16"))[1] == [("constant_image", "comes out as one colour, (0, 0, 0)")]

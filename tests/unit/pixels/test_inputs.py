import errno
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from posterity.pixels import decode, inputs
from posterity.pixels.spec import ImageSpec

SPEC = ImageSpec(height=8, width=6, resampling="area", fit="stretch", max_pixels=10_000)
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)


def png(array=PIXELS) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def arrays(images):
    return inputs.decode_some(list(inputs.sources(images, SPEC)), SPEC)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    return tmp_path / "a.png"


def test_all_forms_of_an_image_give_the_same_pixels(path):
    expected = decode.decode(str(path), SPEC)
    with path.open("rb") as file, Image.open(path) as opened:
        files = [file, io.BytesIO(png())]
        pictures = [opened, Image.fromarray(PIXELS), PIXELS, np.asfortranarray(PIXELS), PIXELS[:, :, ::-1][:, :, ::-1]]
        found = arrays([str(path), path, png(), bytearray(png()), memoryview(png()), *files, *pictures])
        assert len(found) == 12
        for array in found:
            np.testing.assert_array_equal(array, expected)
        assert not any(opened.closed for opened in files)


def test_a_file_is_read_from_its_start_wherever_it_stands():
    written = io.BytesIO()
    Image.fromarray(PIXELS).save(written, "PNG")
    assert written.tell() > 0
    np.testing.assert_array_equal(arrays(written)[0], decode.decode(png(), SPEC))


def test_what_is_read_once_only_is_read_from_where_it_stands():
    read_end, write_end = os.pipe()
    with open(write_end, "wb") as file:  # noqa: PTH123 - it has no path
        file.write(png())
    with open(read_end, "rb") as file:  # noqa: PTH123
        np.testing.assert_array_equal(arrays(file)[0], decode.decode(png(), SPEC))


class BrokenArchive:
    def read(self):
        raise zipfile.BadZipFile("Bad CRC-32 for file 'a.png'")


def test_a_file_that_cannot_be_read_is_a_problem_of_this_image_alone(path):
    closed = io.BytesIO(png())
    closed.close()
    first, second, third = arrays([closed, BrokenArchive(), path])
    assert str(first) == "cannot be read: I/O operation on closed file."
    assert str(second) == "cannot be read: Bad CRC-32 for file 'a.png'"
    np.testing.assert_array_equal(third, decode.decode(png(), SPEC))


def test_a_picture_whose_file_was_closed_is_a_problem(path):
    with Image.open(path) as picture:
        pass
    (problem,) = arrays(picture)
    assert str(problem) == "its file was closed before its pixels were read"


def test_a_generator_may_close_a_picture_when_the_next_is_asked_for(path):
    def opened():
        for _ in range(3):
            with Image.open(path) as picture:
                yield picture

    for array in arrays(opened()):
        np.testing.assert_array_equal(array, decode.decode(png(), SPEC))


def as_picture(frame):
    return Image.frombuffer("L", frame.shape[::-1], frame)  # Pillow shares the memory


@pytest.mark.parametrize(
    ("shape", "wrap"),
    [((12, 9), np.asarray), ((12, 9, 1), np.asarray), ((12, 9, 3), np.asarray), ((12, 9), as_picture)],
)
def test_a_generator_may_use_its_memory_again(shape, wrap):
    def frames():
        frame = np.zeros(shape, np.uint8)
        for level in (10, 20, 30):
            frame[:] = level
            yield wrap(frame)

    assert [array.mean() for array in arrays(frames())] == [10, 20, 30]


@pytest.mark.parametrize("shape", [(12, 9), (12, 9, 1)])
def test_grey_arrays(shape):
    grey = PIXELS[..., 0]
    (array,) = arrays([grey.reshape(shape)])
    np.testing.assert_array_equal(array, decode.decode(png(grey), SPEC))


def test_transparent_arrays_are_laid_over_white():
    (array,) = arrays(np.zeros((4, 4, 4), np.uint8))
    assert array.min() == 255


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "I;16", "1", "RGBA"])
def test_a_picture_is_converted_like_a_file_of_its_mode(mode):
    grey = (PIXELS[..., 0].astype(np.uint16) << 8) if mode == "I;16" else PIXELS
    image = Image.fromarray(grey) if mode == "I;16" else Image.fromarray(PIXELS).convert(mode)
    stream = io.BytesIO()
    image.save(stream, "TIFF" if mode == "CMYK" else "PNG")
    before = image.tobytes()
    of_picture, of_file = arrays([image, stream.getvalue()])
    np.testing.assert_array_equal(of_picture, of_file)
    assert image.tobytes() == before


def test_16_bits_in_either_byte_order_are_the_same():
    grey = np.arange(12 * 9, dtype=np.uint16).reshape(12, 9) << 8
    big = Image.frombytes(
        "I;16B", (9, 12), grey.astype(">u2").tobytes()
    )  # as TIFF files of Motorola byte order have it
    first, second = arrays([big, Image.fromarray(grey)])
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first)) > 10


def test_the_rotation_of_a_camera_is_applied_and_the_callers_image_stays():
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG", exif=exif)
    with Image.open(stream) as image:
        of_picture, of_file = arrays([image, stream.getvalue()])
        np.testing.assert_array_equal(of_picture, of_file)
        assert image.size == (9, 12)


def test_one_image_is_an_image_and_not_its_parts(path):
    for one in (str(path), path, png(), Image.fromarray(PIXELS), PIXELS, io.BytesIO(png())):
        assert len(list(inputs.sources(one, SPEC))) == 1


def test_names(path):
    with path.open("rb") as file:
        found = [source.name for source in inputs.sources([path, png(), file, PIXELS], SPEC)]
    assert found == [str(path), "image 2", str(path), "image 4"]


def test_paths_of_other_kinds(path, tmp_path):
    (entry,) = os.scandir(os.fsencode(tmp_path))  # its path is bytes
    table = {"path": np.array([str(path)], object), "text": np.array([str(path)])}  # as columns of pandas are
    for one in (entry, [entry], table["path"], table["text"], {str(path)}):
        (source,) = inputs.sources(one, SPEC)
        assert source == (str(path), str(path))


def test_folders_can_be_counted(tmp_path, path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "more").mkdir()
    for name in ("b.png", "a.png"):
        (tmp_path / "more" / name).write_bytes(png())
    more = [str(tmp_path / "more" / name) for name in ("a.png", "b.png")]
    given = [path, tmp_path / "more", PIXELS, str(tmp_path / "empty"), "gone.png"]
    assert inputs.expanded(given) == [path, *more, PIXELS, str(tmp_path / "empty"), "gone.png"]
    assert inputs.expanded(str(tmp_path / "more")) == more
    assert inputs.expanded(path) == [path]
    names = [source.name for source in inputs.sources(given, SPEC)]
    assert names == [source.name for source in inputs.sources(inputs.expanded(given), SPEC)]
    assert names == [str(path), *more, "image 4", str(tmp_path / "empty"), "gone.png"]
    generator = iter(given)
    assert inputs.expanded(generator) is generator


def test_a_folder_that_may_not_be_entered_is_a_problem(tmp_path, path, monkeypatch):
    for name in ("closed", ".hidden"):
        (tmp_path / name).mkdir()
    scan = os.scandir

    def scandir(place):
        if os.path.basename(place) in ("closed", ".hidden"):  # noqa: PTH119 - as os.walk calls it
            raise PermissionError(errno.EACCES, "Permission denied", place)
        return scan(place)

    monkeypatch.setattr(os, "scandir", scandir)
    assert inputs.images_in(str(tmp_path)) == [str(path), str(tmp_path / "closed")]
    _, problem = arrays(tmp_path)
    assert str(problem) == "is a folder, not an image file"  # permitted by the operating system, which opens it


def test_a_folder_stands_for_its_images(tmp_path, path):
    for name in ("sub/b.JPG", "._a.png", "__MACOSX/a.png", ".hidden/c.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png())
    assert [source.name for source in inputs.sources(tmp_path, SPEC)] == [str(path), str(tmp_path / "sub/b.JPG")]
    (tmp_path / "empty").mkdir()
    ((_, problem),) = inputs.sources([tmp_path / "empty"], SPEC)
    assert str(problem) == "is a folder without images"


def test_what_is_no_file_is_a_problem_and_no_wait(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "dead.png").symlink_to("nowhere")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "more.png").mkdir()
    (tmp_path / "more.png/a.png").write_bytes(png())  # no problem: there are images in this folder
    found = {Path(source.name).name: source for source in inputs.sources(tmp_path, SPEC)}
    assert sorted(found) == ["a.png", "dead.png", "fifo.png", "folder.png"]
    del found["a.png"]
    problems = [str(inputs.decode_some([found[name]], SPEC)[0]) for name in sorted(found)]
    assert problems == [
        "no such file: it is a link to nowhere, which does not exist",
        "is a named pipe (FIFO), not an image file",
        "is a folder, not an image file",
    ]
    (problem,) = arrays("/dev/null")
    assert str(problem) == "is a device, not an image file"


def test_images_are_taken_one_by_one():
    def endless():
        while True:
            yield PIXELS

    found = inputs.sources(endless(), SPEC)
    assert [next(found).name for _ in range(3)] == ["image 1", "image 2", "image 3"]


@pytest.mark.parametrize(
    "wrong",
    [None, 3, [None], [3], {"a": 1}.items(), [["nested.png"]], {"image": png()}, str, [Image.Image], io.BytesIO],
)
def test_a_wrong_type_is_one_clear_error(wrong):
    with pytest.raises(TypeError, match=r"expected a path, a folder, the bytes of an image file, .* Got "):
        list(inputs.sources(wrong, SPEC))


@pytest.mark.parametrize(
    "array", [PIXELS.astype(float), PIXELS[..., :2], np.zeros((2, 4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_a_wrong_array_says_what_an_array_has_to_be(array):
    with pytest.raises(TypeError, match=r"expected an array of uint8, 0 to 255, .* Several images go into a list"):
        list(inputs.sources([array], SPEC))


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("resampling", ["area", "nearest", "lanczos"])
@pytest.mark.parametrize("size", [(12, 9), (8, 6), (8, 20), (3, 50)])
def test_pixels_of_any_layout_in_memory_are_fitted_as_those_of_a_file(fit, resampling, size):
    spec = ImageSpec(height=8, width=6, resampling=resampling, fit=fit)
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = decode.decode(png(pixels), spec)
    frozen = pixels.copy()
    frozen.flags.writeable = False
    mirrored = pixels[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1]
    for given in (pixels, frozen, mirrored, np.asfortranarray(pixels), Image.fromarray(pixels)):
        ((_, array),) = inputs.sources(given, spec)
        np.testing.assert_array_equal(array, expected)
        assert not isinstance(given, np.ndarray) or not np.shares_memory(array, given)


def test_the_error_says_which_image_is_wrong(path):
    for wrong, got in [(3, "int as image 2: 3"), (PIXELS / 255, r"float64 with shape \(12, 9, 3\) as image 2")]:
        with pytest.raises(TypeError, match=f"Got {got}"):
            inputs.check([path, wrong])
        with pytest.raises(TypeError, match=f"Got {got}"):
            list(inputs.sources(iter([path, wrong]), SPEC))


class Text:
    def read(self):
        return "text"


def test_a_file_of_text_is_refused():
    with pytest.raises(TypeError, match=r"mode 'rb'\)\. Got one that reads str"):
        list(inputs.sources(Text(), SPEC))
    with pytest.raises(TypeError, match=r"mode 'rb'"):
        list(inputs.sources(io.StringIO("x"), SPEC))
    assert isinstance(arrays([b""])[0], decode.ImageProblem)


def test_an_oversized_picture_is_a_problem():
    (problem,) = arrays(np.zeros((101, 100), np.uint8))
    assert "100 x 101 = 10,100 pixels, over image.max_pixels" in str(problem)


def test_one_picture_may_be_given_many_times(path):
    with Image.open(path) as image:
        found = arrays([image] * 16)
    assert all(np.array_equal(array, found[0]) for array in found)


def test_a_damaged_picture_is_a_problem(path):
    path.write_bytes(path.read_bytes()[:-60])
    with Image.open(path) as image:
        (problem,) = arrays([image])
    assert str(problem).startswith("cannot be decoded: ")

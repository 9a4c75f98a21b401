import io
import os
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
    return inputs.decode_some(list(inputs.sources(images)), SPEC)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    return tmp_path / "a.png"


def test_all_forms_of_an_image_give_the_same_pixels(path):
    expected = decode.decode(str(path), SPEC)
    with path.open("rb") as file, Image.open(path) as opened:
        file_at_its_end = io.BytesIO(png())
        forms = [str(path), path, png(), bytearray(png()), file, opened, Image.fromarray(PIXELS), PIXELS]
        for array in arrays(forms):
            np.testing.assert_array_equal(array, expected)
        assert not file.closed
        assert file_at_its_end.tell() == 0


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
        assert len(list(inputs.sources(one))) == 1


def test_names(path):
    with path.open("rb") as file:
        found = [source.name for source in inputs.sources([path, png(), file, PIXELS])]
    assert found == [str(path), "image 2", str(path), "image 4"]


def test_a_folder_stands_for_its_images(tmp_path, path):
    for name in ("sub/b.JPG", "._a.png", "__MACOSX/a.png", ".hidden/c.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png())
    assert [source.name for source in inputs.sources(tmp_path)] == [str(path), str(tmp_path / "sub/b.JPG")]
    (tmp_path / "empty").mkdir()
    ((_, problem),) = inputs.sources([tmp_path / "empty"])
    assert str(problem) == "is a folder without images"


def test_what_is_no_file_is_a_problem_and_no_wait(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "dead.png").symlink_to("nowhere")
    (tmp_path / "folder.png").mkdir()
    found = {Path(source.name).name: source for source in inputs.sources(tmp_path)}
    assert sorted(found) == ["dead.png", "fifo.png"]
    problems = [str(inputs.decode_some([found[name]], SPEC)[0]) for name in sorted(found)]
    assert problems == [
        "no such file: it is a link to nowhere, which does not exist",
        "is a named pipe (FIFO), not an image file",
    ]
    (problem,) = arrays("/dev/null")
    assert str(problem) == "is a device, not an image file"


def test_images_are_taken_one_by_one():
    def endless():
        while True:
            yield PIXELS

    found = inputs.sources(endless())
    assert [next(found).name for _ in range(3)] == ["image 1", "image 2", "image 3"]


@pytest.mark.parametrize("wrong", [None, 3, [None], [3], {"a": 1}.items(), [["nested.png"]]])
def test_a_wrong_type_is_one_clear_error(wrong):
    with pytest.raises(TypeError, match=r"expected a path, a folder, the bytes of an image file, .* Got "):
        list(inputs.sources(wrong))


@pytest.mark.parametrize(
    "array", [PIXELS.astype(float), PIXELS[..., :2], np.zeros((2, 4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_a_wrong_array_says_what_an_array_has_to_be(array):
    with pytest.raises(TypeError, match=r"expected an array of uint8, 0 to 255, .* Several images go into a list"):
        list(inputs.sources([array]))


def test_a_file_of_text_is_refused():
    with pytest.raises(TypeError, match=r"mode 'rb'"):
        list(inputs.sources(io.StringIO("x")))
    assert isinstance(arrays([b""])[0], decode.ImageProblem)


def test_an_oversized_picture_is_a_problem():
    (problem,) = arrays(np.zeros((101, 100), np.uint8))
    assert "100 x 101 = 10,100 pixels, over image.max_pixels" in str(problem)


def test_a_buffer_that_the_caller_uses_again_is_copied():
    def frames():
        buffer = np.zeros((8, 6), np.uint8)
        for level in range(0, 50, 5):
            buffer[:] = level
            yield buffer

    assert [int(array.max()) for array in arrays(frames())] == list(range(0, 50, 5))


def test_one_picture_may_be_given_many_times(path):
    with Image.open(path) as image:
        found = arrays([image] * 16)
    assert all(np.array_equal(array, found[0]) for array in found)


def test_a_damaged_picture_is_a_problem(path):
    path.write_bytes(path.read_bytes()[:-60])
    with Image.open(path) as image:
        (problem,) = arrays([image])
    assert str(problem).startswith("cannot be decoded: ")

"""The picture beside its labels, and the preview of half blocks."""

import io

import numpy as np
from rich.console import Console

from posterity.showing import picture, preview
from posterity.showing.picture import LabelState

PIXELS = np.arange(240 * 4 * 3, dtype=np.uint64).astype(np.uint8).reshape(240, 4, 3)


def test_the_pixels_are_drawn_as_they_are_twice_as_large():
    drawn = np.asarray(picture.draw(PIXELS, "a", [], []))
    m = picture.MARGIN
    assert (drawn[m : m + 480 : 2, m : m + 8 : 2] == PIXELS).all()
    assert (drawn[m + 1 : m + 480 : 2, m + 1 : m + 8 : 2] == PIXELS).all()


def test_a_bar_is_as_long_as_its_probability_and_the_threshold_a_line():
    state = LabelState("Жанр ü 漢", "present", 0.5, 0.8, False)
    drawn = np.asarray(picture.draw(PIXELS, "a", [state], []))
    start = 8 + 2 * picture.MARGIN + 22 + picture.NAME_WIDTH + 8
    row = drawn[picture.MARGIN + 2 * picture.LINE + 10]
    green = np.flatnonzero((row == picture.TRUE).all(axis=1))
    dark = np.flatnonzero((row == picture.INK).all(axis=1))
    bar = green[green >= start]
    assert (bar[0], bar[-1]) == (start, start + 75)
    assert start + 120 in dark


def test_letters_beyond_ascii_are_drawn_and_long_names_end_in_dots():
    def name(text):
        drawn = np.asarray(picture.draw(PIXELS, "a", [LabelState(text, "absent")], []))
        return drawn[picture.MARGIN + 2 * picture.LINE :, 8 + 2 * picture.MARGIN + 20 :]

    assert len({name(text).tobytes() for text in "Жäñ漢"}) == 4  # not one box for all
    assert (name("m" * 300)[:, picture.NAME_WIDTH + 4 :] == 255).all()


def test_the_same_picture_has_the_same_bytes():
    def saved():
        stream = io.BytesIO()
        picture.draw(PIXELS, "a", [LabelState("b", "unknown", 0.1, 2.0, False)], ["c " * 60]).save(stream, format="PNG")
        return stream.getvalue()

    assert saved() == saved()


def test_two_pixels_one_above_the_other_are_one_character():
    pixels = np.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]], np.uint8)
    stream = io.StringIO()
    Console(file=stream, force_terminal=True, color_system="truecolor", width=10).print(preview.preview(pixels, 10))
    assert "\x1b[38;2;1;2;3;48;2;7;8;9m▀" in stream.getvalue()
    assert "\x1b[38;2;4;5;6;48;2;10;11;12m▀" in stream.getvalue()


def test_a_large_picture_fits_and_a_thin_one_has_a_line():
    assert max(map(len, preview.preview(np.zeros((400, 300, 3), np.uint8), 20).plain.splitlines())) == 20
    assert preview.preview(np.zeros((1, 300, 3), np.uint8), 20).plain == "▀" * 20 + "\n"


def test_there_is_a_preview_in_a_terminal_of_all_colours_only():
    def can(**options):
        return preview.can_show(Console(file=io.StringIO(), **options))

    assert can(force_terminal=True, color_system="truecolor", no_color=False)
    assert not can(force_terminal=True, color_system="truecolor", no_color=True)
    assert not can(force_terminal=True, color_system="256")
    assert not can(force_terminal=False, color_system="truecolor")

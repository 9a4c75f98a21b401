"""One synthetic poster: what is drawn, given which cues it has to carry.

Nothing here knows a label's name. A `Look` says how a label shows itself; `draw_poster` turns the looks of one image
into pixels, each cue only with some probability and never twice in the same way. There is no text, because a font
would have to be shipped and is rasterised differently from machine to machine: titles are rows of bars.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from posterity.synthetic.motifs import MOTIFS, Colour, Rng, place

WIDTHS = (260, 300)  # pixels, both ends included
HEIGHTS = (380, 460)

# How often a cue that belongs to a label is really shown; otherwise it is missing (a motif) or drawn by lot (the rest).
# Below 1, so that no model can be right every time, and not much below for motifs and inks: an earlier, looser version
# (0.86 and 0.6, inks that changed with the background) let a CNN learn its 900 images by heart and little else.
P_MOTIF = 0.95
P_MOTIF_COLOUR = 0.92
P_BACKGROUND_HUE = 0.80
P_BACKGROUND_TONE = 0.80
P_TEXTURE = 0.60
P_STRAY_MOTIF = 0.12  # a small motif of a label that the image does not have

# Lightness and chroma of the background in OKLCH (lightness: 0 black, 1 white). The motifs lie in between, so that one
# ink stands out on both.
TONES = {"dark": ((0.21, 0.34), (0.06, 0.105)), "light": ((0.87, 0.95), (0.035, 0.08))}
PRINT = {"dark": (0.78, 0.90), "light": (0.34, 0.46)}  # lightness of title and frame


@dataclass(frozen=True)
class Look:
    """How a label shows itself.

    Parameters
    ----------
    motif : str
        A key of `posterity.synthetic.motifs.MOTIFS`.
    ink : (float, float, float)
        Lightness, chroma and hue of the motif, in OKLCH.
    hue : float
        Hue of the background, in degrees.
    tone : str
        A key of `TONES`.
    texture : str
        A key of `TEXTURES`.
    """

    motif: str
    ink: tuple[float, float, float]
    hue: float
    tone: str
    texture: str


def colour(lightness: float, chroma: float, hue: float) -> Colour:
    """Convert OKLCH to 8-bit sRGB; equal lightness looks equally light at every hue, which HSV does not give.

    Parameters
    ----------
    lightness : float
        From 0 to 1.
    chroma : float
        0 is grey; about 0.2 is the most that sRGB can show at most hues. What lies outside sRGB is clipped.
    hue : float
        Degrees; 30 is red, 90 yellow, 145 green, 260 blue, 330 magenta.

    Notes
    -----
    The matrices are those of https://bottosson.github.io/posts/oklab/.
    """
    a = chroma * math.cos(math.radians(hue))
    b = chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    red, green, blue = (round(255 * _gamma(min(max(value, 0.0), 1.0))) for value in linear)
    return red, green, blue


@dataclass(frozen=True)
class Poster:
    """A poster, and where its motifs are.

    Attributes
    ----------
    image : PIL.Image.Image
        RGB, width within `WIDTHS`, height within `HEIGHTS`.
    boxes : dict of Look to (int, int, int, int)
        The smallest box around all that was drawn of a look's motif: left, top, right and bottom in pixels, the last
        two exclusive. A look whose motif was left out has none.
    """

    image: Image.Image
    boxes: dict[Look, tuple[int, int, int, int]]


def draw_poster(looks: Sequence[Look], rng: Rng) -> Poster:
    """Draw one poster that carries the cues of ``looks``.

    Parameters
    ----------
    looks : sequence of Look
        One to three; their order does not matter to a viewer but does to the random draws.
    rng : numpy.random.Generator
        The only source of chance: the same state gives the same pixels.

    Returns
    -------
    Poster
        The image and the places of the motifs.
    """
    width = int(rng.integers(*WIDTHS, endpoint=True))
    height = int(rng.integers(*HEIGHTS, endpoint=True))
    lead = looks[int(rng.integers(len(looks)))]
    hue = lead.hue + rng.normal(0, 14) if rng.random() < P_BACKGROUND_HUE else rng.uniform(0, 360)
    tone = lead.tone if rng.random() < P_BACKGROUND_TONE else str(rng.choice(list(TONES)))
    texture = lead.texture if rng.random() < P_TEXTURE else str(rng.choice(list(TEXTURES)))

    image = Image.fromarray(_background(width, height, hue, tone, rng))
    draw = ImageDraw.Draw(image)
    _scenery(draw, width, height, hue, tone, rng)
    title_on_top = rng.random() < 0.25
    title_height = height * rng.uniform(0.13, 0.2)
    top = title_height if title_on_top else 0.0
    stage = (0.0, top, float(width), top + height - title_height)

    boxes = {}
    shown = [look for look in looks if rng.random() < P_MOTIF]
    for look, (x, y, radius) in zip(shown, place(len(shown), stage, rng), strict=True):
        lightness, chroma, own_hue = look.ink
        ink_hue = own_hue + rng.normal(0, 6) if rng.random() < P_MOTIF_COLOUR else rng.uniform(0, 360)
        ink = colour(lightness + rng.normal(0, 0.02), chroma, ink_hue)
        before = image.copy()
        MOTIFS[look.motif](draw, x, y, radius, ink, rng)
        if (box := ImageChops.difference(before, image).getbbox()) is not None:
            boxes[look] = box
    if rng.random() < P_STRAY_MOTIF:
        stray = list(MOTIFS.values())[rng.integers(len(MOTIFS))]
        ink = colour(0.65, 0.15, rng.uniform(0, 360))
        stray(draw, rng.uniform(30, width - 30), rng.uniform(top + 30, top + 60), rng.uniform(16, 24), ink, rng)
    _title(draw, width, 0.0 if title_on_top else height - title_height, title_height, _print(hue, tone, rng), rng)
    if rng.random() < 0.25:
        inset = int(rng.integers(6, 11))
        draw.rectangle((inset, inset, width - inset - 1, height - inset - 1), outline=_print(hue, tone, rng), width=2)
    return Poster(_finish(image, texture, rng), boxes)


def _background(width: int, height: int, hue: float, tone: str, rng: Rng) -> NDArray[np.uint8]:
    """A gradient between two neighbouring colours, straight or round: uint8 (height, width, 3)."""
    (low, high), chromas = TONES[tone]
    chroma = rng.uniform(*chromas)
    start = np.array(colour(rng.uniform(low, high), chroma, hue), dtype=np.float32)
    end = np.array(colour(rng.uniform(low, high), chroma, hue + rng.normal(0, 22)), dtype=np.float32)
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    if rng.random() < 0.4:
        share = np.hypot(x - np.float32(rng.uniform(0.3, 0.7)), y - np.float32(rng.uniform(0.2, 0.6)))
    else:
        share = y + np.float32(rng.uniform(-0.5, 0.5)) * (x - np.float32(0.5))
    channels = [a + np.clip(share, 0, 1) * (b - a) for a, b in zip(start, end, strict=True)]
    gradient: NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return gradient


def _scenery(draw: ImageDraw.ImageDraw, width: int, height: int, hue: float, tone: str, rng: Rng) -> None:
    """Large quiet shapes in the background's own colours; they mean nothing."""
    lightness, chroma = TONES[tone]

    def quiet() -> Colour:
        shade = rng.uniform(*lightness) + rng.choice([-0.05, 0.05])
        return colour(shade, rng.uniform(*chroma), hue + rng.normal(0, 20))

    for _ in range(rng.integers(0, 3)):
        kind = rng.integers(4)
        if kind == 0:  # a disc
            x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(40, 130)
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=quiet())
        elif kind == 1:  # a horizon
            left, right = rng.uniform(0.5, 0.9, size=2) * height
            draw.polygon([(0, left), (width, right), (width, height), (0, height)], fill=quiet())
        elif kind == 2:  # a panel
            left = rng.uniform(0, 0.6) * width
            draw.rectangle((left, 0, left + rng.uniform(0.1, 0.4) * width, height), fill=quiet())
        else:  # a few hairlines
            for _ in range(rng.integers(2, 6)):
                (x0, x1), (y0, y1) = rng.uniform(0, width, 2), rng.uniform(0, height, 2)
                draw.line((x0, y0, x1, y1), fill=quiet(), width=2)


def _title(draw: ImageDraw.ImageDraw, width: int, top: float, height: float, ink: Colour, rng: Rng) -> None:
    """Words as bars: one or two lines of large letters, then a line of small print."""
    lines = int(rng.integers(1, 3))
    letter_height = height * (0.42 if lines == 1 else 0.24)
    y = top + 0.16 * height
    for line in range(lines + 1):
        small_print = line == lines
        size = 3.0 if small_print else letter_height
        letter = 3.0 if small_print else letter_height * rng.uniform(0.35, 0.6)
        gap = max(2.0, 0.3 * letter)
        count = int(min(rng.uniform(0.45, 0.85) * width / (letter + gap), 40))
        x = (width - count * (letter + gap) + gap) / 2
        for _ in range(count):
            if rng.random() > 0.14:  # else a space between two words
                draw.rectangle((x, y, x + letter - 1, y + size - 1), fill=ink)
            x += letter + gap
        y += size + 0.1 * height


def _print(hue: float, tone: str, rng: Rng) -> Colour:
    return colour(rng.uniform(*PRINT[tone]), rng.uniform(0.02, 0.07), hue)


def _scanlines(height: int, width: int, rng: Rng) -> NDArray[np.float32]:
    rows = _wave(np.arange(height)[:, None], rng.uniform(5, 7))
    return np.broadcast_to(rows, (height, width))


def _hatching(height: int, width: int, rng: Rng) -> NDArray[np.float32]:
    y, x = np.ogrid[0:height, 0:width]
    slope = rng.choice([-1, 1]) * rng.uniform(0.8, 1.2)
    return _wave(x + slope * y, rng.uniform(9, 12))


def _halftone(height: int, width: int, rng: Rng) -> NDArray[np.float32]:
    y, x = np.ogrid[0:height, 0:width]
    period = rng.uniform(8, 11)
    return np.float32(1.5) * _wave(x, period) * _wave(y, period)


def _grain(height: int, width: int, rng: Rng) -> NDArray[np.float32]:
    small = rng.standard_normal((height // 4 + 1, width // 4 + 1), dtype=np.float32)
    return np.repeat(np.repeat(small, 4, axis=0), 4, axis=1)[:height, :width]


def _plain(height: int, width: int, rng: Rng) -> NDArray[np.float32]:
    return np.zeros((height, width), dtype=np.float32)


# Each gives float32 (height, width) of about unit size, which is added to the brightness.
TEXTURES: dict[str, Callable[[int, int, Rng], NDArray[np.float32]]] = {
    "plain": _plain,
    "scanlines": _scanlines,
    "hatching": _hatching,
    "halftone": _halftone,
    "grain": _grain,
}


def _finish(image: Image.Image, texture: str, rng: Rng) -> Image.Image:
    """Soften, print on paper (texture, noise, darker corners), expose a little too much or too little."""
    soft = image.filter(ImageFilter.BoxBlur(rng.uniform(0.5, 1.1)))
    width, height = soft.size
    light = np.float32(rng.uniform(3, 6)) * TEXTURES[texture](height, width, rng)
    light = light + np.float32(rng.uniform(2, 6)) * rng.standard_normal((height, width), dtype=np.float32)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    exposure = np.float32(rng.uniform(0.9, 1.08)) * (1 - np.float32(rng.uniform(0, 0.14)) * (x * x + y * y))
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    for channel, values in enumerate(soft.split()):
        printed = (np.asarray(values, dtype=np.float32) + light) * exposure
        pixels[..., channel] = np.clip(np.rint(printed), 0, 255)
    return Image.fromarray(pixels)


def _wave(position: NDArray[Any], period: float) -> NDArray[np.float32]:
    wave: NDArray[np.float32] = np.sin(position.astype(np.float32) * np.float32(2 * math.pi / period))
    return wave


def _gamma(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055

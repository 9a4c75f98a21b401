"""The shapes of the synthetic posters: flat, bold, and fit for telling apart at a quarter of the size."""

import math
from collections.abc import Callable

import numpy as np
from PIL import ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]
Rng = np.random.Generator
Box = tuple[float, float, float, float]  # left, top, right, bottom
Motif = Callable[[ImageDraw.ImageDraw, float, float, float, Colour, Rng], None]


def place(count: int, stage: Box, rng: Rng) -> list[tuple[float, float, float]]:
    """Find room for ``count`` motifs (0 to 3) within ``stage``.

    Returns
    -------
    list of (x, y, radius)
        In pixels, in random order. The circles touch at most a little.
    """
    left, top, right, bottom = stage
    width, height = right - left, bottom - top
    # Shares of the stage: centre x, centre y, radius as a share of the width.
    layouts: dict[int, list[list[tuple[float, float, float]]]] = {
        0: [[]],
        1: [[(0.5, 0.5, 0.4)], [(0.5, 0.44, 0.38)]],
        2: [[(0.36, 0.29, 0.3), (0.64, 0.72, 0.3)], [(0.64, 0.29, 0.3), (0.36, 0.72, 0.3)]],
        3: [
            [(0.5, 0.27, 0.27), (0.26, 0.74, 0.24), (0.74, 0.74, 0.24)],
            [(0.27, 0.27, 0.24), (0.73, 0.27, 0.24), (0.5, 0.72, 0.27)],
        ],
    }
    layout = layouts[count][rng.integers(len(layouts[count]))]
    spots = [
        (
            left + width * (x + rng.uniform(-0.04, 0.04)),
            top + height * (y + rng.uniform(-0.04, 0.04)),
            width * radius * rng.uniform(0.85, 1.05),
        )
        for x, y, radius in layout
    ]
    return [spots[k] for k in rng.permutation(count)]


def rings(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, ink: Colour, rng: Rng) -> None:
    """Concentric circles."""
    count = int(rng.integers(3, 5))
    for k in range(count):
        r = radius * (k + 0.6) / (count - 0.4)
        draw.ellipse((x - r, y - r, x + r, y + r), outline=ink, width=max(3, round(0.11 * radius)))


def dots(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, ink: Colour, rng: Rng) -> None:
    """Loose balls on a ring around one in the middle."""
    turn = rng.uniform(0, 2 * math.pi)
    spots = [(x, y)] + [
        (x + 0.72 * radius * math.cos(turn + k * math.pi / 3), y + 0.72 * radius * math.sin(turn + k * math.pi / 3))
        for k in range(6)
    ]
    for cx, cy in spots:
        r = radius * rng.uniform(0.19, 0.28)
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=ink)


def bolt(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, ink: Colour, rng: Rng) -> None:
    """A flash of lightning."""
    flash = [(0.25, -1.0), (-0.55, 0.15), (-0.05, 0.15), (-0.3, 1.0), (0.6, -0.27), (0.08, -0.27), (0.5, -1.0)]
    mirror = rng.choice([-1, 1])
    draw.polygon(_turned([(mirror * u, v) for u, v in flash], x, y, radius, rng.normal(0, 0.15)), fill=ink)


def stripes(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, ink: Colour, rng: Rng) -> None:
    """Slanted parallel bars."""
    angle = rng.choice([-1, 1]) * rng.uniform(0.5, 0.9)
    for k in range(4):
        v = (k - 1.5) * 0.5
        length = 0.95 if k in (1, 2) else 0.7
        bar = [(-length, v - 0.13), (length, v - 0.13), (length, v + 0.13), (-length, v + 0.13)]
        draw.polygon(_turned(bar, x, y, radius, angle), fill=ink)


def heart(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, ink: Colour, rng: Rng) -> None:
    """A heart (the curve 16 sin³ t, 13 cos t − 5 cos 2t − 2 cos 3t − cos 4t)."""
    curve = [
        (
            math.sin(t) ** 3,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16,
        )
        for t in np.linspace(0, 2 * math.pi, 60).tolist()
    ]
    draw.polygon(_turned(curve, x, y, 0.95 * radius, rng.normal(0, 0.18)), fill=ink)


def checks(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, ink: Colour, rng: Rng) -> None:
    """A chessboard of four by four fields."""
    angle = rng.normal(0, 0.12)
    side = 0.42
    for row in range(4):
        for column in range(row % 2, 4, 2):
            u, v = (column - 2) * side, (row - 2) * side
            field = [(u, v), (u + side, v), (u + side, v + side), (u, v + side)]
            draw.polygon(_turned(field, x, y, radius, angle), fill=ink)


def planet(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, ink: Colour, rng: Rng) -> None:
    """A ball in a tilted orbit."""
    r = 0.52 * radius
    draw.ellipse((x - r, y - r, x + r, y + r), fill=ink)
    angle = rng.choice([-1, 1]) * rng.uniform(0.2, 0.6)
    orbit = [(1.1 * math.cos(t), 0.3 * math.sin(t)) for t in np.linspace(0, 2 * math.pi, 60).tolist()]
    draw.line(_turned(orbit, x, y, radius, angle), fill=ink, width=max(3, round(0.1 * radius)), joint="curve")


def spikes(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, ink: Colour, rng: Rng) -> None:
    """A row of teeth."""
    count = int(rng.integers(4, 6))
    up = rng.random() < 0.7
    for k in range(count):
        u = -1 + 2 * k / count
        tip = -rng.uniform(0.55, 1.0)
        tooth = [(u, 0.7), (u + 1 / count, tip), (u + 2 / count, 0.7)]
        draw.polygon(_turned(tooth, x, y, radius, 0.0 if up else math.pi), fill=ink)


def waves(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, ink: Colour, rng: Rng) -> None:
    """Three wavy lines, one above the other."""
    phase = rng.uniform(0, 2 * math.pi)
    for v in (-0.55, 0.0, 0.55):
        curve = [(u, v + 0.17 * math.sin(6.5 * u + phase)) for u in np.linspace(-1.05, 1.05, 50).tolist()]
        draw.line(_turned(curve, x, y, radius, 0.0), fill=ink, width=max(4, round(0.16 * radius)), joint="curve")


def star(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, ink: Colour, rng: Rng) -> None:
    """A star with five points."""
    corners = [
        (
            (1.0 if k % 2 == 0 else 0.42) * math.sin(k * math.pi / 5),
            -(1.0 if k % 2 == 0 else 0.42) * math.cos(k * math.pi / 5),
        )
        for k in range(10)
    ]
    draw.polygon(_turned(corners, x, y, radius, rng.normal(0, 0.27)), fill=ink)


def sunburst(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, ink: Colour, rng: Rng) -> None:
    """A sun with wedges for rays."""
    r = 0.36 * radius
    draw.ellipse((x - r, y - r, x + r, y + r), fill=ink)
    turn = rng.uniform(0, 2 * math.pi)
    rays = 10
    for k in range(rays):
        ray = [(0.5, -0.07), (1.05, -0.17), (1.05, 0.17), (0.5, 0.07)]
        draw.polygon(_turned(ray, x, y, radius, turn + 2 * math.pi * k / rays), fill=ink)


def cross(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, ink: Colour, rng: Rng) -> None:
    """Two crossed bars."""
    turn = rng.normal(0, 0.12)
    bar = [(-0.95, -0.17), (0.95, -0.17), (0.95, 0.17), (-0.95, 0.17)]
    for angle in (math.pi / 4, -math.pi / 4):
        draw.polygon(_turned(bar, x, y, radius, angle + turn), fill=ink)


MOTIFS: dict[str, Motif] = {
    motif.__name__: motif
    for motif in (rings, dots, bolt, stripes, heart, checks, planet, spikes, waves, star, sunburst, cross)
}


def _turned(points: list[Point], x: float, y: float, radius: float, angle: float) -> list[Point]:
    """Turn unit-sized ``points`` by ``angle`` radians, scale by ``radius`` and move to (x, y)."""
    cos, sin = math.cos(angle), math.sin(angle)
    return [(x + radius * (u * cos - v * sin), y + radius * (u * sin + v * cos)) for u, v in points]

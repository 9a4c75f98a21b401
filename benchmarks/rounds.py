"""Timing contenders in turns, so that other load on the machine touches all of them: used by the scripts beside it."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Timing(NamedTuple):
    """One timed pass: wall-clock rate, and CPU time of all threads."""

    images_per_s: float
    cpu_ms_per_image: float


def measure(passes: Mapping[str, Callable[[], object]], num_images: int, repeats: int) -> dict[str, list[Timing]]:
    """Time every pass once a round; the order moves on by one each round, so that none always follows the same one.

    Returns
    -------
    dict of name to list of Timing
        One a round, in the order of the rounds.
    """
    timings: dict[str, list[Timing]] = {name: [] for name in passes}
    names = list(passes)
    for round_number in range(repeats):
        start = round_number % len(names)
        for name in names[start:] + names[:start]:
            wall, cpu = time.perf_counter(), time.process_time()
            passes[name]()
            cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
            timings[name].append(Timing(num_images / wall_s, 1000 * cpu_s / num_images))
    return timings


def ratio(ours: Sequence[Timing], theirs: Sequence[Timing]) -> str:
    """How many times as fast the first is, in the same round: median, lowest and highest."""
    ratios = [one.images_per_s / other.images_per_s for one, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"

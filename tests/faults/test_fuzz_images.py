"""The quick part of the fuzz of images; tests/faults/fuzz_images.py is the long one."""

import contextlib
import signal
import sys

import pytest

from faults import fuzz_images
from posterity.pixels import decode
from posterity.pixels.image_names import SUFFIXES
from posterity.pixels.spec import ImageSpec

ORIGINALS = fuzz_images.originals(tuple(SUFFIXES))


def test_every_mutant_is_read_or_refused_with_a_message():
    results = fuzz_images.fuzz(204, seed=7, formats=tuple(SUFFIXES))
    assert {result.format for result in results} == set(SUFFIXES)
    assert not fuzz_images.wrong(results)
    outcomes = {result.outcome for result in results}
    assert outcomes == {fuzz_images.READ, fuzz_images.REFUSED}  # the mutants are neither all sound nor all refused


@contextlib.contextmanager
def refused_if_floating_point():
    try:
        yield
    except decode.ImageProblem as problem:
        if "floating-point" not in str(problem):
            raise


@pytest.mark.parametrize("name", SUFFIXES)
def test_the_originals_are_sound(name):
    spec = ImageSpec(height=32, width=24, formats=(name,))
    for content in ORIGINALS[name]:
        with refused_if_floating_point():
            assert decode.decode(content, spec).shape == (32, 24, 3)


def test_the_same_seed_makes_the_same_mutants():
    first, again, other = (list(fuzz_images.mutants(40, seed, ("png", "tiff"))) for seed in (1, 1, 2))
    assert first == again
    assert [content for *_, content in first] != [content for *_, content in other]
    assert sum(content not in ORIGINALS[name] for name, _, content in first) > 35


class Broken(fuzz_images.Child):
    """A child that does something else than to read files."""

    def __init__(self, code):
        self.command = [sys.executable, "-c", f"import sys, os, signal, time\nsys.stdin.buffer.read(5)\n{code}"]
        super().__init__()


@pytest.mark.parametrize(
    ("code", "outcome", "detail"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", fuzz_images.CRASH, f"exit code {-signal.SIGSEGV}"),
        ('print(\'["traceback", "KeyError", 0.5, 7]\', flush=True)', fuzz_images.TRACEBACK, "KeyError"),
        ('print(\'["read", "", 0.5, 3000000000]\', flush=True)', fuzz_images.OVER_MEMORY, ""),
        ("time.sleep(60)", fuzz_images.OVER_TIME, ""),
    ],
)
def test_what_goes_wrong_in_a_child_is_told_apart(monkeypatch, code, outcome, detail):
    monkeypatch.setattr(fuzz_images, "MOST_TIME_S", 2.0 if outcome == fuzz_images.OVER_TIME else 30.0)
    child = Broken(code)
    found = child.read(b"x")
    child.close()
    assert (found[0], detail in found[1]) == (outcome, True)
    result = fuzz_images.Result("png", "what", *found)
    (said,) = fuzz_images.wrong([result])
    assert said.startswith(f"png, what: {outcome}")
    assert fuzz_images.as_table([result]).count("| 1 |") >= 2

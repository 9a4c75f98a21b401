import numpy as np
import pytest

from posterity.cache import feature_parts
from posterity.cache.feature_parts import in_parts

LENGTH = 3
BATCHES = [[0, 1], [2, 3], [4, 5], [6]]


def vectors_of(rows):
    """The features of row r are r + 0.25 and, of its mirror image, r + 0.5."""
    return np.array([[[row + 0.25] * LENGTH, [row + 0.5] * LENGTH] for row in rows], np.float32)


EXPECTED = vectors_of(range(7))


class Computer:
    """Computes batches and remembers them; a signal comes before the batch that begins with ``stop``."""

    def __init__(self, stop=None):
        self.stop = stop
        self.batches = []

    def __call__(self, batches):
        for rows in batches:
            if rows[0] == self.stop:
                raise KeyboardInterrupt
            self.batches.append(rows)
            yield vectors_of(rows)


@pytest.fixture(autouse=True)
def _short_parts(monkeypatch):
    monkeypatch.setattr(feature_parts, "BATCHES_PER_PART", 2)


def all_of(folder, compute):
    return np.concatenate(list(in_parts(folder, BATCHES, LENGTH, compute)))


def test_nothing_is_kept_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (all_of(None, Computer()) == EXPECTED).all()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_goes_on_after_its_last_finished_part(tmp_path):
    with pytest.raises(KeyboardInterrupt) as stopped:
        all_of(tmp_path, Computer(stop=6))
    assert stopped.value.__notes__ == ["The features of 4 images are kept; `dvc repro` goes on from there."]
    again = Computer()
    assert all_of(tmp_path, again).tobytes() == EXPECTED.tobytes()
    assert again.batches == [[4, 5], [6]]


def test_a_damaged_part_is_said_and_computed_again(tmp_path, capsys):
    all_of(tmp_path, Computer())
    path = tmp_path / "part-00000.npz"
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    again = Computer()
    assert all_of(tmp_path, again).tobytes() == EXPECTED.tobytes()
    assert again.batches == [[0, 1], [2, 3]]
    assert f"{path} is damaged" in capsys.readouterr().out


def test_a_part_of_other_rows_is_not_used(tmp_path):
    list(in_parts(tmp_path, [[0], [1]], LENGTH, Computer()))
    again = Computer()
    assert (all_of(tmp_path, again) == EXPECTED).all()
    assert again.batches == BATCHES

"""A minute of `serve_soak.py`."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")


@pytest.mark.proof
def test_a_minute_of_good_and_bad_requests(tmp_path):
    import dataclasses

    import keras

    from posterity.evaluation.calibration import Calibration
    from posterity.evaluation.decisions import Decisions
    from posterity.model_card import ModelCard
    from posterity.nn import keras_file
    from posterity.pixels.spec import ImageSpec

    pixels = keras.Input((32, 24, 3), dtype="uint8")
    means = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    decisions = Decisions(Calibration("off", ((), (), ())), (0.5, 0.5, 0.5), at_least_one=False)
    card = ModelCard(("Red", "Green", "Blue"), (0.5, 0.5, 0.5), ImageSpec(32, 24), dataclasses.asdict(decisions))
    keras_file.save(keras.Model(pixels, means), tmp_path / "means.keras", card.as_member())
    script = Path(__file__).with_name("serve_soak.py")
    arguments = ["--model", str(tmp_path / "means.keras"), "--engine", "keras", "--minutes", "1"]
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 wrong answers" in done.stdout

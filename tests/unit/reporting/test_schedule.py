from pathlib import Path

import pandas as pd
import pytest

from posterity.config.load import load_params
from posterity.reporting.schedule import learning_rates

ROOT = Path(__file__).parents[3]


def test_rates_fall_by_a_cosine_and_the_backbone_has_its_own():
    params = load_params(ROOT / "params.yaml")
    train = params.train.model_copy(
        update={"epochs": 2, "batch_size": 1, "warmup_epochs": 0.0, "schedule": "cosine", "learning_rate": 1.0}
    )
    finetune = params.model.finetune.model_copy(update={"epochs": 1, "learning_rate": 0.1})
    history = pd.DataFrame({"network": [1, 1, 1], "phase": ["head", "head", "finetune"], "epoch": [1, 2, 3]})
    # Half a cosine over 2 x 4 steps, at steps 2 and 6: (1 + cos(pi / 4)) / 2 and (1 - cos(pi / 4)) / 2. Then one over
    # 4 steps, at step 2.
    expected = [0.853553, 0.146447, 0.05]
    assert learning_rates(history, train, finetune, num_rows=4) == pytest.approx(expected, abs=1e-5)

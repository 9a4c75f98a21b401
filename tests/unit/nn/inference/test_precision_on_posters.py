"""int8 and bfloat16 on real posters: a logistic regression on the features loses nothing that counts."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from posterity.evaluation import metrics
from posterity.nn.inference import engines, precision
from posterity.nn.networks import backbones, extractor
from posterity.pixels.decode import decode
from posterity.pixels.spec import ImageSpec

SHARED = Path(__file__).parents[5] / "shared"
NUM_IMAGES = 300
GENRES = ["Drama", "Comedy", "Action", "Romance"]  # the commonest: others have too few of 300
KINDS = [("onnxruntime", "int8"), ("openvino", "int8"), ("openvino", "bfloat16")]

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="the shared backbones are not here"),
    pytest.mark.skipif(not (SHARED / "posters-1k").is_dir(), reason="needs ../shared/posters-1k"),
]


@pytest.fixture(scope="module")
def posters():
    folder = SHARED / "posters-1k"
    table = pd.read_csv(folder / "train.csv", keep_default_na=False)[:NUM_IMAGES]
    images = np.stack([decode(folder / "Images" / f"{id_}.jpg", ImageSpec()) for id_ in table["Id"]])
    return images, table[GENRES].to_numpy(np.uint8)


@pytest.fixture(scope="module", params=["efficientnet_lite0_imagenet.keras", "mobilenet_v2_imagenet.keras"])
def network(request, posters):
    model = extractor.feature_model(
        [backbones.load(request.param, folder=SHARED / "weights", weights=None, height=400, width=300)]
    )
    return model, engines.batch_function(model, "onnxruntime", posters[0][:16])(posters[0])


def bce(features, targets):
    """Cross-fitted: each fifth is judged by a regression on the rest."""
    scores = np.empty(targets.shape)
    for label, target in enumerate(targets.T):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=1000))
        scores[:, label] = cross_val_predict(model, features, target, cv=5, method="predict_proba")[:, 1]
    return metrics.binary_cross_entropy(targets, scores)


@pytest.mark.parametrize(("engine", "at"), KINDS)
def test_a_regression_on_features_of_a_lower_precision_loses_less_than_a_thousandth(network, posters, engine, at):
    if not set(precision.INSTRUCTIONS[at]) & set(precision.cpu_flags()):
        pytest.skip(f"needs a CPU with {precision.INSTRUCTIONS[at]}")
    if engine == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("needs openvino")
    (model, exact), (images, targets) = network, posters
    features = engines.batch_function(model, engine, images[:16], at=at)(images)
    assert 0.01 < precision.difference(exact, features, at) < 0.12
    expected = bce(exact, targets)
    assert expected < 0.6  # with four common genres; their frequencies alone give more
    assert bce(features, targets) < expected + 0.001

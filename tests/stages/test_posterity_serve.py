"""`posterity serve` as a process: what it says, what it refuses, what it answers, and its end."""

import contextlib
import dataclasses
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")

import keras
import numpy as np

from posterity import cli, serve_command
from posterity.evaluation.calibration import Calibration
from posterity.evaluation.decisions import Decisions
from posterity.model_card import ModelCard
from posterity.nn import keras_file
from posterity.nn.inference.classifier import Classifier
from posterity.pixels import decode
from posterity.pixels.spec import ImageSpec
from posterity.serving.loaded import LoadedModel
from small_project import environment
from small_server import LABELS, THRESHOLDS, png

SPEC = ImageSpec(8, 4)
# Above one half, half as steep for the first label, so that 1 becomes 3/4.
CURVES = (((0.0, 0.0), (0.5, 0.5), (1.0, 0.75)), ((0.0, 0.0), (1.0, 1.0)), ((0.0, 0.0), (1.0, 1.0)))


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A model that answers with the means of red, green and blue, the first one calibrated."""
    pixels = keras.Input((SPEC.height, SPEC.width, 3), dtype="uint8")
    means = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    decisions = Decisions(Calibration("isotonic", CURVES), THRESHOLDS, at_least_one=False)
    card = ModelCard(LABELS, (0.5, 0.5, 0.5), SPEC, dataclasses.asdict(decisions))
    path = tmp_path_factory.mktemp("model") / "means.keras"
    keras_file.save(keras.Model(pixels, means), path, card.as_member())
    return path


def post(url, content):
    request = urllib.request.Request(f"{url}predict", content, {"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_a_process_serves_what_it_says_and_finishes_what_it_has_begun(model_file):
    command = [sys.executable, "-m", "posterity", "serve", "--port", "0", "--engine", "keras"]
    process = subprocess.Popen(
        [*command, "--model", str(model_file)],
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process, contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        assert process.stderr.readline() == "Inference by Keras.\n"
        line = process.stderr.readline()
        found = re.fullmatch(rf"Serving {re.escape(str(model_file))} at (http://127\.0\.0\.1:(\d+)/) \(.+\)\n", line)
        assert found, line
        answer = post(found[1], png())
        assert answer["images"][0]["scores"] == {LABELS[0]: 0.75, LABELS[1]: 0.4, LABELS[2]: 0}
        assert answer["images"][0]["labels"] == list(LABELS[:2])
        with socket.create_connection(("127.0.0.1", int(found[2])), 60) as connection:
            content = png()
            length = f"Content-Length: {len(content)}\r\nExpect: 100-continue\r\n\r\n".encode()
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n" + length)
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # it has been accepted
            process.send_signal(signal.SIGTERM)
            assert process.stderr.readline() == "Stopping; 1 request is finished first.\n"
            connection.sendall(content)
            assert connection.recv(9999).startswith(b"HTTP/1.1 200 ")
        assert process.wait(60) == 0
        assert (process.stdout.read(), process.stderr.read()) == ("", "")


def test_a_loaded_model_says_what_the_classifier_says(model_file, tmp_path):
    paths = []
    for number, colour in enumerate([(255, 102, 0), (10, 200, 30), (0, 0, 0)]):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(png(colour))
    model = LoadedModel(model_file, engine="keras")
    probabilities, decided = model.score(np.stack([decode.decode(path, model.spec) for path in paths]))
    for path, row, labels in zip(paths, probabilities, decided, strict=True):
        (expected,) = Classifier(model_file, engine="keras").predict(path)
        np.testing.assert_array_equal(row, expected.probabilities)
        np.testing.assert_array_equal(labels, expected.decided)
    assert (model.label_names, model.thresholds, model.spec, model.exactly_one) == (LABELS, THRESHOLDS, SPEC, False)
    assert model.digest == decode.digest(model_file)[0]
    marked = model.explain(decode.decode(paths[0], model.spec), 0)
    assert (marked.shape, marked.dtype) == ((8, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--port", "0", "--model", "gone.keras"],
            "error: gone.keras: there is no model here. Train one with `dvc repro`",
        ),
        (["--host", "192.0.2.1"], "error: --host 192.0.2.1 --port 8000: cannot be taken: Cannot assign"),
        (["--queue", "5"], "error: --queue must be at least --max-images"),
        (["--port", "65536"], "argument --port: expected a port from 0 to 65535, got 65536"),
        (["--max-images", "0"], "argument --max-images: expected a whole number of at least 1, got 0"),
        (["--workers", "\x1b"], r"argument --workers: expected a whole number of at least 1, got \x1b"),
    ],
)
def test_mistakes(arguments, message, capsys):
    assert message in refused(["serve", *arguments], capsys)


def test_a_port_in_use_is_said_before_the_model_is_looked_at(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        text = refused(["serve", "--port", str(port), "--model", "gone.keras"], capsys)
    assert text == (
        f"error: --host 127.0.0.1 --port {port}: cannot be taken: Address already in use. Give another port (0 for any "
        "free one), or an address of this machine.\n"
    )


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch, capsys):
    monkeypatch.setitem(serve_command.PACKAGES, "no_such_module", "some-package")
    assert refused(["serve"], capsys) == (
        "error: posterity serve needs some-package. Install the extra: pip install -c requirements.lock -e '.[serve]'\n"
    )


def test_a_host_that_others_reach_is_warned_of(capsys):
    text = refused(["serve", "--host", "0.0.0.0", "--port", "0", "--model", "gone.keras"], capsys)
    assert text.startswith("WARNING: 0.0.0.0 can be reached from other machines, and there is no password")


def refused(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2
    return capsys.readouterr().err

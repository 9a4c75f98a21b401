import subprocess
import sys

import keras

from posterity.nn.networks.summary import multiply_adds, summary
from small_project import environment

SCRIPT = """
import sys
from posterity.nn.networks import scratch
from posterity.nn.networks.summary import summary
text = summary(scratch.build("compact_cnn", height=64, width=48, label_frequencies=[0.5, 0.1]).model)
with open(sys.argv[1], "w", encoding="utf-8") as file:
    file.write(text)
"""
TABLE = """\
Model: outer

Layer     Type        Output shape  Parameters  Multiply-adds
--------  ----------  ------------  ----------  -------------
image     InputLayer  6 x 5 x 3              0              0
inner     Functional  4 x 3 x 4            112          1,296
  pixels  InputLayer  6 x 5 x 3              0              0
  conv    Conv2D      4 x 3 x 4            112          1,296
flatten   Flatten     48                     0              0
dense     Dense       7                    343            336

Parameters: 455
Trainable parameters: 343
Multiply-adds per image: 1,632
"""


def test_the_table_by_hand():
    pixels = keras.Input((6, 5, 3), name="pixels")
    conv = keras.layers.Conv2D(4, 3, name="conv")(pixels)  # 27 x 4 weights and 4 biases, at 4 x 3 places
    inner = keras.Model(pixels, conv, name="inner")
    inner.trainable = False
    image = keras.Input((6, 5, 3), name="image")
    x = keras.layers.Flatten(name="flatten")(inner(image))
    model = keras.Model(image, keras.layers.Dense(7, name="dense")(x), name="outer")  # 48 x 7 weights, 7 biases
    assert summary(model) == TABLE


def test_several_outputs_and_sides_of_any_length():
    image = keras.Input((None, 5, 3), name="image")
    split = keras.layers.Lambda(lambda x: [x, x], name="copies")
    model = keras.Model(image, split(image))
    assert "any x 5 x 3, any x 5 x 3" in summary(model)


def test_the_text_does_not_depend_on_the_terminal(tmp_path):
    settings = [
        {"COLUMNS": "40", "LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "TERM": "dumb"},
        {"COLUMNS": "200", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "FORCE_COLOR": "1"},
    ]
    running = []
    for number, variables in enumerate(settings):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / f"{number}.txt")]
        with (tmp_path / f"{number}.out").open("wb") as stdout:
            running.append(subprocess.Popen(command, env=environment(**variables), stdout=stdout))
    assert [process.wait() for process in running] == [0, 0]
    first, second = ((tmp_path / f"{number}.txt").read_bytes() for number in range(2))
    assert first == second
    assert b"stage4_conv2" in first
    assert (tmp_path / "0.out").read_bytes() == b""


def test_multiply_adds_by_hand():
    images = keras.Input((6, 5, 3))
    x = keras.layers.Conv2D(4, 3)(images)  # 4 x 3 places, 3 x 3 x 3 x 4 weights
    x = keras.layers.Dense(7)(keras.layers.Flatten()(x))  # 48 x 7 weights
    model = keras.Model(images, x)
    assert multiply_adds(model) == 12 * 108 + 336
    again = keras.Input((6, 5, 3))
    assert multiply_adds(keras.Model(again, keras.layers.Dense(2)(model(again)))) == 12 * 108 + 336 + 14


def test_multiply_adds_of_the_layers_of_backbones_by_hand():
    images = keras.Input((6, 5, 3))
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same")(images)  # 3 x 3 places, 3 x 3 x 3 weights
    x = keras.layers.SeparableConv2D(4, 3)(x)  # 1 place, 3 x 3 x 3 weights, then 3 x 4
    two = keras.layers.Dense(7)(keras.layers.UpSampling2D(2)(x))  # 2 x 2 places, 4 x 7 weights
    assert multiply_adds(keras.Model(images, two)) == 9 * 27 + (27 + 12) + 4 * 28


def test_layers_that_hide_others_are_not_counted():
    """Attention has four dense layers inside; nobody says how often it calls them."""
    inputs = keras.Input((5, 8))
    attention = keras.layers.MultiHeadAttention(2, 4, name="attention")
    hiding = keras.Model(inputs, keras.layers.Dense(3, name="dense")(attention(inputs, inputs)), name="hiding")
    outer = keras.Model(inputs, hiding(inputs))
    assert multiply_adds(hiding) is multiply_adds(outer) is None
    text = summary(outer)
    assert "Multiply-adds per image: not counted (MultiHeadAttention)\n" in text
    rows = {line.split()[0]: line.split()[-1] for line in text.splitlines() if line}
    assert (rows["attention"], rows["hiding"], rows["dense"]) == ("?", "?", "120")  # 5 positions x 8 x 3

"""Flags that a process can set only once are tried in processes of their own, which report as JSON."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from posterity.errors import UserError
from posterity.nn import device

SRC = Path(__file__).parents[3] / "src"
DEFAULTS = {
    "visible_devices": None,
    "memory_growth": True,
    "memory_limit_mb": None,
    "mixed_precision": "off",
    "xla": False,
    "tf32": True,
    "strategy": "single",
    "deterministic": True,
    "required": False,
    "cpu_threads": None,
    "cpu_isa": "AVX2",
}
SET_BY_CONFIGURE = {"ONEDNN_MAX_CPU_ISA", "NVIDIA_TF32_OVERRIDE", "TF_CPP_MIN_LOG_LEVEL"}
STATE = """
import tensorflow as tf
from tensorflow.python.framework.config import is_op_determinism_enabled
conv = keras.layers.Conv2D(8, 3)
conv(tf.ones((1, 8, 8, 4)))
keras.layers.Conv2D(8, 3, dtype="float32")(tf.ones((1, 8, 8, 4)))
report = {
    "policy": keras.mixed_precision.dtype_policy().name,
    "compute_dtype": conv.compute_dtype,
    "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
    "deterministic": is_op_determinism_enabled(),
    "threads": tf.config.threading.get_intra_op_parallelism_threads(),
    "first_weight": float(keras.ops.convert_to_numpy(conv.kernel)[0, 0, 0, 0]),
    "nvidia_tf32": os.environ["NVIDIA_TF32_OVERRIDE"],
}
"""


def run(body, *, environment=None, seed=1, **flags):
    """Configure a new process with ``flags``, run ``body`` in it, return its ``report`` and all that it printed."""
    script = (
        "import json, os, sys\n"
        "from types import SimpleNamespace\n"
        "from posterity.nn import device\n"
        f"scope = device.configure(SimpleNamespace(**{DEFAULTS | flags!r}), seed={seed})\n"
        f"import keras\n{body}\nprint('REPORT', json.dumps(report))\n"
    )
    # Other tests leave the variables that `configure` sets in this process.
    inherited = {name: value for name, value in os.environ.items() if name not in SET_BY_CONFIGURE}
    environment = {**inherited, "PYTHONPATH": str(SRC), "CUDA_VISIBLE_DEVICES": "-1", **(environment or {})}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    reports = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    return json.loads(reports[0].removeprefix("REPORT ")), done.stdout + done.stderr


def test_every_flag_reaches_the_process():
    flags = {"mixed_precision": "float16", "tf32": False, "deterministic": True, "cpu_threads": 1, "cpu_isa": None}
    report, _ = run(STATE, **flags)
    report.pop("first_weight")
    assert report == {
        "policy": "mixed_float16",
        "compute_dtype": "float16",
        "tf32": False,
        "deterministic": True,
        "threads": 1,
        "nvidia_tf32": "0",
    }


def test_a_ceiling_for_the_instructions_of_the_cpu():
    _, output = run(STATE, environment={"ONEDNN_VERBOSE": "1"}, cpu_isa="SSE41")
    assert "cpu,isa:Intel SSE4.1" in output


def test_the_other_side_of_every_flag():
    flags = {"mixed_precision": "off", "tf32": True, "deterministic": False, "cpu_isa": None}
    report, output = run(STATE, environment={"ONEDNN_VERBOSE": "1"}, **flags)
    again, _ = run(STATE, **flags)
    other, _ = run(STATE, seed=2, **flags)
    assert report["first_weight"] == again["first_weight"] != other["first_weight"]
    report.pop("first_weight")
    assert report == {
        "policy": "float32",
        "compute_dtype": "float32",
        "tf32": True,
        "deterministic": False,
        "threads": 0,
        "nvidia_tf32": "1",
    }
    assert "SSE4.1\n" not in output
    assert "No GPU in use: computing on the CPU." in output
    assert "WARNING" not in output


@pytest.mark.parametrize("owned", [True, False])
def test_a_script_of_the_pipeline_loads_no_scikit_learn_with_keras(owned):
    """Anybody else who uses this code gets Keras as it is. Scikit-learn itself can be imported at any time."""
    program = f"""
import gc, json, sys
from posterity import script
if {owned}:
    script.begin()
from posterity.nn import device
collects = gc.isenabled()
device.load_backend()
report = ["sklearn" in sys.modules, gc.isenabled() == collects]
import sklearn.metrics
print(json.dumps([*report, sklearn.metrics.accuracy_score([1], [1])]))
"""
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [not owned, True, 1.0]


def test_mirrored_on_two_devices_gives_the_loss_of_one():
    body = """
import numpy as np, tensorflow as tf
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
generator = np.random.default_rng(0)
x = generator.integers(0, 256, (32, 12, 12, 3), dtype=np.uint8)
y = generator.integers(0, 2, (32, 2)).astype(np.float32)
report = {"devices": [], "losses": []}
for mirrored in (False, True):
    keras.utils.set_random_seed(3)
    with device.mirrored("CPU") if mirrored else tf.distribute.get_strategy().scope():
        report["devices"].append(tf.distribute.get_strategy().num_replicas_in_sync)
        model = keras.Sequential([keras.Input((12, 12, 3), dtype="uint8"), keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(2, "sigmoid")])
        model.compile("adam", "binary_crossentropy")
        history = model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0).history
    report["losses"].append(history["loss"])
"""
    report, _ = run(body, deterministic=False)
    assert report["devices"] == [1, 2]
    single, mirrored = report["losses"]
    assert mirrored == pytest.approx(single, rel=1e-4)


def test_mirrored_is_chosen_by_the_flag():
    body = "import tensorflow as tf\nwith scope: report = type(tf.distribute.get_strategy()).__name__"
    assert run(body, strategy="mirrored", deterministic=False)[0] == "MirroredStrategy"


def test_choosing_devices():
    assert device.choose(["a", "b", "c"], None) == ["a", "b", "c"]
    assert device.choose(["a", "b", "c"], [2, 0]) == ["c", "a"]
    assert device.choose(["a", "b", "c"], []) == []
    with pytest.raises(UserError, match=r"visible_devices is \[1, 3\], but 3 GPU\(s\) were found. Give numbers below"):
        device.choose(["a", "b", "c"], [1, 3])
    with pytest.raises(UserError, match=r"visible_devices is \[0\], but no GPU was found. Set it to null or \[\]"):
        device.choose([], [0])


@pytest.mark.parametrize(
    ("precision", "isa"),
    [("bfloat16", None), ("bfloat16", "AVX512_CORE"), ("float16", "AVX512_CORE_AMX"), ("float16", None)],
)
def test_precisions_that_a_cpu_can_compute(precision, isa):
    device.check_cpu_precision(precision, isa)


def test_bfloat16_below_avx512_is_refused():
    with pytest.raises(UserError, match="needs machine.device.cpu_isa: AVX512_CORE or newer, or null. Got 'AVX2'"):
        device.check_cpu_precision("bfloat16", "AVX2")


def test_the_device_is_announced(capsys):
    device.announce(2, required=True)
    assert capsys.readouterr().err == "Computing on 2 GPU(s).\n"
    with pytest.raises(UserError, match="machine.device.required is true and no GPU can be used"):
        device.announce(0, required=True)


def test_memory_settings_reach_tensorflow(monkeypatch):
    # Neither setting exists for CPU devices, so TensorFlow's own functions are replaced by records of the calls.
    import tensorflow as tf

    calls = []
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda *given: calls.append(given))
    monkeypatch.setattr(
        tf.config, "set_logical_device_configuration", lambda device, limits: calls.append((device, *limits))
    )
    device.limit_memory(["gpu0", "gpu1"], growth=True, limit_mb=None)
    device.limit_memory(["gpu0"], growth=False, limit_mb=None)
    device.limit_memory(["gpu0"], growth=False, limit_mb=512)
    limit = tf.config.LogicalDeviceConfiguration(memory_limit=512)
    assert calls == [("gpu0", True), ("gpu1", True), ("gpu0", False), ("gpu0", limit)]


@pytest.mark.parametrize(
    ("flag", "value", "fix"),
    [("memory_limit_mb", 512, "null"), ("cpu_threads", 2, "null"), ("strategy", "mirrored", "single")],
)
def test_flags_that_jax_does_not_have_are_refused(monkeypatch, flag, value, fix):
    monkeypatch.setattr(device, "load_backend", lambda: "jax")
    with pytest.raises(UserError, match=f"machine.device.{flag} needs the TensorFlow backend.*Set it to {fix}"):
        device.configure(SimpleNamespace(**DEFAULTS | {"cpu_isa": None, flag: value}), seed=1)


def test_an_unknown_backend_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(device, "load_backend", lambda: "torch")
    with pytest.raises(UserError, match="KERAS_BACKEND is 'torch'. Use tensorflow"):
        device.configure(SimpleNamespace(**DEFAULTS | {"cpu_isa": None}), seed=1)


@pytest.mark.parametrize("in_hardware", [True, False])
def test_float16_under_a_ceiling_is_refused_where_tensorflow_would_abort(monkeypatch, in_hardware):
    monkeypatch.setattr(device, "_cpu_has_float16", lambda: in_hardware)
    with (
        pytest.raises(UserError, match="needs machine.device.cpu_isa: null. Got 'AVX2'")
        if in_hardware
        else nullcontext()
    ):
        device.check_cpu_precision("float16", "AVX2")

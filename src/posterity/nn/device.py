"""The `gpu` section of params.yaml, and the seed, turned into the state of this process.

Call `configure` before anything else of `posterity.nn` is imported: some switches are read once, when TensorFlow
loads. Code that belongs to one backend is in this module and in `posterity.nn.processes`.
"""

import contextlib
import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from posterity import script
from posterity.errors import UserError

if TYPE_CHECKING:
    from posterity.config.schema import DeviceParams

# The instruction sets, as oneDNN names them, that multiply float16.
FLOAT16_ISAS = ("AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16")


def configure(settings: "DeviceParams", *, seed: int) -> contextlib.AbstractContextManager[Any]:
    """Set up the process as ``gpu`` says and seed every generator that Keras draws from.

    Returns
    -------
    context manager
        The distribution scope in which the model has to be built and compiled; it does nothing for one device.

    Raises
    ------
    UserError
        If a GPU is required or chosen and not there, or if the backend has no such switch.
    """
    if settings.cpu_isa is not None:
        # Convolutions by AVX2 and by AVX-512 differ in the last bits; a common ceiling makes newer CPUs agree with
        # older ones, at the price of a fifth of the speed on a CPU with AVX-512.
        os.environ["ONEDNN_MAX_CPU_ISA"] = settings.cpu_isa
    os.environ["NVIDIA_TF32_OVERRIDE"] = "1" if settings.tf32 else "0"

    backend = load_backend()

    import keras

    keras.utils.set_random_seed(seed)
    keras.mixed_precision.set_dtype_policy(
        "float32" if settings.mixed_precision == "off" else f"mixed_{settings.mixed_precision}"
    )
    if backend == "tensorflow":
        return _configure_tensorflow(settings)
    if backend == "jax":
        return _configure_jax(settings)
    raise UserError(f"KERAS_BACKEND is {backend!r}. Use tensorflow (the default) or jax.")


def one_core(settings: "DeviceParams") -> "DeviceParams":
    """Section `gpu` for a process that has one CPU core and no GPU; the results are those of any number of threads."""
    return settings.model_copy(
        update={"visible_devices": None, "required": False, "strategy": "single", "cpu_threads": 1}
    )


def load_backend() -> str:
    """Import Keras and look for devices without the dozen log lines that TensorFlow writes when it loads.

    They are shown all the same if the environment sets ``TF_CPP_MIN_LOG_LEVEL`` to 0, or if the import fails.

    Returns
    -------
    str
        Name of the backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    wanted = os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"  # JAX sets it to 1 when it is imported
    with contextlib.nullcontext() if wanted else _held_back_stderr(), _quick_import():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()  # the first look for a GPU logs, too
            logging.getLogger("tensorflow").addFilter(_is_no_retracing)
    return str(keras.backend.backend())


def _is_no_retracing(record: logging.LogRecord) -> bool:
    """Hold back TensorFlow's advice on functions that are traced again: each of several networks is traced once."""
    return "triggered tf.function retracing" not in record.getMessage()


@contextlib.contextmanager
def _quick_import() -> Iterator[None]:
    """Import Keras, with TensorFlow, in 1.5 s instead of 2.7 s (two cores of an AMD EPYC, Zen 5).

    Python's search for garbage among a million objects that stay takes 0.8 s of it. Scikit-learn takes the rest: Keras
    imports it, where it is installed, for its scikit-learn wrappers, which no script of the pipeline uses.
    """
    hides = script.owns_process() and "keras" not in sys.modules and "sklearn" not in sys.modules
    collects = gc.isenabled()
    gc.disable()
    if hides:
        sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hides:
            del sys.modules["sklearn"]
        if collects:
            gc.enable()


@contextlib.contextmanager
def _held_back_stderr() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, by C++ code as well; write it out if the block raises."""
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _configure_tensorflow(settings: "DeviceParams") -> contextlib.AbstractContextManager[Any]:
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(settings.tf32)
    if settings.cpu_threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(settings.cpu_threads)
        tf.config.threading.set_inter_op_parallelism_threads(settings.cpu_threads)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    visible = choose(tf.config.list_physical_devices("GPU"), settings.visible_devices)
    tf.config.set_visible_devices(visible, "GPU")
    announce(len(visible), required=settings.required)
    if not visible:
        check_cpu_precision(settings.mixed_precision, settings.cpu_isa)
    limit_memory(visible, growth=settings.memory_growth, limit_mb=settings.memory_limit_mb)
    if settings.strategy == "mirrored":
        return mirrored("GPU" if visible else "CPU")
    return contextlib.nullcontext()


def _configure_jax(settings: "DeviceParams") -> contextlib.AbstractContextManager[Any]:
    # XLA reads these when the first device is asked for, so they can still be set after the import.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false" if settings.memory_growth else "true"
    neutral = {"memory_limit_mb": None, "cpu_threads": None, "strategy": "single"}
    for key, value in neutral.items():
        if (got := getattr(settings, key)) != value:
            raise UserError(
                f"params.yaml: machine.device.{key} needs the TensorFlow backend. Got {got!r} with KERAS_BACKEND=jax. "
                f"Set it to {value or 'null'}, or unset KERAS_BACKEND."
            )
    if settings.deterministic:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    if settings.visible_devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, settings.visible_devices))

    import jax

    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if settings.tf32 else "highest")
    devices = jax.local_devices()  # not those of other processes, see `posterity.nn.processes`
    num_gpus = len(devices) if jax.default_backend() == "gpu" else 0
    if settings.visible_devices and num_gpus < len(settings.visible_devices):
        raise _no_such_device(settings.visible_devices, num_gpus)
    announce(num_gpus, required=settings.required)
    return contextlib.nullcontext()


def choose(devices: Sequence[Any], indices: Sequence[int] | None) -> list[Any]:
    """Pick the devices that ``indices`` number, in that order; all of them for ``None``."""
    if indices is None:
        return list(devices)
    if any(index >= len(devices) for index in indices):
        raise _no_such_device(indices, len(devices))
    return [devices[index] for index in indices]


def announce(num_gpus: int, *, required: bool) -> None:
    """Say in one line on stderr what will be computed on; stop if a GPU is required and there is none."""
    if num_gpus == 0 and required:
        raise UserError(
            "params.yaml: machine.device.required is true and no GPU can be used. "
            "Check `nvidia-smi` and machine.device.visible_devices, install `tensorflow[and-cuda]`, or set "
            "machine.device.required: false."
        )
    print(f"Computing on {num_gpus} GPU(s)." if num_gpus else "No GPU in use: computing on the CPU.", file=sys.stderr)


def check_cpu_precision(mixed_precision: str, cpu_isa: str | None) -> None:
    """Refuse 16 bits under a ceiling too low for oneDNN's 16-bit convolutions: TensorFlow would abort later.

    float16 is refused only on a CPU that has it in hardware: elsewhere TensorFlow does not ask oneDNN for it.
    """
    if mixed_precision == "float16" and cpu_isa is not None and cpu_isa not in FLOAT16_ISAS and _cpu_has_float16():
        raise UserError(
            "params.yaml: machine.device.mixed_precision: float16 on this CPU needs machine.device.cpu_isa: "
            f"null. Got {cpu_isa!r}. "
            "Set machine.device.cpu_isa: null, or machine.device.mixed_precision: off."
        )
    if mixed_precision == "bfloat16" and cpu_isa is not None and not cpu_isa.startswith("AVX512_CORE"):
        raise UserError(
            "params.yaml: machine.device.mixed_precision: bfloat16 on a CPU needs machine.device.cpu_isa: "
            "AVX512_CORE or newer, or null. "
            f"Got {cpu_isa!r}. Set machine.device.cpu_isa: null, or machine.device.mixed_precision: off."
        )


def _cpu_has_float16() -> bool:
    try:
        return "avx512_fp16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False


def limit_memory(devices: Sequence[Any], *, growth: bool, limit_mb: int | None) -> None:
    """Let TensorFlow take device memory as needed (``growth``), or at most ``limit_mb`` MiB of each device."""
    import tensorflow as tf

    for device in devices:
        if limit_mb is not None:
            limit = tf.config.LogicalDeviceConfiguration(memory_limit=limit_mb)
            tf.config.set_logical_device_configuration(device, [limit])
        else:
            tf.config.experimental.set_memory_growth(device, growth)


def mirrored(device_type: Literal["GPU", "CPU"]) -> contextlib.AbstractContextManager[Any]:
    """The scope of a strategy that gives every logical device of ``device_type`` a part of each batch (TensorFlow)."""
    import tensorflow as tf

    names = [device.name for device in tf.config.list_logical_devices(device_type)]
    return tf.distribute.MirroredStrategy(names).scope()


def _no_such_device(indices: Sequence[int], count: int) -> UserError:
    return UserError(
        f"params.yaml: machine.device.visible_devices is {list(indices)}, but {count} GPU(s) were found. "
        f"Give numbers below {count}, [] for none, or null for all."
        if count
        else f"params.yaml: machine.device.visible_devices is {list(indices)}, but no GPU was found. "
        "Set it to null or []."
    )

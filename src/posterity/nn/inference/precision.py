"""Which engine computes at which precision, what hardware that needs, and how far from Keras its output may be."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from posterity import choices, environment
from posterity.errors import UserError

FloatArray = npt.NDArray[np.float32]
Engine = choices.InferenceEngine
Precision = choices.InferencePrecision

SETTING = "machine.device.inference_precision"
# Instructions, as Linux names them, without which a precision is slower than float32. Without them 8-bit products are
# also wrong: sums of two of them overflow 16 bits (see docs/performance.md).
INSTRUCTIONS = {"bfloat16": ("avx512_bf16", "amx_bf16"), "int8": ("avx512_vnni", "avx_vnni")}
ENGINES = choices.PRECISION_ENGINES
# float32: the largest difference, of the largest output (at least 1). Rounding in another order gives up to 3e-5 after
# 50 layers (MobileNetV2 at 400 x 300, outputs up to 6); a padding on the wrong side gives 1.
# Others: the mean absolute difference, of the mean absolute output. Right ones gave 0.04 to 0.1 on posters, overflowing
# 8-bit sums 0.46. Random errors of 0.17 in all features cost a logistic regression on them 0.0005 of its bce of 0.2072,
# those of 0.25 cost 0.0007, and those of 0.4 cost 0.0015 (EfficientNet-Lite0, 1,500 posters).
TOLERANCE: dict[Precision, float] = {"float32": 1e-4, "bfloat16": 0.2, "int8": 0.2}


def chosen(engine: Engine, precision: Precision, *, auto_is_keras: bool) -> Engine:
    """The engine that computes.

    Parameters
    ----------
    engine, precision : str
        As in params.yaml.
    auto_is_keras : bool
        Whether ``auto`` stands for Keras, as it does on a GPU.

    Raises
    ------
    UserError
        If that engine does not compute at this precision, or the CPU cannot.

    Examples
    --------
    >>> chosen("auto", "float32", auto_is_keras=False), chosen("auto", "float32", auto_is_keras=True)
    ('onnxruntime', 'keras')
    >>> chosen("keras", "int8", auto_is_keras=False)
    Traceback (most recent call last):
    posterity.errors.UserError: machine.device.inference_precision: int8 needs ...
    """
    if engine == "auto":
        engine = "keras" if auto_is_keras else ENGINES[precision][0]
    if engine not in ENGINES[precision]:
        possible = " or ".join(ENGINES[precision])
        where = " (a GPU, or another backend than TensorFlow, is in use)" if auto_is_keras else ""
        raise UserError(
            f"{SETTING}: {precision} needs machine.device.inference_engine: {possible}. Got {engine}{where}. Set "
            "one of them, or the precision to float32."
        )
    check_cpu(precision, cpu_flags())
    return engine


def check_cpu(precision: Precision, flags: list[str]) -> None:
    """Refuse a precision that a CPU with these ``flags``, see `posterity.environment`, does not have in hardware.

    Examples
    --------
    >>> check_cpu("int8", ["avx2", "avx_vnni"])
    >>> check_cpu("bfloat16", ["avx2", "avx_vnni"])
    Traceback (most recent call last):
    posterity.errors.UserError: machine.device.inference_precision: bfloat16 needs a CPU with avx512_bf16 or ...
    """
    needed = INSTRUCTIONS.get(precision)
    if needed and not set(needed) & set(flags):
        raise UserError(
            f"{SETTING}: {precision} needs a CPU with {' or '.join(needed)} (see /proc/cpuinfo). This one has neither, "
            "or does not say so. Set it to float32."
        )


def cpu_flags() -> list[str]:
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return []
    return list(environment.cpu(cpuinfo)["flags"])


def difference(expected: FloatArray, got: FloatArray, precision: Precision) -> float:
    """How far ``got`` is from ``expected``, as `TOLERANCE` measures it; NaN if an output is NaN.

    Examples
    --------
    >>> one, other = np.array([[1.0, 3.0]]), np.array([[1.5, 3.0]])
    >>> round(difference(one, other, "float32"), 3), difference(one, other, "int8")
    (0.167, 0.125)
    """
    distances = np.abs(got - expected)
    if precision == "float32":
        return float(distances.max() / max(1.0, np.abs(expected).max()))
    return float(distances.mean() / max(np.abs(expected).mean(), np.finfo(np.float32).tiny))

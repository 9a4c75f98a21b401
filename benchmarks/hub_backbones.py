"""Time the features of networks of KerasHub, beside MobileNetV2 and EfficientNetB0 of keras.applications.

    python benchmarks/hub_backbones.py --quick
    python benchmarks/hub_backbones.py --engine onnxruntime

It needs the extra hub. The architectures are those of the published presets, with random weights: the time is that of
trained ones, and nothing is downloaded. Each becomes a preset in a temporary folder, which `backbones.load` reads, and
its features are computed as the stage `features` does, once for each image and not mirrored. All run in one process, in
turns; figures are medians over the rounds. CPU time per image, of all threads, depends least on other load.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # this checkout, not an installed copy

import numpy as np
from rounds import measure, ratio

from posterity.script import run

BASELINE = "MobileNetV2"
S = {"num_layers": 12, "hidden_dim": 384, "num_heads": 6}
B = {"num_layers": 12, "hidden_dim": 768, "num_heads": 12}


def architectures() -> dict[str, tuple[Callable[[], Any], int, int]]:
    """By name of the preset: what builds its network, and height and width of the images."""
    from keras_hub import models

    square = (224, 224, 3)
    positions = {"image_shape": square, "position_embedding_shape": (518, 518, 3)}
    small, base = S | {"intermediate_dim": 1536}, B | {"intermediate_dim": 3072}
    registers = {"num_register_tokens": 4, "image_shape": square}
    return {
        "dinov2_small": (partial(models.DINOV2Backbone, 14, **small, **positions), 224, 224),
        "dinov2_base": (partial(models.DINOV2Backbone, 14, **base, **positions), 224, 224),
        "dinov3_vit_small_lvd1689m": (partial(models.DINOV3Backbone, 16, **small, **registers), 224, 224),
        "dinov3_vit_small_lvd1689m at 400 x 304": (partial(models.DINOV3Backbone, 16, **small, **registers), 400, 304),
        "dinov3_vit_base_lvd1689m": (partial(models.DINOV3Backbone, 16, **base, **registers), 224, 224),
        "vit_base_patch16_224_imagenet": (partial(models.ViTBackbone, square, 16, **B, mlp_dim=3072), 224, 224),
        "clip_vit_base_patch32": (partial(models.CLIPVisionEncoder, 32, **base, image_shape=square), 224, 224),
        "siglip_base_patch16_224": (partial(models.SigLIPVisionEncoder, 16, **base, image_shape=square), 224, 224),
    }


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("keras", "onnxruntime"), default="onnxruntime", help="(%(default)s)")
    parser.add_argument("--images", type=int, default=32, metavar="N", help="images in a round (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these networks, beside the two (default: all)")
    parser.add_argument("--quick", action="store_true", help="16 images, one round, without the networks called base")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    num_images, repeats = (16, 1) if args.quick else (args.images, args.repeats)
    chosen = {name: one for name, one in architectures().items() if not (args.quick and "base" in name)}
    chosen = {name: chosen[name] for name in args.only or chosen}
    passes: dict[str, Callable[[], object]] = {}
    lengths = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("MobileNetV2", "EfficientNetB0"):
            passes[name], lengths[name] = computing(name, Path(folder), 224, 224, args.engine, num_images)
        for name, (build, height, width) in chosen.items():
            preset = Path(folder, name)
            build().save_to_preset(str(preset))
            (preset / "image_converter.json").write_text(json.dumps({"config": {"scale": 1 / 255}}))
            passes[name], lengths[name] = computing(name, Path(folder), height, width, args.engine, num_images)
    timings = measure(passes, num_images, repeats)
    print(f"| network | features | s/image | CPU s/image | time, {BASELINE} = 1 |\n|---|---:|---:|---:|---:|")
    for name, found in timings.items():
        wall = statistics.median(1 / one.images_per_s for one in found)
        cpu = statistics.median(one.cpu_ms_per_image for one in found) / 1000
        slower = ratio(timings[BASELINE], found)
        print(f"| {name} | {lengths[name]:,} | {wall:.3f} | {cpu:.3f} | {slower} |")


def computing(
    name: str, folder: Path, height: int, width: int, engine: Any, num_images: int
) -> tuple[Callable[[], object], int]:
    """A pass over random images by the network ``name``, and the number of its features."""
    from posterity.nn.inference import engines
    from posterity.nn.networks import backbones, extractor

    model = extractor.feature_model([backbones.load(name, folder=folder, weights=None, height=height, width=width)])
    images = np.random.default_rng(0).integers(0, 256, (num_images, height, width, 3), dtype=np.uint8)
    print(f"{name}: ", end="", file=sys.stderr, flush=True)
    compute = engines.batch_function(model, engine, images[:1])
    compute(images[:1])
    return partial(compute, images), model.output_shape[1]


if __name__ == "__main__":
    run(main)

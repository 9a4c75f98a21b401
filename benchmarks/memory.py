"""Peak memory of the stages at several numbers of images: it should not grow with them.

    python src/sample.py && python benchmarks/memory.py --quick

Makes copies of the sample's images that differ in a comment, in a temporary folder, and runs the stage scripts on them,
each in a process of its own: peak resident memory as the system counted it (Linux). The network is MobileNetV2 with
random weights, with a head; `input` reads an epoch of shuffled images, as training a network from scratch does.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
INPUT = """
import sys
import numpy as np
from posterity.config.load import load_params
params = load_params("params.yaml")
from posterity.nn import device
device.configure(params.machine.device, seed=0)
from posterity.nn.training.batches import Batches, images_of
from posterity.cache import rows
from posterity.cache.tensors import TensorCache
cache = TensorCache("data/tensors")
batches = Batches(images_of(cache), rows.read("data/rows").targets, np.arange(len(cache)), 32, shuffle_seed=0)
for number in range(len(batches)):
    batches[number]
"""
STAGES = ("validate", "preprocess", "split", "input", "features", "train", "evaluate")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=Path, default=ROOT / "data/sample", help="what is copied")
    parser.add_argument(
        "--images", type=int, nargs="+", default=[1000, 7254, 50000], metavar="N", help="default: %(default)s"
    )
    parser.add_argument("--height", type=int, default=64, help="of the cached images (default: %(default)s)")
    parser.add_argument("--width", type=int, default=48, help="likewise (default: %(default)s)")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="default: all")
    parser.add_argument("--quick", action="store_true", help="500 and 2,000 images")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    numbers = [500, 2000] if args.quick else args.images
    print(f"Peak memory in MB, images cached as {args.height} x {args.width} (seconds in brackets).\n", flush=True)
    print(f"| images | {' | '.join(args.stages)} |\n|---:|{'---:|' * len(args.stages)}", flush=True)
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            project = Path(folder)
            make_project(project, args.sample, number, args.height, args.width)
            cells = [run_stage(stage, project) for stage in args.stages]
        print(f"| {number:,} | {' | '.join(cells)} |", flush=True)


def make_project(project: Path, sample: Path, number: int, height: int, width: int) -> None:
    """A folder with ``number`` images, their labels, and a params.yaml."""
    (project / "images").mkdir()
    labels = pd.read_csv(sample / "labels.csv", dtype=str, keep_default_na=False)
    rows = labels.iloc[[k % len(labels) for k in range(number)]].copy()
    contents = [(sample / "images" / f"{name}.jpg").read_bytes() for name in labels["Id"]]
    rows["Id"] = [f"i{k}" for k in range(number)]
    rows.to_csv(project / "labels.csv", index=False)
    for k in range(number):
        content = contents[k % len(labels)]
        # After the two bytes that every JPEG starts with: a comment of 8 bytes, which makes the file another one.
        comment = b"\xff\xfe\x00\x0a" + k.to_bytes(8, "big")
        (project / "images" / f"i{k}.jpg").write_bytes(content[:2] + comment + content[2:])
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["data"] |= {"images": "images", "labels": "labels.csv"}
    params["image"] |= {"height": height, "width": width}
    params["model"] |= {"name": "backbone", "backbone": ["MobileNetV2"], "weights": None}
    params["train"] |= {"epochs": 1, "batch_size": 128}
    yaml.dump(params, project / "params.yaml")


def run_stage(stage: str, project: Path) -> str:
    """Run a stage in ``project``: its peak memory and its time."""
    script: Sequence[str] = ["-c", INPUT] if stage == "input" else [str(ROOT / "src" / f"{stage}.py")]
    start = time.perf_counter()
    with (project / f"{stage}.log").open("w") as log:
        child = subprocess.Popen(
            [sys.executable, *script],
            cwd=project,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "CUDA_VISIBLE_DEVICES": ""},
            stdout=log,
            stderr=log,
        )
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{stage} failed:\n{(project / f'{stage}.log').read_text()[-2000:]}")
    return f"{usage.ru_maxrss / 1024:.0f} ({time.perf_counter() - start:.0f} s)"


if __name__ == "__main__":
    main()

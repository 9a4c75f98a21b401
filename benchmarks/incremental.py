"""Time the whole `dvc repro preprocess` after a small change of the data, beside a run that knows nothing.

    python benchmarks/incremental.py --quick
    python benchmarks/incremental.py --images ../posters/Images --labels ../posters/train.csv

It works in a Git and DVC repository of its own, with copies of the images, in a temporary folder. A round is a run from
scratch (no outputs, no cache, no database of DVC, no `machine.reuse_folder`), then one run after each change. Ratios
are taken within a round; figures are medians over the rounds. Three columns split the wall time: the two stage scripts,
and the rest, which is DVC's own (its start, looking up or hashing every image and shard).
"""

import argparse
import csv
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # this checkout, not an installed copy

from posterity.errors import UserError
from posterity.script import run

ROOT = Path(__file__).resolve().parents[1]
COPIED = ["src", ".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml"]
MADE = ["data", "metrics", "dvc.lock", ".dvc/cache", ".dvc/tmp", "dvc-database"]
# Runs a stage script as `python` would and writes its wall time to a file.
TIMER = """
import subprocess, sys, time
begin = time.perf_counter()
code = subprocess.call([sys.executable, *sys.argv[1:]])
with open(sys.argv[1] + ".seconds", "w") as file:
    print(time.perf_counter() - begin, file=file)
sys.exit(code)
"""


class Timing(NamedTuple):
    wall_s: float
    validate_s: float
    preprocess_s: float
    dvc_s: float
    decoded: int


class Project:
    """A repository with the stages of this checkout, and rows and images that can be changed.

    Parameters
    ----------
    folder : Path
        Where to make it.
    images, labels : Path
        Data set to copy: a folder of ``{id}.jpg`` and a CSV table whose first column is the id.
    """

    def __init__(self, folder: Path, images: Path, labels: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(folder / "dvc-database"),  # it would else outlive the run, below /var/tmp
        }
        self._source = images
        with labels.open(newline="", encoding="utf-8") as file:
            self.header, *self.rows = csv.reader(file)
        (folder / "images").mkdir(parents=True)
        self.command("git", "init", "-q")
        self.command("dvc", "init", "-q")
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        (folder / "timer.py").write_text(TIMER, encoding="utf-8")
        stages = (folder / "dvc.yaml").read_text(encoding="utf-8")
        (folder / "dvc.yaml").write_text(stages.replace("cmd: python ", "cmd: python timer.py "), encoding="utf-8")
        yaml = YAML()
        params = yaml.load(folder / "params.yaml")
        params["data"] |= {"images": "images", "labels": "labels.csv", "id_column": self.header[0]}
        params["data"]["list_column"] = "Genre" if "Genre" in self.header else None
        yaml.dump(params, folder / "params.yaml")

    def command(self, *words: str) -> str:
        done = subprocess.run(words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(f"`{' '.join(words)}` failed in {self.folder}:\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def image(self, id_: str) -> Path:
        return self.folder / f"images/{id_}.jpg"

    def use(self, rows: list[list[str]]) -> None:
        """Make ``rows`` the table; add and remove image files as it needs."""
        with (self.folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self.header, *rows])
        wanted = {f"{row[0]}.jpg" for row in rows}
        there = {path.name for path in (self.folder / "images").iterdir()}
        for name in there - wanted:
            (self.folder / "images" / name).unlink()
        for name in wanted - there:
            shutil.copy(self._source / name, self.folder / "images" / name)

    def forget(self) -> None:
        """Remove all that the stages and DVC made."""
        for name in MADE:
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def reproduce(self) -> Timing:
        """Time `dvc repro preprocess`."""
        files = [self.folder / f"src/{name}.py.seconds" for name in ("validate", "preprocess")]
        for file in files:
            file.unlink(missing_ok=True)
        begin = time.perf_counter()
        output = self.command("dvc", "repro", "preprocess")
        wall_s = time.perf_counter() - begin
        validate_s, preprocess_s = (float(file.read_text()) if file.exists() else 0.0 for file in files)
        found = re.search(r"([\d,]+) decoded", output)
        decoded = int(found[1].replace(",", "")) if found else 0
        return Timing(wall_s, validate_s, preprocess_s, wall_s - validate_s - preprocess_s, decoded)


def changes(project: Project) -> dict[str, Callable[[], None]]:
    """What is done to the data before each run, by name, in this order."""
    rows = project.rows
    some = max(len(rows) // 100, 1)
    fewer, most = rows[: -2 * some], rows[:-some]

    def from_scratch() -> None:
        project.use(most)
        project.forget()

    def replace_one() -> None:
        path = project.image(rows[len(rows) // 2][0])
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content + b"\0")  # decoders stop at the end mark; to the pipeline, it is another file

    return {
        "from scratch": from_scratch,
        f"{some} rows appended": lambda: project.use(rows),
        "no change": lambda: None,
        "the bytes of one image replaced": replace_one,
        f"the last {2 * some} rows removed": lambda: project.use(fewer),
        f"every {len(fewer) // some}th row removed": lambda: project.use(
            [row for place, row in enumerate(fewer) if place % (len(fewer) // some)]
        ),
    }


def measure(project: Project, rounds: int) -> dict[str, list[Timing]]:
    """Run every change once a round, in order: each starts from what the one before left."""
    timings: dict[str, list[Timing]] = {}
    for _ in range(rounds):
        for name, change in changes(project).items():
            change()
            timings.setdefault(name, []).append(project.reproduce())
    return timings


def markdown(timings: dict[str, list[Timing]]) -> str:
    """A table with a line per change."""
    lines = [
        "| change | wall time, of from scratch | s | in validate | in preprocess | in DVC | rows decoded |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    scratch = timings["from scratch"]
    for name, rounds in timings.items():
        ratios = [timing.wall_s / base.wall_s for timing, base in zip(rounds, scratch, strict=True)]
        spread = f" ({min(ratios):.1%} to {max(ratios):.1%})" if len(ratios) > 1 else ""
        *seconds, decoded = (statistics.median(values) for values in zip(*rounds, strict=True))
        cells = [f"{statistics.median(ratios):.1%}{spread}", *(f"{value:.1f}" for value in seconds), f"{decoded:,.0f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1. Got {text!r}.")
    return value


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default="data/sample/images", help="folder (default: %(default)s)")
    parser.add_argument("--labels", type=Path, default="data/sample/labels.csv", help="table (default: %(default)s)")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="work below this folder (default: that of temporary files)")
    parser.add_argument("--quick", action="store_true", help="one round")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if not args.images.is_dir() or not args.labels.is_file():
        raise UserError(
            f"expected a folder of images and a table of their labels. Got {args.images} and {args.labels}. Draw the "
            f"sample with `python src/sample.py`, or name others by --images and --labels."
        )
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        project = Project(Path(folder) / "project", args.images.resolve(), args.labels)
        timings = measure(project, 1 if args.quick else args.rounds)
    print(
        f"{len(project.rows):,} rows, {os.cpu_count()} CPU cores, medians of {len(timings['from scratch'])} rounds.\n"
    )
    print(markdown(timings))


if __name__ == "__main__":
    run(main)

"""How many requests `posterity serve` answers, and how fast, beside `Classifier.predict` in a loop.

    python benchmarks/serve.py --model models/model.keras --images data/sample/images --locust ../locust/bin/locust

Clients of Locust send one image a request over loopback, each as soon as its last one is answered: 1, 8 and 64 of them,
for --seconds each. They share the cores with the server. The loop predicts the same files in this process, one call an
image, with the same engine. Nothing may be lost: what Locust counts as answered is what the server counts.

Locust is not among the packages of this project: `python -m venv ../locust && ../locust/bin/pip install locust`.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # this checkout, not an installed copy

from posterity import predictions
from posterity.errors import UserError
from posterity.script import run

CLIENTS = (1, 8, 64)
ANSWERED = re.compile(r'^posterity_requests_total\{method="POST",path="/predict",status="(\d+)"\} (\S+)$', re.MULTILINE)
BATCHES = re.compile(r"^posterity_batch_images_(sum|count) (\S+)$", re.MULTILINE)


class Row(NamedTuple):
    """One line of the table; times in milliseconds."""

    name: str
    per_second: float
    p50: float
    p99: float
    requests: int
    lost: str
    batch: str


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/model.keras"), help="model (default: %(default)s)")
    parser.add_argument("--images", default="data/sample/images", help="folder of JPEG files (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=200, metavar="N", help="take N files (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=20, metavar="S", help="of each load (default: %(default)s)")
    parser.add_argument("--engine", choices=("keras", "onnxruntime", "openvino"), default="onnxruntime")
    parser.add_argument("--locust", default=shutil.which("locust"), help="the command (default: the one on PATH)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.locust is None or not Path(args.locust).exists():
        raise UserError(f"--locust: expected the command of Locust. Got {args.locust}. Install it as --help says.")
    paths = predictions.find_images([args.images])[: args.limit]
    rows = [in_a_loop(args, paths)]
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            (Path(folder) / Path(path).name).write_bytes(Path(path).read_bytes())
        command = [sys.executable, "-m", "posterity", "serve", "--port", "0"]
        process = subprocess.Popen(
            [*command, "--model", str(args.model), "--engine", args.engine],
            env=os.environ | {"PYTHONPATH": sys.path[0]},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            url = address(process)
            rows += [under_load(args, url, clients, folder) for clients in CLIENTS]
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
    print(f"{len(paths)} images of {Path(args.images).name}, {args.engine}, {os.cpu_count()} cores, load average "
          f"{os.getloadavg()[0]:.1f}; the server ended with {code}\n")  # fmt: skip
    print("| | requests/s | p50 ms | p99 ms | requests | lost | images a batch |\n|---|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        times = f"{row.per_second:,.1f} | {row.p50:,.0f} | {row.p99:,.0f}"
        print(f"| {row.name} | {times} | {row.requests:,} | {row.lost} | {row.batch} |")


def in_a_loop(args: argparse.Namespace, paths: list[str]) -> Row:
    """One call of `Classifier.predict` an image."""
    from posterity import Classifier

    classifier = Classifier(args.model, engine=args.engine)
    list(classifier.predict(paths[:32]))  # begins the engine
    seconds: list[float] = []
    end = time.perf_counter() + args.seconds
    while (started := time.perf_counter()) < end:
        (found,) = classifier.predict(paths[len(seconds) % len(paths)])
        assert not found.error
        seconds.append(time.perf_counter() - started)
    times = statistics.quantiles(seconds, n=100)
    return Row(
        "`Classifier.predict` in a loop", len(seconds) / sum(seconds), 1000 * times[49], 1000 * times[98],
        len(seconds), "", "1.0",
    )  # fmt: skip


def under_load(args: argparse.Namespace, url: str, clients: int, folder: str) -> Row:
    """What ``clients`` of Locust measure."""
    before = figures(url)
    locustfile = Path(__file__).with_name("serve_load.py")
    done = subprocess.run(
        [
            args.locust, "-f", str(locustfile), "--headless", "--json", "--skip-log", "--only-summary",
            "--host", url.rstrip("/"), "-u", str(clients), "-r", str(clients), "-t", f"{args.seconds}s",
            "--stop-timeout", "120",
        ],
        env=os.environ | {"SERVED_IMAGES": folder},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if not (done.stdout and (rows := json.loads(done.stdout))):
        raise UserError(f"Locust has sent nothing: {done.stderr.strip()[-500:]}")
    (found,) = rows
    after = figures(url)
    answered = {status: after[status] - before.get(status, 0) for status in after if status.isdigit()}
    requests = int(found["num_requests"])
    lost = int(found["num_failures"]) + abs(requests - int(sum(answered.values())))
    batch = (after["sum"] - before["sum"]) / (after["count"] - before["count"])
    times = spread(found["response_times"])
    seconds = found["last_request_timestamp"] - found["start_time"]
    name = f"{clients} client{'s' if clients > 1 else ''}"
    return Row(
        name, requests / seconds, quantile(times, 0.5), quantile(times, 0.99), requests, str(lost), f"{batch:.1f}"
    )


def spread(histogram: dict[str, int]) -> list[float]:
    """All response times, sorted, from Locust's counts of (rounded) milliseconds."""
    return sorted(float(time_) for time_, count in histogram.items() for _ in range(count))


def quantile(values: list[float], share: float) -> float:
    """The value below which ``share`` of the sorted values lie."""
    return values[min(len(values) - 1, int(share * len(values)))]


def figures(url: str) -> dict[str, float]:
    """Answers to POST /predict by status, and the sum and count of batches."""
    with urllib.request.urlopen(f"{url}metrics") as answer:
        text = answer.read().decode()
    found: list[tuple[str, Any]] = [*ANSWERED.findall(text), *BATCHES.findall(text)]
    return {name: float(value) for name, value in found}


def address(process: "subprocess.Popen[str]") -> str:
    """Wait for the line that says that the server is ready."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://\S+", line):
            return found[0]
    raise UserError("The server did not start; its message is above.")


if __name__ == "__main__":
    run(main)

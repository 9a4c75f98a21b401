"""Minutes of good and bad requests at once, after which a server takes no more memory than before.

    python tests/faults/serve_soak.py --model models/model.keras --minutes 10

Prints a line every minute: memory, threads and open files of the server, and how many requests came to what. Exit code
0 = every request was answered as it should be, and the memory of the second half of the time is flat: its last figure
is at most 5 % above that at half time.
"""

import argparse
import collections
import contextlib
import http.client
import io
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
CLIENTS = 6
ALLOWED_GROWTH = 0.05
# The header of a BMP file of 40,000 x 40,000 pixels.
BOMB = b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + 2 * (40_000).to_bytes(4, "little") + b"\1\0\x18\0" + bytes(24)
Request = tuple[str, bytes, dict[str, str], set[int]]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/model.keras"), help="model (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="how long (default: %(default)s)")
    parser.add_argument("--engine", default="auto", help="as of `posterity serve` (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the requests (default: %(default)s)")
    return parser.parse_args(argv)


class Inputs:
    """Requests, good and bad, each with the statuses that are right for it."""

    def __init__(self, label: str) -> None:
        generator = np.random.default_rng(0)
        self._label = label
        self._good = [
            _image(generator, size, mode, kind)
            for size, mode, kind in [
                ((300, 400), "RGB", "JPEG"), ((1200, 1600), "RGB", "JPEG"), ((3000, 4000), "RGB", "JPEG"),
                ((500, 700), "RGBA", "PNG"), ((200, 300), "L", "PNG"), ((250, 350), "RGB", "WEBP"),
                ((300, 400), "CMYK", "JPEG"), ((40, 60), "P", "GIF"), ((10, 10), "1", "PNG"),
                ((640, 480), "RGB", "BMP"),
            ]
        ]  # fmt: skip
        whole = self._good[1]
        self._bad = [
            (b"", {422}), (b"hello", {415}), (b"%PDF-1.7", {415}), (whole[: len(whole) // 2], {422}),
            (self._good[3][:200], {422}), (generator.bytes(50_000), {415}),
            (BOMB, {413}),
        ]  # fmt: skip

    def draw(self, draw: random.Random) -> Request:
        """One request: path, body, headers, statuses."""
        kind = draw.choices(("good", "bad", "several", "explain", "large", "type", "path", "form"),
                            (40, 20, 15, 5, 2, 4, 4, 4))[0]  # fmt: skip
        raw = {"Content-Type": "image/jpeg"}
        if kind == "good":
            return "/predict", draw.choice(self._good), raw, {200}
        if kind == "bad":
            content, statuses = draw.choice(self._bad)
            return "/predict", content, raw, statuses
        if kind == "several":
            contents = [draw.choice([*self._good, *(one for one, _ in self._bad)]) for _ in range(draw.randint(2, 12))]
            return "/predict", *_form([("images", content) for content in contents]), {200}
        if kind == "explain":
            body, headers = _form([("image", draw.choice(self._good))])
            return f"/explain?label={self._label}", body, headers, {200}
        if kind == "large":
            return "/predict", bytes(2**25 + 1), raw, {413}
        if kind == "type":
            return "/predict", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, {415}
        if kind == "form":
            body, headers = _form([("images", b"x")])
            return "/predict", body[:-30], headers, {415, 422}
        return f"/nowhere/{draw.random()}", b"", {}, {404}


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    command = [sys.executable, "-m", "posterity", "serve", "--port", "0", "--model", str(args.model)]
    process = subprocess.Popen(
        [*command, "--engine", args.engine],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        port = next(int(found[1]) for line in process.stderr if (found := re.search(r"http://\S+:(\d+)/", line)))
        threading.Thread(target=sys.stderr.writelines, args=(process.stderr,), daemon=True).start()
        counts, wrong, memory = _soak(args, port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(120)
    half = memory[len(memory) // 2 - 1]
    growth = memory[-1] / half - 1
    print(f"{sum(counts.values()):,} requests, {len(wrong)} wrong answers, memory {growth:+.1%} over the second half, "
          f"exit code {code}")  # fmt: skip
    for line in wrong[:20]:
        print(line)
    return int(bool(wrong) or growth > ALLOWED_GROWTH or code != 0)


def _soak(args: argparse.Namespace, port: int, pid: int) -> tuple[collections.Counter[str], list[str], list[float]]:
    counts: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    memory: list[float] = []
    inputs, stop, lock = Inputs(_label(port)), threading.Event(), threading.Lock()

    def guarded(work: Callable[[random.Random], tuple[str, str]], draw: random.Random) -> None:
        while not stop.is_set():
            outcome, problem = work(draw)
            with lock:
                counts[outcome] += 1
                wrong.extend([problem] if problem else [])

    threads = [
        threading.Thread(
            target=guarded, args=(lambda draw: _send(port, inputs.draw(draw)), random.Random(f"{args.seed} {k}"))
        )
        for k in range(CLIENTS)
    ]
    threads.append(
        threading.Thread(target=guarded, args=(lambda draw: _break_off(port, draw), random.Random(args.seed)))
    )
    for thread in threads:
        thread.start()
    steps = max(4, round(args.minutes))
    print("minute | MB | threads | open files | requests")
    for step in range(1, steps + 1):
        time.sleep(args.minutes * 60 / steps)
        memory.append(_resident(pid))
        tasks, opened = (len(list(Path(f"/proc/{pid}/{name}").iterdir())) for name in ("task", "fd"))
        shown = f"{step * args.minutes / steps:.1f} | {memory[-1]:.0f} | {tasks} | {opened}"
        print(f"{shown} | {dict(sorted(counts.items()))}", flush=True)
    stop.set()
    for thread in threads:
        thread.join()
    return counts, wrong, memory


def _send(port: int, request: Request) -> tuple[str, str]:
    path, body, headers, statuses = request
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
    except OSError as error:
        # A client that is still sending what nobody reads may see the connection closed before it sees the answer.
        return type(error).__name__, "" if statuses == {413} else f"{path}: {error!r}"
    finally:
        connection.close()
    is_right = answer.status in statuses or answer.status == 503
    return str(answer.status), "" if is_right else f"{path}: {answer.status} for {body[:20]!r}, expected {statuses}"


def _break_off(port: int, draw: random.Random) -> tuple[str, str]:
    """Begin a request and go away, or send what is none."""
    header = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 100000\r\n\r\n"
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(
            draw.choice([header + bytes(draw.randrange(50_000)), header[:40], b"\x16\x03\x01" * 50, b""])
        )
        time.sleep(draw.random() / 4)
    return "broken off", ""


def _label(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/model")
    text = connection.getresponse().read().decode()
    connection.close()
    found = re.search(r'"name":"(\w+)"', text)
    assert found is not None
    return found[1]


def _form(parts: list[tuple[str, bytes]]) -> tuple[bytes, dict[str, str]]:
    body = io.BytesIO()
    for number, (name, content) in enumerate(parts):
        body.write(f'--edge\r\nContent-Disposition: form-data; name="{name}"; filename="{number}"\r\n\r\n'.encode())
        body.write(content + b"\r\n")
    body.write(b"--edge--\r\n")
    return body.getvalue(), {"Content-Type": "multipart/form-data; boundary=edge"}


def _image(generator: np.random.Generator, size: tuple[int, int], mode: str, kind: str) -> bytes:
    coarse = Image.fromarray(generator.integers(0, 256, (12, 9, 3), dtype=np.uint8))
    file = io.BytesIO()
    coarse.resize(size).convert(mode).save(file, kind)
    return file.getvalue()


def _resident(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())

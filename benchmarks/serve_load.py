"""What a client of the load test does, for Locust, which `benchmarks/serve.py` starts: one image after the other."""

import itertools
import os
from pathlib import Path

from locust import FastHttpUser, task

CONTENTS = [path.read_bytes() for path in sorted(Path(os.environ["SERVED_IMAGES"]).iterdir())]
NEXT = itertools.count()


class Client(FastHttpUser):  # type: ignore[misc]  # Locust is not installed where types are checked
    """Sends an image as soon as the last one is answered."""

    connection_timeout = network_timeout = 120.0

    @task  # type: ignore[untyped-decorator]
    def predict(self) -> None:
        """Send the next image, and look at the answer."""
        content = CONTENTS[next(NEXT) % len(CONTENTS)]
        headers = {"Content-Type": "image/jpeg"}
        with self.client.post("/predict", data=content, headers=headers, catch_response=True) as answer:
            if answer.status_code != 200 or "scores" not in answer.json()["images"][0]:
                answer.failure(f"status {answer.status_code}")

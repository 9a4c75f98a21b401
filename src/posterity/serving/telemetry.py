"""The figures of a server in the form of Prometheus."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Telemetry:
    """Counters and histograms with a registry of their own, so that a process may have several servers.

    No label of a metric comes from a request: paths are those of the server, kinds are those of the code.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self.requests = Counter(
            "posterity_requests", "Requests that were answered.", ("path", "method", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "posterity_request_seconds",
            "Seconds from the header of a request to its answer.",
            ("path",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self.images = Counter("posterity_images", "Images by what came of them.", ("result",), registry=self._registry)
        self.errors = Counter("posterity_errors", "Refused requests and images.", ("kind",), registry=self._registry)
        self.batches = Histogram(
            "posterity_batch_images", "Images that the network took at once.", buckets=IMAGES, registry=self._registry
        )
        self.inference_seconds = Histogram(
            "posterity_inference_seconds", "Seconds of the network on a batch.", buckets=SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self.queue = Gauge("posterity_queue_images", "Images taken and not yet answered.", registry=self._registry)
        self.held = Gauge("posterity_held_bytes", "Bytes of bodies that are held.", registry=self._registry)
        for result in ("scored", "refused", "explained"):  # a rate needs its 0
            self.images.labels(result)

    def text(self) -> bytes:
        """All figures, as Prometheus reads them."""
        return generate_latest(self._registry)

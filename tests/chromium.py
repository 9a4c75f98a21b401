"""A headless Chromium of the system, driven by Playwright, for tests of pages; they skip where either is missing."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

NAMES = ("chromium", "google-chrome", "chromium-browser")
# What a browser asks the network for by itself would fail here, loudly.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextlib.contextmanager
def launched() -> Iterator[Any]:
    """Yield a browser of Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra browser")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()

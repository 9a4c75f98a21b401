"""Draw docs/report.png and docs/report-top.png: the report of the synthetic sample, as Chromium shows it.

Run it in the project's folder after `dvc repro`, with the extra `browser` and a Chromium of the system.
"""

import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

PAGE = Path("report/index.html")
DOCS = Path(__file__).parent
COLOURS = 200  # of the palette: a quarter of the size, and nobody sees it


def main() -> None:
    path = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        top = shot(browser, 1160, 830, "light", "")
        looking = shot(browser, 620, 830, "dark", "looking")
        browser.close()
    both = Image.new("RGB", (top.width + looking.width + 16, top.height), "white")
    both.paste(top, (0, 0))
    both.paste(looking, (top.width + 16, 0))
    save(both, "report.png")
    save(top, "report-top.png")


def shot(browser: Browser, width: int, height: int, scheme: str, place: str) -> Image.Image:
    """The page as it looks in a window of this size, from the part ``place`` on."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(f"{PAGE.resolve().as_uri()}#{place}")
    page.wait_for_timeout(300)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()
    return picture


def save(picture: Image.Image, name: str) -> None:
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(DOCS / name, optimize=True)


if __name__ == "__main__":
    main()

"""The page of `posterity serve` in a real browser."""

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")
playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra browser")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the extra browser")

from chromium import launched  # noqa: E402
from small_server import LABELS, Means, png, running  # noqa: E402

HOSTILE = "<img src=x onerror=document.title='run'>.png"
# As the browser gives files: by a drop and by pasting.
TRANSFER = """([kind, name, type, bytes]) => {
    const transfer = new DataTransfer();
    if (bytes) transfer.items.add(new File([new Uint8Array(bytes)], name, {type}));
    const options = {bubbles: true, cancelable: true};
    document.body.dispatchEvent(kind === "drop"
        ? new DragEvent("drop", {...options, dataTransfer: transfer})
        : new ClipboardEvent("paste", {...options, clipboardData: transfer}));
}"""


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started


@pytest.fixture(scope="module")
def served():
    model = Means()
    with running(model) as url:
        yield url, model


@pytest.fixture
def open_page(browser, served):
    """Open the page; whatever it logs, and every request to elsewhere, fails the test."""
    contexts, wrong = [], []

    def opened(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: request.url.startswith((served[0], "blob:", "data:")) or wrong.append(request.url),
        )
        page.goto(served[0])
        playwright.expect(page.locator("#digest")).to_contain_text("0123456789ab")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def choose(page, *files):
    page.set_input_files(
        "#files", [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in files]
    )


def test_chosen_images_show_labels_bars_and_thresholds_and_a_bad_one_its_reason(open_page):
    page = open_page()
    choose(page, (HOSTILE, png()), ("bad.png", b"no image"))
    expect = playwright.expect
    expect(page.locator("#status")).to_have_text("1 of 2 images labelled, 1 could not be.")
    good, bad = page.locator(".card").nth(0), page.locator(".card").nth(1)
    expect(good.locator("h2")).to_have_text(HOSTILE)
    expect(good.locator(".decided li")).to_have_text(list(LABELS[:2]))
    expect(good.locator(".row .label")).to_have_text(list(LABELS))
    expect(good.locator(".row .share")).to_have_text(["100 %", "40 %", "0 %"], use_inner_text=True)
    widths = [good.locator(".fill").nth(number).bounding_box()["width"] for number in range(3)]
    track = good.locator(".track").first.bounding_box()
    assert [round(width / track["width"], 2) for width in widths] == [1, 0.4, 0]
    mark = good.locator(".threshold").nth(1).bounding_box()
    assert (mark["x"] + mark["width"] / 2 - track["x"]) / track["width"] == pytest.approx(0.2, abs=0.01)
    expect(bad.locator(".problem")).to_contain_text("The file is not an image that Pillow can read.")
    assert page.title() == "posterity: label images"  # the file's name has not been run


def test_dropped_and_pasted_images(open_page):
    page = open_page()
    page.evaluate(TRANSFER, ["drop", "dropped.png", "image/png", list(png())])
    page.evaluate(TRANSFER, ["paste", "pasted.png", "image/png", list(png((0, 0, 255)))])
    expect = playwright.expect
    expect(page.locator(".card h2")).to_have_text(["pasted.png", "dropped.png"])
    expect(page.locator(".card").nth(0).locator(".decided li")).to_have_text([LABELS[2]])
    expect(page.locator(".card").nth(1).locator(".decided li")).to_have_text(list(LABELS[:2]))
    page.evaluate(TRANSFER, ["paste", "", "", None])
    expect(page.locator("#status")).to_have_text("What was pasted is no image: copy an image, not its address or text.")
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".card")).to_have_count(0)
    expect(page.locator("#files")).to_be_focused()


def test_what_speaks_for_a_label_by_keyboard(open_page):
    page = open_page()
    choose(page, ("a.png", png()))
    expect = playwright.expect
    row = page.get_by_role("button", name=LABELS[1])
    expect(row).to_have_accessible_name(f"{LABELS[1]} 40 % (threshold 20 %, decided)")
    row.focus()
    page.keyboard.press("Enter")
    expect(row).to_have_attribute("aria-pressed", "true")
    image = page.locator(".picture img")
    expect(image).to_have_attribute("alt", f"The image a.png with what speaks for {LABELS[1]} marked")
    expect(page.locator("figcaption")).to_contain_text("the brighter, the more")
    assert image.evaluate("one => [one.naturalWidth, one.naturalHeight]") == [4, 8]
    page.keyboard.press("Escape")
    expect(row).to_have_attribute("aria-pressed", "false")
    expect(image).to_have_attribute("alt", "The image a.png")


def test_a_file_over_the_limit_is_not_sent(open_page, served):
    page = open_page()
    before = len(served[1].batches)
    page.route("**/predict*", lambda route: pytest.fail("it was sent"))
    page.evaluate(
        "() => { const transfer = new DataTransfer();"
        " transfer.items.add(new File([new Uint8Array(2 ** 25 + 1)], 'x.png'));"
        " document.body.dispatchEvent(new DragEvent('drop', {bubbles: true, dataTransfer: transfer})); }"
    )
    playwright.expect(page.locator(".problem")).to_have_text("The file has 32 MB; at most 32 MB are read.")
    assert len(served[1].batches) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), (390, 844)])
def test_it_is_accessible_in_both_schemes_and_fits_a_phone(open_page, scheme, size):
    page = open_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, bypass_csp=True)
    choose(page, ("a.png", png()), ("bad.png", b"no image"))
    playwright.expect(page.locator(".labels, .problem")).to_have_count(2)
    page.locator("button.row").first.click()
    playwright.expect(page.locator("figcaption").first).to_contain_text("the brighter")
    page.locator("summary").click()
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    lightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(lightness) / 3 > 128) == (scheme == "light")

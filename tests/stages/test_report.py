"""The stage report on 24 tiny images with hostile names, and its page in a browser."""

import html.parser
import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from chromium import launched
from posterity import cli, files
from posterity.nn import device
from small_project import SmallProject, environment, run_script

HOSTILE = "<img src=x onerror=alert(1)>"
# Training sets determinism, threads and devices of its process once; the report runs in this one.
TRAIN = """
import train, evaluate, final_test
train.main([])
evaluate.main([])
final_test.main([])
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    project = SmallProject(root)
    text = (root / "labels.csv").read_text().replace("Bright", HOSTILE)
    (root / "labels.csv").write_text(text)
    shutil.copy(project.image("i05"), root / "images/not listed.jpg")
    (root / "images/damaged.jpg").write_bytes(b"no image")
    project.params({"train.folds": 2, "split.test_fraction": 0.1, "train.epochs": 2})
    (root / ".dvc").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for stage in ("validate", "preprocess", "split", "features"):
            assert run_script(stage).code == 0
        trained = subprocess.run(
            [sys.executable, "-c", TRAIN], cwd=root, env=environment(), capture_output=True, text=True
        )
        assert trained.returncode == 0, trained.stderr
        patch.setattr(device, "configure", lambda settings, *, seed: device.load_backend())
        done = run_script("report")
        assert done.code == 0, done.stderr
        assert run_script("report", "--page", "again/index.html", "--sheets", "again").code == 0
    page = (root / "report/index.html").read_text(encoding="utf-8")
    return SimpleNamespace(root=root, page=page, stdout=done.stdout)


class Elements(html.parser.HTMLParser):
    """All elements of a page with their attributes, and its text outside of scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text, self._inside = [], [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text.append(data)


def test_it_says_where_the_page_is(report):
    assert "Open report/index.html in a browser" in report.stdout


def test_the_same_run_gives_the_same_bytes(report):
    for name in ("index.html", "contact_sheet.png", "gallery.png", "saliency.png"):
        assert (report.root / "report" / name).read_bytes() == (report.root / "again" / name).read_bytes()


def test_the_page_needs_nothing_but_itself(report):
    elements = Elements(report.page).found
    addresses = [value for _, attrs in elements for name, value in attrs.items() if name in ("src", "href")]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    policy = next(attrs["content"] for tag, attrs in elements if tag == "meta" and "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'")


def test_names_from_the_data_stay_text(report):
    elements = Elements(report.page)
    assert HOSTILE in "".join(elements.text)
    assert not [attrs for _, attrs in elements.found if attrs.get("src") == "x" or "onerror" in attrs]
    assert HOSTILE not in report.page.replace("</title>", "")  # not as markup, in no attribute and in no script


def test_the_headline_is_that_of_the_metrics(report):
    figures = files.read_json(report.root / "metrics/evaluate.json")
    values = re.findall(r'<div class="value">([^<]+)</div>', report.page)
    assert values[:3] == [f"{figures['skill']:.3f}", f"{figures['map_macro']:.3f}", f"{figures['bce']:.4f}"]
    test = files.read_json(report.root / "metrics/test.json")
    assert f"{test['bce']:.4f}" in values[4:]  # the test side comes after the validation side


def test_rows_of_the_data_and_files_without_a_row_are_counted(report):
    text = " ".join("".join(Elements(report.page).text).split())
    assert "24 images with 3 labels" in text
    assert "2 image files have no row. Of the first 2 by name" in text
    assert ", 1 cannot be read" in text
    assert "the same bytes" in text  # the last two images
    assert "Copies of an image on two sides of the split: 0" in text


def test_a_missing_file_is_a_message(report, monkeypatch):
    monkeypatch.chdir(report.root)
    done = run_script("report", "--table", "none.csv")
    assert done.code == 2
    assert "none.csv" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_draws_dvc_plots_without_a_network_is_left_behind(report):
    assert "window.vegaEmbed" in (report.root / ".dvc/tmp/vega.js").read_text(encoding="utf-8")


def test_the_model_card_has_the_labels_and_the_figures_of_both_sides(report):
    card = (report.root / "models/MODEL_CARD.md").read_text(encoding="utf-8")
    figures = files.read_json(report.root / "metrics/evaluate.json")
    assert f"{figures['map_macro']:.3f}" in card
    assert "### Test, 2 images" in card
    assert "onerror" in card
    assert "<img" not in card  # escaped


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (("data",), "24"),
        (("metrics",), "Test"),
        (("label", "Red"), "average precision"),
        (("image", "i05"), "i05"),
    ],
)
def test_a_run_with_folds_and_a_test_side_is_shown_in_the_terminal(report, monkeypatch, capsys, view, expected):
    monkeypatch.chdir(report.root)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(report.root.parent))
    cli.main(["show", *view])
    assert expected in capsys.readouterr().out


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started


@pytest.fixture(params=[("light", 1200), ("dark", 390)], ids=["desktop-light", "phone-dark"])
def opened(report, browser, request):
    scheme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else said.append(asked.url))
    page.goto((report.root / "report/index.html").as_uri())
    yield SimpleNamespace(page=page, scheme=scheme, said=said)
    context.close()


def test_a_browser_finds_no_fault(opened):
    page = opened.page
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    # Without a width that the window does not have, and with every picture.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    pictures = page.evaluate("Array.from(document.images, image => image.complete && image.naturalWidth)")
    assert len(pictures) > 20
    assert all(pictures)
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    assert [(item["id"], item["nodes"][0]["html"][:200]) for item in found] == []
    assert opened.said == []


def test_colours_follow_the_system_and_the_button(opened):
    page = opened.page
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == opened.scheme
    page.click("#theme")
    assert page.evaluate(theme) != opened.scheme
    assert opened.said == []


def test_the_table_of_labels_can_be_sorted(opened):
    page = opened.page

    def order(column):
        cells = f"document.querySelectorAll('table.sortable tbody td:nth-child({column})')"
        return page.evaluate(f"Array.from({cells}, cell => cell.dataset.value)")

    names = order(1)
    head = page.locator("table.sortable thead button").first
    head.click()
    assert order(1) == page.evaluate("names => names.slice().sort((a, b) => a.localeCompare(b))", names)
    head.press("Enter")
    assert order(1) == page.evaluate("names => names.slice().sort((a, b) => b.localeCompare(a))", names)
    page.locator("table.sortable thead button").nth(2).click()
    assert order(3) == sorted(order(3), key=int, reverse=True)


def test_a_label_leads_to_its_part_and_the_map_to_images(opened):
    page = opened.page
    page.locator("table.sortable tbody a").first.click()
    assert page.evaluate("document.querySelector(location.hash).open")
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    shown = page.inner_text("#map-text")
    data = json.loads(page.inner_html("#map-data"))
    leftmost = min(data["dots"], key=lambda dot: dot["x"])
    assert shown == f"{leftmost['id']}: {leftmost['labels']}"
    page.select_option("#map-label", "0")
    number = sum(0 in dot["columns"] for dot in data["dots"])
    assert page.inner_text("#map-count") == f"{number} of {len(data['dots'])} images"
    assert page.locator("#map circle.has").count() == number

"""The page of `dvc plots show`, drawn by DVC from the plots of `evaluate`: labels stay text, whatever they hold."""

import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from posterity import files
from posterity.evaluation import label_figures

ROOT = Path(__file__).parents[2]
LABELS = [
    "</script><script>alert(1)</script>",
    "<!-- <ScRiPt>",
    "</SCRIPT ",
    "age <5",
    "<b>bold</b>",
    "<DVC_METRIC_TITLE>",
    "{plot_divs}",
    '"];alert(1)//',
    "datum.x[0]",
]
# Only the < that a script element would obey is another letter.
DRAWN = [
    "‹/script>‹script>alert(1)‹/script>",
    "‹!-- ‹ScRiPt>",
    "‹/SCRIPT ",
    "age <5",
    "<b>bold‹/b>",
    *LABELS[5:],
]


class Scripts(html.parser.HTMLParser):
    """The script elements of a page, as a browser parts them, and the names of all elements."""

    def __init__(self, page):
        super().__init__()
        self.names, self.scripts = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)

    def handle_data(self, data):
        if self.names and self.names[-1] == "script" and data.strip():
            self.scripts.append(data)


def draw(folder, labels, write):
    """The page that DVC makes of the plots of a model with these labels."""
    generator = np.random.default_rng(0)
    truth = (generator.random((40, len(labels))) < 0.5).astype(np.uint8)
    scores = generator.random((40, len(labels)))
    folder.mkdir()
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
    (folder / ".dvc/config").touch()
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["evaluate"]["plots"]
    shown = {path: settings for plot in plots for path, settings in plot.items()}
    (folder / ".dvc/config").write_text("[core]\n    no_scm = True\n    analytics = False\n")
    drawn = [
        {path: {key: value for key, value in settings.items() if key != "cache"}} for path, settings in shown.items()
    ]
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"plots": drawn[:2]}))
    write(folder / "metrics/plots/per_label.csv", label_figures.per_label(truth, scores, labels))
    write(folder / "metrics/plots/pr_curves.csv", label_figures.precision_recall_points(truth, scores, labels))
    subprocess.run(
        [sys.executable, "-m", "dvc", "plots", "show", "-o", "page"],
        cwd=folder,
        check=True,
        capture_output=True,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
    )
    return (folder / "page/index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    root = tmp_path_factory.mktemp("plots")
    plain = [f"label {k}" for k in range(len(LABELS))]
    return Scripts(draw(root / "plain", plain, files.write_plot)), draw(root / "hostile", LABELS, files.write_plot)


def test_no_label_ends_the_script_that_holds_the_data(pages):
    plain, page = pages
    hostile = Scripts(page)
    assert hostile.names == plain.names
    assert plain.names.count("script") == 5  # three of Vega, two plots
    assert [s.split("=", 1)[0].strip() for s in hostile.scripts] == ["var spec", "var spec"]


def test_labels_are_values_of_the_data_and_of_nothing_else(pages):
    plain, page = pages
    for before, script in zip(plain.scripts, Scripts(page).scripts, strict=True):
        spec, other = (json.JSONDecoder().raw_decode(text.split("=", 1)[1].strip())[0] for text in (script, before))
        values, others = spec["data"].pop("values"), other["data"].pop("values")
        assert {point["label"] for point in values} == set(DRAWN)
        assert len(values) == len(others)
        assert spec == other  # titles, fields, expressions


def test_the_same_labels_written_as_they_are_do_end_it(tmp_path):
    """What `files.write_plot` is for: if DVC escapes them itself one day, it can go."""
    page = draw(tmp_path / "raw", LABELS, files.write_csv)
    assert Scripts(page).names.count("script") > 5


def test_the_stages_write_every_table_with_labels_that_dvc_draws_by_it():
    written = re.findall(r"files\.(\w+)\(args\.plots", (ROOT / "src/evaluate.py").read_text())
    assert written == ["write_plot"]  # in a loop over them all

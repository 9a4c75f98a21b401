"""Labels, ids and names that a terminal would obey: no command shows them raw, in a pipe or on a terminal."""

import contextlib
import csv
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML

from small_project import ROOT, environment

TITLE, RED, BELL, RETURN = "a\x1b]0;owned\x07b", "a\x1b[31mb", "a\x07b", "a\rb"
BREAK, BOLD, BIDI, CSI = "a\nfake line", "[bold]x[/bold]", "a\u202egnp.exe", "a\x9b31mb"
LINK, EMOJI, ISOLATE = "[link=http://x]a[/link]", ":warning:", "a\u2066\u200fb"
NAMES = [TITLE, RED, BELL, RETURN, BREAK, BOLD, BIDI, CSI, LINK, EMOJI, ISOLATE]
# What the program itself may write to a terminal: the bold lines of rich, the end of a line there, the bars of tqdm.
OWN = re.compile("\x1b\\[(0|1)m|\r")
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

# Runs the command lines of a JSON list in one process: a start of Python costs a second.
DRIVER = """
import json, runpy, sys, traceback
from posterity import cli
for number, (name, *arguments) in enumerate(json.loads(sys.argv[1])):
    print(f"== {number} {name}", flush=True)
    sys.argv[1:] = arguments
    try:
        cli.main(arguments) if name == "posterity" else runpy.run_path(f"{SRC}/{name}.py", run_name="__main__")
    except SystemExit as done:
        print(f"-- {number} ended with {done.code}", flush=True)
    except Exception:
        traceback.print_exc()
"""


def run(commands, *, terminal):
    """What the commands show, stdout and stderr together."""
    code = DRIVER.replace("{SRC}", str(ROOT / "src"))
    command = [sys.executable, "-c", code, json.dumps(commands)]
    env = environment(TERM="xterm", COLUMNS="200", PYTHONIOENCODING="utf-8")
    if not terminal:
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
        return done.stdout.decode()
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while part := os.read(ours, 65536):
                shown += part
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return shown.decode()


def table(path, rows):
    with Path(path).open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)


def params(path="params.yaml", **values):
    yaml = YAML()
    content = yaml.load(ROOT / "params.yaml")
    settings = {
        "data.images": "images", "data.labels": "labels.csv", "data.image_pattern": "{id}.png",
        "data.list_column": None, "data.min_positives": 0, "image.height": 8, "image.width": 8,
        "split.validation_fraction": 0.3, "machine.reuse_folder": None, "model.backbone_folder": "images",
    }  # fmt: skip
    for key, value in {**settings, **values}.items():
        section, name = key.split(".")
        content[section][name] = value
    yaml.dump(content, Path(path))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Twelve images and their table: ids, files, columns and labels are `NAMES`."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    ids = [*(f"id{name}".replace("/", "-") for name in NAMES), "plain"]
    for number, id_ in enumerate(ids):
        image = Image.new("RGB", (8, 8), (20 * number, 0, 0))
        image.putpixel((number % 8, number // 8), (255, 255, 255))
        image.save(f"images/{id_}.png")
    labels = NAMES
    table(
        "labels.csv",
        [["Id", *labels], *([id_, *(int(k in (n, n - 1)) for k in range(len(labels)))] for n, id_ in enumerate(ids))],
    )
    params()
    return ids


def problems(ids):
    """Tables and settings that each command refuses or complains of, with hostile text at the place."""
    ids = [*(f"id{name}".replace("/", "-") for name in NAMES), "plain"]
    half = "\ud83d"  # no character: JSON may hold it
    table(
        "bad_cell.csv",
        [["Id", *NAMES], *([id_, *(["1"] * 10), f"\x1b[31m{id_}"] for id_ in ids[:2]), ["plain", *"1" * 11]],
    )
    params("bad_cell.yaml", **{"data.labels": "bad_cell.csv", "data.max_dropped_fraction": 1.0})
    table("foreign.csv", [["Id", RED, BREAK], *([id_, "1", BREAK] for id_ in ids)])
    params("foreign.yaml", **{"data.labels": "foreign.csv"})
    table("outside.csv", [["Id", RED], [f"../{BREAK}", "1"], ["plain", "1"]])
    params("outside.yaml", **{"data.labels": "outside.csv"})
    table("missing.csv", [["Id", RED, BREAK], [f"{TITLE}{BREAK}", "1", "0"], ["plain", "1", "1"]])
    params("missing.yaml", **{"data.labels": "missing.csv"})
    table("lists.csv", [["Id", RED, BREAK], *([id_, f"['{RED}'; {BREAK}", "0"] for id_ in ids), ["plain", RED, "1"]])
    params("lists.yaml", **{"data.labels": "lists.csv", "data.list_column": RED, "data.label_columns": []})
    params("column.yaml", **{"data.id_column": BREAK + TITLE, "split.group_column": RED + BREAK})
    table("sides.csv", [["Id", RED, BREAK], *([id_, "1", f"{BREAK}{n % 3}"] for n, id_ in enumerate(ids))])
    params("sides.yaml", **{"data.labels": "sides.csv", "split.side_column": BREAK})
    table("sep.csv", [["sep=\x1b"], ["Id\x1bA"], ["plain\x1b1"]])
    params("sep.yaml", **{"data.labels": "sep.csv"})
    table("ragged.csv", [["Id", RED, RED], ["plain", "1"]])
    params("ragged.yaml", **{"data.labels": "ragged.csv"})
    params("folder.yaml", **{"data.images": f"no\x1b[31m{BREAK}", "data.labels": f"{BIDI}.csv"})
    Path("recipe.yaml").write_text(
        json.dumps({"data": {"label_columns": [RED, BREAK, BIDI], "no_label_names": [TITLE]}})
    )
    Path("bad_recipe.yaml").write_text(json.dumps({"data": {f"{RED}{BREAK}": 1}}))
    Path("broken.yaml").write_text(f'"{BIDI}": 1\n"{BIDI}": 2\n')
    coco = {
        "images": [{"id": k, "file_name": f"{name}.png"} for k, name in enumerate(ids)],
        "categories": [{"id": k, "name": name} for k, name in enumerate([*NAMES, f"unused{BREAK}{RED}"])],
        "annotations": [{"id": k, "image_id": k, "category_id": k} for k in range(len(NAMES))],
    }
    Path("coco.json").write_text(json.dumps(coco))
    Path("twice.json").write_text(
        json.dumps({**coco, "images": [*coco["images"], {"id": 99, "file_name": f"{BREAK}.png"}]})
    )
    Path("no_coco.json").write_text(json.dumps({BREAK: RED, half: 1}))
    for name in (BREAK, RED):
        Path("voc/Annotations").mkdir(parents=True, exist_ok=True)
        Path(f"voc/Annotations/{name}.xml").write_text("<annotation><object></object></annotation>")
    Path("studio.json").write_text(json.dumps([{"image": "plain.png", BREAK: RED, BIDI: CSI}]))
    Path("no_image.json").write_text(json.dumps([{"data": {BREAK: RED, BIDI: CSI}}]))
    Path(f"hf/{BREAK}{RED}").mkdir(parents=True)
    table(f"hf/{BREAK}{RED}/metadata.csv", [["file", "x"], ["plain.png", "1"]])
    table(
        "open.csv",
        [["ImageID", "LabelName", "Confidence"], *([id_, id_, "1"] for id_ in ids), ["x", "y", f"{BREAK}{CSI}"]],
    )
    return [
        *(["validate", "--params", f"{name}.yaml"] for name in (
            "bad_cell", "foreign", "outside", "missing", "lists", "column", "sides", "sep", "ragged",
            "folder", "broken",
        )),
        *(["posterity", "check", "--params", f"{name}.yaml"] for name in ("column", "sides", "folder", "sep")),
        *(["posterity", "init", "images", f"{name}.csv"] for name in ("foreign", "lists", "sides", "sep", "ragged")),
        ["posterity", "init", "images", "foreign.csv", "--json"],
        ["posterity", "use", "recipe.yaml", "--dry-run"],
        ["posterity", "use", "bad_recipe.yaml"],
        ["posterity", "import", "coco", "coco.json", f"{RED}{BREAK}.csv", "--images", "images"],
        ["posterity", "import", "coco", "twice.json", "x.csv"],
        ["posterity", "import", "coco", "no_coco.json", "x.csv"],
        ["posterity", "import", "voc", "voc", "x.csv"],
        ["posterity", "import", "folders", ".", "folders.csv"],
        ["posterity", "import", "label-studio", "studio.json", "x.csv"],
        ["posterity", "import", "label-studio", "no_image.json", "x.csv"],
        ["posterity", "import", "label-studio", "studio.json", "y.csv", "--label-column", BREAK],
        ["posterity", "import", "huggingface", "hf", "x.csv"],
        ["posterity", "import", "open-images", "open.csv", "open_images.csv", "--images", "images"],
        ["posterity", "import", "jsonl", f"{BREAK}{RED}", "x.csv"],
        ["posterity", "predict", f"{BREAK}{RED}/*.png"],
        ["posterity", "predict", f"images/{RED}.png", "--model", f"{BREAK}{RED}"],
        ["posterity", "predict", "x", f"--{BREAK}{RED}"],
        ["posterity", "predict", "x", "--threshold", f"{BREAK}{RED}"],
        ["split", f"--{BREAK}{RED}"],
        ["predict", f"{BREAK}{RED}"],
    ]  # fmt: skip


@pytest.mark.parametrize("terminal", [False, True], ids=["a pipe", "a terminal"])
def test_text_from_data_is_shown_and_not_obeyed(project, terminal):
    good = [
        ["validate"],
        ["preprocess"],
        ["split"],
        ["posterity", "check"],
        ["posterity", "init", "images", "labels.csv"],
        ["posterity", "init", "images", "labels.csv", "--json"],
    ]
    wrong = problems(project)
    shown = OWN.sub("", run([*good, *wrong], terminal=terminal))
    parts = re.split(r"^== \d+ .*\n", shown, flags=re.MULTILINE)[1:]
    assert len(parts) == len(good) + len(wrong)
    for command, part in zip([*good, *wrong], parts, strict=True):
        assert not OBEYED.search(part), (command, part)
        # A line break of data would begin a line of its own.
        assert not re.search(r"^fake line", part, re.MULTILINE), (command, part)
        assert "Traceback" not in part, (command, part)
    validate, _, _, _, init, as_json = parts[:6]
    for part in (validate, init):
        for name in (r"a\x1b]0;owned\x07b", r"a\nfake line", BOLD, r"a\u202egnp.exe", r"a\x9b31mb", LINK, EMOJI):
            assert name in part
    assert json.loads(as_json[as_json.index("{") : as_json.rindex("}") + 1])["labels"] == dict.fromkeys(NAMES, 2)


def test_what_is_advised_can_be_copied_into_a_shell(project, tmp_path):
    """The command that `posterity import` names leads to the very files, whatever their names."""
    name = f"{BREAK}{RED}'{BIDI}{CSI}.csv"
    shown = run([["posterity", "import", "folders", ".", name, "--images", "images"]], terminal=False)
    assert Path(name).exists()
    advised = re.search(r"Next: `posterity init (.*)` proposes", shown)[1]
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {advised}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert words.stdout.decode().split("\0")[:-1] == ["images", name]

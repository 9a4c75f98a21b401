"""`posterity verify` as a command: exit codes, the table, JSON, and names that a terminal would act on."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from posterity import cli
from posterity.verify_command import visible
from unit.verifying.small_outs import cached, flip, make

SHA256_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of FIPS 180-4

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries of DVC


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify_command") / "project"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(folder)
        text = Path("dvc.yaml").read_text()
        Path("dvc.yaml").write_text(text[: text.index("  later:")])  # the stage that has not run
    return folder


@pytest.fixture
def verify(made, tmp_path, monkeypatch, capsys):
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")

    def run(*arguments):
        try:
            cli.main(["verify", *arguments])
            code = 0
        except SystemExit as done:
            code = done.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_all_right_is_one_line(verify):
    # a.txt, added.csv, figures.json and two files of the folder; an object of each but the metric, and the list.
    # Bytes: 1 + 9 + 2 + 1 + 1 in the workspace, 1 + 9 + 1 + 1 in the cache; the list is read on its own.
    assert verify() == (0, "All right: 10 right; 26 bytes read.\n", "")


def test_all_rows_are_shown_on_demand(verify):
    code, out, _ = verify("--all")
    assert code == 0
    assert len(out.splitlines()) == 11
    assert "right  a.txt " in out


def test_what_is_wrong_is_shown_with_the_commands(verify):
    flip(Path("a.txt"))
    cached("2").unlink()
    code, out, _ = verify()
    assert code == 1
    lines = out.splitlines()
    assert lines[0].split() == [
        "damaged", "a.txt", "expected", "md5", "0cc175b9c0f1b6a831c399e269772661,", "got",
        "833344d5e1432da82ef02e1301477ce8", "(1", "bytes)",
    ]  # fmt: skip  # md5 of "a" and of "`"
    assert lines[1].split()[0] == "missing"
    assert lines[2:5] == ["", "What mends it, in this order:", "  rm -rf a.txt && dvc checkout a.txt"]
    assert lines[5] == "  mend the files of this stage first, then dvc commit copy"
    assert lines[-1] == "Something is wrong: 8 right, 1 damaged, 1 missing; 25 bytes read."


def test_nothing_is_advised_while_dvc_works_on_the_files(verify):
    Path("a.txt").unlink()
    Path("dvc").write_text("import sys; print('started', flush=True); sys.stdin.read()")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "dvc"], **pipes) as process:
        assert process.stdout.readline() == "started\n"
        code, out, _ = verify()
        process.stdin.close()
    assert code == 1
    assert f"A DVC process is at work here (PID {process.pid}: " in out
    assert "What mends it" not in out


def test_json_has_every_row(verify):
    Path("folder/extra").write_text("x")
    code, out, _ = verify("--json")
    content = json.loads(out)
    assert (code, content["right"], content["counts"]) == (1, False, {"right": 10, "extra": 1})
    (row,) = [row for row in content["rows"] if row["state"] == "extra"]
    assert (row["what"], row["fix"]) == ("folder/extra", "move folder/extra out of folder")


def test_names_cannot_act_on_the_terminal(verify):
    Path("folder/\x1b[2J\n\u202etxt").write_text("x")
    _, out, _ = verify()
    assert r"folder/\x1b[2J\n\u202etxt" in out
    assert not set(out) & {"\x1b", "\u202e"}
    assert visible("Größe 名前") == "Größe 名前"


def test_nothing_to_verify_is_a_mistake_of_the_user(verify):
    Path("dvc.lock").unlink()
    code, _, err = verify()
    assert code == 2
    assert err.startswith("error: dvc.lock does not exist here")


def test_checksums_of_caches_are_checked_where_they_are_recorded(verify):
    """In the agreed form: sha256 of every other file, and a digest of the rest of meta.json."""
    folder = Path("data/tensors")
    folder.mkdir(parents=True)
    (folder / "images-00000.npy").write_bytes(b"abc")
    sums = {"images-00000.npy": SHA256_ABC}
    # sha256 of {"num_rows": 1, "sha256": {"images-00000.npy": "ba78..."}}, by sha256sum.
    meta = {"num_rows": 1, "sha256": sums, "digest": "53e927533d50464529ec65b2fa8196f0d62cbc958ebec3b6514f7476ef23b799"}
    (folder / "meta.json").write_text(json.dumps(meta))
    assert verify()[0] == 0
    (folder / "images-00000.npy").write_bytes(b"abd")
    code, out, _ = verify()
    assert (code, out.split()[:2]) == (1, ["damaged", "data/tensors/images-00000.npy"])
    (folder / "images-00000.npy").write_bytes(b"abc")
    (folder / "meta.json").write_text(json.dumps(meta | {"num_rows": 2}))
    code, out, _ = verify()
    assert (code, out.split()[:2]) == (1, ["damaged", "data/tensors/meta.json"])
    (folder / "meta.json").write_text(json.dumps({"num_rows": 1}))
    code, out, _ = verify("--all")
    assert code == 0
    assert "no checksum recorded" in out


def test_images_are_checked_by_the_manifest(verify):
    Path("images").mkdir()
    Path("images/a.jpg").write_bytes(b"abc")
    Path("images/b c.jpg").write_bytes(b"abd")
    Path("data").mkdir()
    sums = dict.fromkeys(("images/a.jpg", "images/b c.jpg"), SHA256_ABC)
    Path("data/manifest.csv").write_text("path,sha256\n" + "".join(f"{path},{sum}\n" for path, sum in sums.items()))
    code, out, _ = verify()
    assert code == 1
    assert out.splitlines()[0].startswith("damaged  images/b c.jpg  expected sha256 ba7816bf")
    fix = "bring 'images/b c.jpg' back from where it came, or touch 'images/b c.jpg' && dvc repro if it is meant"
    assert out.splitlines()[3].strip() == fix
    assert out.splitlines()[-1].startswith("Something is wrong: 11 right, 1 damaged")

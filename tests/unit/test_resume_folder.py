import subprocess
import sys

import pytest

from posterity import resume_folder
from posterity.errors import UserError
from small_project import environment

KEY = "0123456789abcdef" * 4
HOLDING = """
import sys
from pathlib import Path
from posterity import resume_folder
print(resume_folder.open_folder(Path(sys.argv[1]), sys.argv[2]), flush=True)
input()
"""


def test_the_key_changes_with_the_recipe_and_with_the_inputs(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("train")
    first = resume_folder.work_key("epochs: 1", [path])
    assert resume_folder.work_key("epochs: 1", [path]) == first
    assert resume_folder.work_key("epochs: 2", [path]) != first
    path.write_text("test")
    assert resume_folder.work_key("epochs: 1", [path]) != first


def test_work_that_another_process_is_doing_is_not_shared(tmp_path, capsys):
    command = [sys.executable, "-c", HOLDING, str(tmp_path), KEY]
    with subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == f"{tmp_path / KEY[:16]}\n"
        assert resume_folder.open_folder(tmp_path, KEY) is None
        assert capsys.readouterr().out.startswith("Another process is doing the same work")
        holder.communicate("\n")
    assert resume_folder.open_folder(tmp_path, KEY) == tmp_path / KEY[:16]


def test_two_pieces_of_work_are_kept_and_a_folder_of_somebody_else_is_not_touched(tmp_path):
    parent = tmp_path / "train"
    for key in ("a" * 64, "b" * 64, "c" * 64):
        folder = resume_folder.open_folder(parent, key)
        (folder / "train.npz").touch()
    assert len(list(parent.iterdir())) <= 3
    resume_folder.remove(folder)
    assert not folder.exists()
    (parent / "mine.txt").touch()
    with pytest.raises(UserError, match=r"mine\.txt"):
        resume_folder.open_folder(parent, KEY)
    assert (parent / "mine.txt").exists()

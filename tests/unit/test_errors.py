import pytest

from posterity import errors
from posterity.errors import UserError


def raising(error):
    def main():
        raise error

    return main


def test_a_script_that_ends_well_just_ends(capsys):
    calls = []
    errors.run(lambda: calls.append("called"))
    assert calls == ["called"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("params.yaml: no such key. Remove it."), 2, "error: params.yaml: no such key. Remove it.\n"),
        (UserError("two\nlines"), 2, "error: two\nlines\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_what_the_user_can_mend_is_one_message_and_an_exit_code(capsys, error, code, message):
    with pytest.raises(SystemExit) as stopped:
        errors.run(raising(error))
    assert stopped.value.code == code
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize("bug", [ValueError("bug"), KeyError("row"), AssertionError()])
def test_a_bug_keeps_its_traceback(capsys, bug):
    with pytest.raises(type(bug)) as raised:
        errors.run(raising(bug))
    assert raised.value is bug
    assert capsys.readouterr().err == ""


def test_an_exit_code_of_the_script_itself_passes():
    with pytest.raises(SystemExit) as stopped:
        errors.run(raising(SystemExit(1)))
    assert stopped.value.code == 1

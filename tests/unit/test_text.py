"""Text from data where something obeys it."""

import json
import subprocess

import pytest
from ruamel.yaml import YAML

from posterity import recipes
from posterity.errors import UserError
from posterity.text import inert_in_script, json_text, printable, printable_lines, shell_word

HOSTILE = "\x1b]0;t\x07\r\n\t\x00\x7f\x85\x9b\u061c\u200e\u200f\u2028\u202a\u202e\u2066\u2069\udcff"
ESCAPED = (
    r"\x1b]0;t\x07\r\n\t\x00\x7f\x85\x9b\u061c\u200e\u200f\u2028\u202a\u202e\u2066\u2069\udcff"
)  # fmt: skip


def test_what_a_terminal_obeys_is_escaped_and_nothing_else():
    assert printable(HOSTILE) == ESCAPED
    plain = "Crème brûlée \\n 日本 👩‍👧 [bold] </script> العربية עברית"
    assert printable(plain) == plain
    assert printable_lines("a\nb\x1b") == "a\nb\\x1b"


def test_the_text_of_an_error_is_escaped_but_for_its_lines():
    assert str(UserError("one\x1b[31m\ntwo\u202e")) == "one\\x1b[31m\ntwo\\u202e"


@pytest.mark.parametrize("indent", [None, 1])
def test_json_means_the_same(indent):
    content = {HOSTILE: [HOSTILE, "é"]}
    text = json_text(content, indent=indent)
    assert json.loads(text) == content
    assert text.replace("\n", "").isprintable()
    assert "é" in text


@pytest.mark.parametrize("word", ["plain", "two words", "it's", "a'\n\\x\x1b\u202e\x9b", "caf\udce9\n"])
def test_a_shell_reads_the_word_as_it_is(word):
    command = f"printf %s {shell_word(word)}"
    assert command.isprintable()
    said = subprocess.run(["bash", "-c", command], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}).stdout
    assert said.decode(errors="surrogateescape") == word


@pytest.mark.parametrize(
    "value", ["a\x1b[31m", ["a\nb", "\u202e", "a" * 5000 + " b" * 100], {"\x9b": "present", "x": "\r"}, "a: b", None]
)
def test_a_setting_is_shown_on_one_line_that_means_the_same(value):
    line = printable(recipes.shown(value))
    assert line.isprintable()
    assert YAML(typ="safe", pure=True).load(line) == value


@pytest.mark.parametrize(
    ("text", "inert"),
    [
        ("</script>", "‹/script>"),
        ("</SCRIPT\n>", "‹/SCRIPT\n>"),
        ("<!--<Script ", "‹!--‹Script "),
        ("</b>", "‹/b>"),
        ("age <5, <b>, < /script> -->", "age <5, <b>, < /script> -->"),
    ],
)
def test_only_what_a_script_element_obeys_is_another_letter(text, inert):
    assert inert_in_script(text) == inert

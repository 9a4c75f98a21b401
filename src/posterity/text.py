r"""Text from data, on its way to something that obeys some characters: a terminal, a shell, a web page, a spreadsheet.

Labels, ids and the names of columns and files may hold any character, by accident or on purpose. In the files that
stages make they stay as they are; what is printed, quoted or opened elsewhere passes through here.
"""

import json
import re
import shlex
from typing import Any

# What a terminal or the order of a line obeys: control characters (C0, DEL and C1), the marks, embeddings, overrides
# and isolates of bidirectional text (https://trojansource.codes), separators of lines, and halves of characters, which
# stand for bytes that are no UTF-8.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
# What ends or changes a script element of HTML, before its content is looked at as a script
# (https://html.spec.whatwg.org/multipage/scripting.html#restrictions-for-contents-of-script-elements).
_ENDS_A_SCRIPT = re.compile(r"<(?=/|!--|script)", re.IGNORECASE)
# What spreadsheets take for the beginning of a formula, after blanks and what nobody sees
# (https://owasp.org/www-community/attacks/CSV_Injection), also in the wide form of East Asian keyboards.
_FORMULA = re.compile(r"['\t\r\n]|[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠]")


def printable(text: object) -> str:
    r"""``str(text)`` on one line, with escapes in place of all that a terminal obeys.

    A backslash stays one, so that the result is for people and cannot be turned back.

    Examples
    --------
    >>> print(printable("\x1b[31mred\r\n"), printable("caf\u00e9 \u202egnp.exe"))
    \x1b[31mred\r\n café \u202egnp.exe
    """
    return _OBEYED.sub(_escape, str(text))


def printable_lines(text: object) -> str:
    r"""`printable` for a text of several lines, whose line feeds stay.

    >>> printable_lines("one\x07\ntwo")
    'one\\x07\ntwo'
    """
    return "\n".join(map(printable, str(text).split("\n")))


def json_text(content: Any, *, ascii_only: bool = False, indent: int | None = None) -> str:
    r"""JSON that a terminal may show: what `printable` escapes is escaped as JSON does it, so that it means the same.

    >>> json_text(["é", "\x9b31m", "\u202e"])
    '["é", "\\u009b31m", "\\u202e"]'
    """
    text = json.dumps(content, ensure_ascii=ascii_only, allow_nan=False, indent=indent)
    # Line feeds are those of the indentation: in texts of JSON there are none.
    return re.sub(_OBEYED, lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def shell_word(text: object) -> str:
    r"""``str(text)`` as a word of a command that people may copy: `shlex.quote`, or Bash's ``$'...'`` with escapes.

    Examples
    --------
    >>> print(shell_word("my table.csv"), shell_word("a'\nb.csv"))
    'my table.csv' $'a\'\x0ab.csv'
    """
    word = str(text)
    if not _OBEYED.search(word):
        return shlex.quote(word)
    return "$'" + _OBEYED.sub(_bash_escape, word.replace("\\", "\\\\").replace("'", "\\'")) + "'"


def inert_in_script(text: str) -> str:
    """``text`` without what ends a script element of HTML or changes how it is read.

    ``dvc plots show`` writes the cells of the plots into script elements as JSON, which leaves ``<`` as it is. There,
    only ``</``, ``<!--`` and ``<script`` do anything: their ``<`` becomes U+2039, which looks alike. Nothing else
    changes.

    Examples
    --------
    >>> inert_in_script("</script><script>alert(1)"), inert_in_script("age <5")
    ('‹/script>‹script>alert(1)', 'age <5')
    """
    return _ENDS_A_SCRIPT.sub("\u2039", text)


def inert_in_spreadsheet(cell: str) -> str:
    r"""A cell of text that no spreadsheet takes for a formula: with an apostrophe before it, if it looks like one.

    A cell that begins with an apostrophe gets one more, so that it can be undone: take one off every cell that begins
    with one.

    Examples
    --------
    >>> [inert_in_spreadsheet(cell) for cell in ("=1+1", "  -x", "'90s", "a=b", "")]
    ["'=1+1", "'  -x", "''90s", 'a=b', '']
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _SHORT.get(found[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _bash_escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as `os.fsdecode` gives it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"

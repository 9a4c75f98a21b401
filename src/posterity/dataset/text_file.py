"""The text of a labels file, or what the file is instead and how to make a table of it."""

import codecs
import io
import json
import zipfile
from pathlib import Path

from posterity.errors import UserError
from posterity.regular_file import open_regular
from posterity.text import printable, shell_word

# What a file that is no table of text begins with, what it is, and what to do; {file} and {new} are quoted for a shell.
_SIGNATURES: list[tuple[bytes, str, str]] = [
    (b"\x1f\x8b", "a gzip archive", "Unpack it: `gzip -dc {file} > {new}`"),
    (b"BZh", "a bzip2 archive", "Unpack it: `bzip2 -dc {file} > {new}`"),
    (b"\xfd7zXZ\0", "an xz archive", "Unpack it: `xz -dc {file} > {new}`"),
    (b"7z\xbc\xaf'\x1c", "a 7z archive", "Unpack it"),
    (b"Rar!", "a rar archive", "Unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "Unpack it: `zstd -dc {file} > {new}`"),
    (
        b"ARROW1",
        "a Feather (Arrow) file",
        "Write its table as CSV: `pandas.read_feather(...).to_csv(..., index=False)`",
    ),
    (b"PAR1", "a Parquet file", "Convert it: `posterity import parquet {file} {new}`"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of before 2007 (.xls)", "Save it as CSV (UTF-8) or .xlsx in Excel"),
    (b"\x89HDF", "an HDF5 file", "Write its table as CSV"),
    (b"SQLite format 3", "an SQLite database", "Export its table as CSV"),
    (b"%PDF", "a PDF document", "Find the table that it was made from"),
    (b"\x80\x04\x95", "a Python pickle", "Write its table as CSV: `pandas.read_pickle(...).to_csv(..., index=False)`"),
    (b"\x93NUMPY", "a NumPy array", "Write it as CSV with a header"),
    (b"\xff\xd8\xff", "a JPEG image", "Correct the path"),
    (b"\x89PNG", "a PNG image", "Correct the path"),
    (
        b"version https://git-lfs.github.com/spec",
        "a pointer of Git LFS, not the file itself",
        "Run `git lfs pull`",
    ),
]
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def read(path: str | Path) -> str:
    """Read a text file: UTF-8 with or without a byte-order mark, or UTF-16 with one.

    Raises
    ------
    UserError
        If the file is missing, is not text (the message says what it is and how to get a table of it), or is text in
        another encoding.
    """
    path = Path(path)
    try:
        with open_regular(path) as stream:
            content = stream.read()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. Expected the labels CSV. Set data.labels in params.yaml.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}. Set data.labels in params.yaml.") from None
    _refuse_other_files(path, content)
    return decode(path, content)


def decode(path: Path, content: bytes) -> str:
    """Decode the bytes of a text file; ``path`` is for messages.

    Raises
    ------
    UserError
        If they are in another encoding than UTF-8 or, with a byte-order mark, UTF-16.
    """
    if content.startswith(_UTF32):
        raise UserError(f"{path}: expected UTF-8 text. Got UTF-32. {_iconv(path, 'utf-32')}")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}: begins like UTF-16, but the bytes at position {error.start} are none. Save it as UTF-8."
            ) from None
    try:
        text = content.decode("utf-8-sig")
        position = content.find(b"\0")  # UTF-16 without a mark passes as UTF-8 with a zero byte after each letter
    except UnicodeDecodeError as error:
        # The codec counts from behind the byte-order mark.
        position = error.start + (3 if content.startswith(codecs.BOM_UTF8) else 0)
    if position < 0:
        return text
    line = content.count(b"\n", 0, position) + 1
    got = f"Got the byte 0x{content[position]:02x} at position {position}"
    zeros = content[:1000].count(b"\0")
    if zeros >= len(content[:1000]) // 3:
        name = "utf-16le" if content[1:2] == b"\0" else "utf-16be"
        raise UserError(
            f"{path}, line {line}: expected UTF-8 text. {got}, as UTF-16 without a byte-order mark has. "
            f"{_iconv(path, name)}"
        )
    raise UserError(f"{path}, line {line}: expected UTF-8 text. {got}. {_iconv(path, 'windows-1252')}")


def beside(path: Path, suffix: str = ".csv") -> Path:
    """A path beside ``path`` at which nothing lies, for the output of a command that an error message advises."""
    number = 1
    while True:
        candidate = path.with_name(f"{path.stem}-utf8{'' if number == 1 else f'-{number}'}{suffix}")
        if candidate != path and not candidate.exists():
            return candidate
        number += 1


def _iconv(path: Path, encoding: str) -> str:
    new = beside(path)
    sure = "" if encoding.startswith("utf") else "If it is in the encoding of Western Europe's Windows, convert it: "
    verb = "Convert it: " if not sure else ""
    return (
        f"{sure}{verb}`iconv -f {encoding} -t utf-8 {shell_word(path)} > {shell_word(new)}`, then set "
        f"data.labels: {printable(new)} in params.yaml."
    )


def _refuse_other_files(path: Path, content: bytes) -> None:
    for signature, what, advice in _SIGNATURES:
        if content.startswith(signature):
            raise _other(path, what, advice)
    if content[257:262] == b"ustar":
        raise _other(path, "a tar archive", "Unpack it: `tar xf {file}`")
    if content.startswith(b"PK\x03\x04"):
        raise _other(path, *_zip(content))
    start = content[:4096].decode("utf-8-sig", "replace").lstrip()
    if start.startswith("<"):
        raise _other(path, *_markup(start))
    if start.startswith(("{", "[")) and (found := _json(path, content)):
        raise _other(path, *found)


def _other(path: Path, what: str, advice: str) -> UserError:
    new = beside(path)
    done = advice.format(file=shell_word(path), new=shell_word(new))
    then = f", then set data.labels: {printable(new)} in params.yaml" if "{new}" in advice else ", then set data.labels"
    return UserError(f"{path}: expected a CSV file, a table as text. Got {what}. {done}{then}.")


def _zip(content: bytes) -> tuple[str, str]:
    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except zipfile.BadZipFile:
        names = []
    if any(name.startswith("xl/") for name in names):
        return "an Excel workbook (.xlsx)", "Convert it: `posterity import excel {file} {new}`"
    if "content.xml" in names:
        return "an OpenDocument file", "Save it as CSV (UTF-8)"
    tables = [name for name in names if name.lower().endswith((".csv", ".tsv", ".txt"))]
    inside = f" with {', '.join(map(printable, tables[:3]))} in it" if tables else ""
    return f"a zip archive{inside}", "Unpack it: `unzip {file}`"


def _markup(start: str) -> tuple[str, str]:
    lower = start[:1000].lower()
    if "<html" in lower or "<!doctype html" in lower:
        return "a web page (HTML), as a download that needs a login gives", "Download the file again"
    if "<annotations" in lower:
        return "an XML file of CVAT", "Convert it: `posterity import cvat {file} {new}`"
    if "<annotation" in lower:
        return "an XML file of one image (Pascal VOC)", "Convert its folder: `posterity import voc FOLDER {new}`"
    return "an XML file", "Write its table as CSV"


def _json(path: Path, content: bytes) -> tuple[str, str] | None:
    """What kind of JSON the file is, or None if it is none."""
    text = content.decode("utf-8-sig", "replace")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        first = text.lstrip().split("\n", 1)[0]
        try:
            is_lines = isinstance(json.loads(first), dict)
        except (ValueError, RecursionError):
            return None
        if not is_lines:
            return None
        return "JSON lines, not CSV", "Convert it: `posterity import jsonl {file} {new}`"
    if isinstance(parsed, dict) and "annotations" in parsed and "images" in parsed:
        return "JSON in the form of COCO, not CSV", "Convert it: `posterity import coco {file} {new}`"
    if isinstance(parsed, list) and parsed and isinstance(parsed[0], dict) and "annotations" in parsed[0]:
        return "JSON in the form of Label Studio, not CSV", "Convert it: `posterity import label-studio {file} {new}`"
    if isinstance(parsed, dict) and "\n" not in text.strip():
        return "JSON lines, not CSV", "Convert it: `posterity import jsonl {file} {new}`"
    if isinstance(parsed, dict | list):
        return "JSON, not CSV", "Write its table as CSV"
    return None

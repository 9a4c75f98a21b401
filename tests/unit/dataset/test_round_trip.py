"""Any table to a manifest and back: labels and ids come back as a user meant them, whatever characters they hold."""

import contextlib
import csv
import io
import json
from hashlib import sha256

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from examples import examples
from posterity import choices, files
from posterity.dataset import manifest
from posterity.dataset.image_files import ImageFacts
from posterity.dataset.options import Policies, Reading, TableForm
from posterity.errors import UserError
from posterity.targets import ABSENT, PRESENT, UNKNOWN

NUM_FILES = 6
# Nothing is left out but rows that cannot be used, and of these there are none.
POLICIES = Policies({kind: "keep" if "keep" in some else "drop" for kind, some in choices.POLICIES.items()}, 0)
CELLS = {
    PRESENT: ("1", "1.0", "true", "TRUE", " 1 ", "yes"),
    ABSENT: ("0", "0.0", "False", "no", ""),
    UNKNOWN: ("-1", "-1.0", "?", "\x1b["),
}
VALUES: dict[str, choices.CellState] = {
    "yes": "present", "no": "absent", "": "absent", "-1": "unknown", "?": "unknown", "\x1b[": "unknown",
}  # fmt: skip
# Text without halves of characters, which UTF-8 lacks, and without zeros, for which a table is refused. White space
# around a name does not count.
PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
ODD = st.sampled_from([
    "=1+1", "</script>", "a\nb", "a\rb", "a\r\nb", '"', "'", "''", '"a', "a|b", "a,b;c\td", "\\", "\\n", "[", "[]",
    "['a']", "{", "(1)", "nan", "None", "N/A", "null", "0", "1", "1.0", "01", "\ufeffx", "\u202ea",
    "\x85x\x85y", "a\u2028b", "é", "e\u0301", "array(['a'])", "{\"choices\": [\"a\"]}", "#", "-1", "x\x1b[31m", "日本",
])  # fmt: skip
NAMES = (PLAIN | ODD).map(str.strip).filter(bool)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of files that are taken for images, each different from the others."""
    folder = tmp_path_factory.mktemp("round_trip")
    (folder / "images").mkdir()
    for number in range(NUM_FILES):
        (folder / f"images/f{number}.jpg").touch()

    def inspect(paths, *arguments, **options):
        return {path: ImageFacts(sha256(path.encode()).hexdigest(), 1, 8, 8) for path in paths}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest.image_files, "inspect", inspect)
        yield folder


@st.composite
def writings(draw):
    """How a user's program writes a table: delimiter, line ends, quotes, encoding."""
    return {
        "delimiter": draw(st.sampled_from([",", ";", "\t", "|"])),
        "lineterminator": "\r\n",  # with "\n", Python 3.11 leaves a carriage return without quotes
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    }, draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))


def read_back(folder, rows, form, writing):
    """Write a table, build its manifest, write that, and read it: ids, the present and the unknown labels, names."""
    options, encoding = writing
    stream = io.StringIO(newline="")
    csv.writer(stream, **options).writerows(rows)
    (folder / "labels.csv").write_bytes(stream.getvalue().encode(encoding))
    built = manifest.build(folder / "labels.csv", folder / "images", form, POLICIES, Reading(10**6))
    files.write_csv(folder / "manifest.csv", built.table)
    files.write_json(folder / "labels.json", built.vocabulary)
    table, names = manifest.read_manifest(folder / "manifest.csv"), files.read_json(folder / "labels.json")
    assert manifest.targets(table, names).tolist() == manifest.targets(built.table, built.vocabulary).tolist()
    assert table["path"].map(lambda path: path.startswith(str(folder))).all()
    return table["id"].tolist(), names, manifest.targets(table, names).tolist(), built.issues


@st.composite
def marked(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True).filter({"Id", "file"}.isdisjoint))
    ids = draw(st.lists(NAMES, min_size=1, max_size=NUM_FILES))
    states = st.sampled_from([PRESENT, ABSENT, UNKNOWN])
    targets = [[draw(states) for _ in names] for _ in ids]
    assume(any(PRESENT in row for row in targets))
    return names, ids, targets, [[draw(st.sampled_from(CELLS[state])) for state in row] for row in targets]


@examples(150)
@given(table=marked(), writing=writings())
def test_columns_of_marks(folder, table, writing):
    names, ids, targets, cells = table
    form = TableForm("Id", image_column="file", values=VALUES, delimiter=writing[0]["delimiter"])
    rows = [
        ["Id", "file", *names],
        *([id_, f"f{k}.jpg", *row] for k, (id_, row) in enumerate(zip(ids, cells, strict=True))),
    ]
    assert read_back(folder, rows, form, writing)[:3] == (ids, names, targets)


def delimited(names, delimiter):
    """Names as a careful person writes them into one cell: what is no plain word stands in double quotes."""
    return delimiter.join(name if name.isalpha() else '"' + name.replace('"', '""') + '"' for name in names)


WAYS = {
    "JSON": lambda names, _: json.dumps(names),
    "JSON with all letters": lambda names, _: json.dumps(names, ensure_ascii=False),
    "Python": lambda names, _: str(names),
    "a tuple": lambda names, _: str(tuple(names)),
    "delimited": delimited,
}


@st.composite
def listed(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    ids = draw(st.lists(NAMES, min_size=1, max_size=NUM_FILES))
    labels = [draw(st.lists(st.sampled_from(names), max_size=4, unique=True)) for _ in ids]
    assume(any(labels))
    return ids, labels


@examples(200)
@given(table=listed(), writing=writings(), way=st.sampled_from(sorted(WAYS)), delimiter=st.sampled_from("|,;/ "))
def test_lists_in_a_cell(folder, table, writing, way, delimiter):
    ids, labels = table
    column = [WAYS[way](names, delimiter) if names else "" for names in labels]
    form = TableForm(
        "Id",
        image_column="file",
        list_column="labels",
        list_delimiter=delimiter,
        label_columns=[],
        delimiter=writing[0]["delimiter"],
    )
    rows = [
        ["Id", "file", "labels"],
        *([id_, f"f{k}.jpg", cell] for k, (id_, cell) in enumerate(zip(ids, column, strict=True))),
    ]
    digits = set("".join(name for some in labels for name in some)) <= set("01. ")
    if digits:  # vectors of 0 and 1 are no names, so that these may be refused
        with contextlib.suppress(UserError):
            read_back(folder, rows, form, writing)
        return
    found_ids, names, targets, issues = read_back(folder, rows, form, writing)
    assert not [issue for issue in issues if issue.kind == "bad_label_cell"]
    assert (found_ids, names) == (ids, sorted({name for some in labels for name in some}))
    assert targets == [[int(name in some) for name in names] for some in labels]


@st.composite
def one_a_row(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    ids = draw(st.lists(NAMES, min_size=1, max_size=NUM_FILES, unique=True))
    said = {(id_, name): draw(st.sampled_from([None, PRESENT, ABSENT, UNKNOWN])) for id_ in ids for name in names}
    rows = [(*key, state) for key, state in said.items() if state is not None]
    assume(any(state == PRESENT for *_, state in rows))
    return draw(st.permutations(rows + draw(st.lists(st.sampled_from(rows), max_size=2))))


@examples(150)
@given(rows=one_a_row(), writing=writings(), unlisted=st.sampled_from(["absent", "unknown"]), data=st.data())
def test_a_row_for_each_label(folder, rows, writing, unlisted, data):
    ids = list(dict.fromkeys(id_ for id_, _, _ in rows))
    names = sorted({name for _, name, _ in rows})
    form = TableForm(
        "Id",
        rows="label",
        list_column="label",
        presence_column="there",
        image_column="file",
        unlisted_labels=unlisted,
        values=VALUES,
        delimiter=writing[0]["delimiter"],
    )
    table = [
        [id_, name, data.draw(st.sampled_from(CELLS[state])), f"f{ids.index(id_)}.jpg"] for id_, name, state in rows
    ]
    said = {(id_, name): state for id_, name, state in rows}
    default = ABSENT if unlisted == "absent" else UNKNOWN
    assert read_back(folder, [["Id", "label", "there", "file"], *table], form, writing)[:3] == (
        ids,
        names,
        [[said.get((id_, name), default) for name in names] for id_ in ids],
    )

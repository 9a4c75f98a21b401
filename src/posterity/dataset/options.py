"""What `posterity.dataset.manifest.build` has to know beside the two paths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from posterity.workers.threads import Mapper


@dataclass(frozen=True)
class TableForm:
    """Which columns of the labels CSV hold what; the names are those of params.yaml's section ``data``.

    Attributes
    ----------
    id_column : str
        Column with the id of the image.
    list_column : str, optional
        Column with all labels of an image in one cell.
    list_delimiter : str
        Text between two labels of ``list_column``.
    label_columns : sequence of str, optional
        Columns of 0 and 1, one per label; None = every column that has no other role.
    image_pattern : str
        Name of an image file inside the folder, with ``{id}`` in it.
    image_column : str, optional
        Column with the name of the image file, used instead of ``image_pattern``.
    group_column, side_column : str, optional
        Columns of section ``split``: what holds rows together, and which side a row is on.
    """

    id_column: str
    list_column: str | None = None
    list_delimiter: str = "|"
    label_columns: Sequence[str] | None = None
    image_pattern: str = "{id}.jpg"
    image_column: str | None = None
    group_column: str | None = None
    side_column: str | None = None


@dataclass(frozen=True)
class Policies:
    """What is done about problems.

    Attributes
    ----------
    on_problem : mapping of str to {"keep", "drop", "fail"}
        One policy for each kind in `posterity.choices.POLICIES`.
    min_positives : int
        Rows that a label needs, or it is a ``rare_label``.
    """

    on_problem: Mapping[str, str]
    min_positives: int


@dataclass(frozen=True)
class Reading:
    """How the image files are looked at. Nothing of it but ``max_pixels`` changes the result.

    Attributes
    ----------
    max_pixels : int
        An image of more pixels is an ``oversized_image``.
    mapper : Mapper, optional
        Where the work is done; None = in threads of this machine.
    note : Path, optional
        File with what the last run knew of the image files, see `posterity.dataset.image_files.inspect`.
    show_progress : bool
        Draw a bar on stderr.
    """

    max_pixels: int
    mapper: Mapper | None = None
    note: Path | None = None
    show_progress: bool = False

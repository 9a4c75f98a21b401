"""What `posterity.dataset.manifest.build` has to know beside the two paths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from posterity.choices import AbsentOrUnknown, CellState, ImageFormat, TableRows
from posterity.pixels.spec import Limits
from posterity.workers.threads import Mapper


@dataclass(frozen=True)
class TableForm:
    """Which columns of the labels CSV hold what; the names are those of params.yaml's section ``data``.

    Attributes
    ----------
    id_column : str
        Column with the id of the image.
    list_column : str, optional
        Column with all labels of an image in one cell, or for ``rows: label`` the one label.
    list_delimiter : str
        Text between two labels of ``list_column``.
    label_columns : sequence of str, optional
        Columns of 0 and 1, one per label; None = every column that has no other role.
    delimiter : str
        Character between two columns, or ``whitespace``.
    rows : {"image", "label"}
        What a row is about: an image with all its labels, or one label of an image.
    presence_column : str, optional
        For ``rows: label``. Column that says whether the label is present; None = every row names a present label.
    unlisted_labels : {"absent", "unknown"}
        For ``rows: label``. What the labels are that an image has no row for.
    values : mapping of str to {"present", "absent", "unknown"}
        What cells of ``label_columns`` and ``presence_column`` say, beside 0, 1, true and false.
    no_label_names : sequence of str
        Names that say that an image has no label: they are no labels.
    image_pattern : str or sequence of str
        Name of an image file inside the folder, see `posterity.config.image_pattern.Pattern`.
    image_column : str, optional
        Column with the name of the image file, used instead of ``image_pattern``.
    group_column, side_column : str, optional
        Columns of section ``split``: what holds rows together, and which side a row is on.
    """

    id_column: str
    list_column: str | None = None
    list_delimiter: str = "|"
    label_columns: Sequence[str] | None = None
    delimiter: str = ","
    rows: TableRows = "image"
    presence_column: str | None = None
    unlisted_labels: AbsentOrUnknown = "absent"
    values: Mapping[str, CellState] = field(default_factory=dict)
    no_label_names: Sequence[str] = ()
    image_pattern: str | Sequence[str] = "{id}.jpg"
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
    """How the image files are looked at. Only the limits (`posterity.pixels.spec.Limits`) change the result.

    Attributes
    ----------
    max_pixels : int
        An image of more pixels is an ``oversized_image``.
    formats : tuple of str
        A file of another format is an ``unreadable_image``.
    max_side, max_scans : int
        An image with a longer side, or a JPEG of more scans, is an ``oversized_image``.
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
    formats: tuple[ImageFormat, ...] = Limits.formats
    max_side: int = Limits.max_side
    max_scans: int = Limits.max_scans

    @property
    def limits(self) -> Limits:
        """The files that are not refused."""
        return Limits(self.formats, self.max_pixels, self.max_side, self.max_scans)

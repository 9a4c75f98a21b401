"""How rows are divided into sides."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from posterity import choices


@dataclass(frozen=True)
class SplitOptions:
    """How rows are divided; the names are those of params.yaml's section ``split``.

    Attributes
    ----------
    validation_fraction : float
        Share of the rows to validate on, in (0, 1).
    test_fraction : float
        Share of the rows to keep for the test, in [0, 1).
    side_column : str, optional
        Name of the column that gives sides, for messages; None = there is none.
    sides : mapping of str to {"train", "validation", "test", "leave_out"}
        What the texts of that column mean.
    side_conflict : {"fail", "leave_out", "keep"}
        See `posterity.splitting.side_column.settle_conflicts`.
    """

    validation_fraction: float
    test_fraction: float = 0.0
    side_column: str | None = None
    sides: Mapping[str, str] = field(default_factory=dict)
    side_conflict: choices.SideConflict = "fail"

"""A folder for each class, as torchvision's ImageFolder and Keras' image_dataset_from_directory read it."""

from pathlib import Path

from posterity.errors import UserError
from posterity.importing.imported import SIDES, ImportedTable, listed
from posterity.pixels.image_names import is_image_path


def folders(source: Path) -> ImportedTable:
    """One label per image: the folder that it is in; folders called train, val or test above them give the side."""
    if not source.is_dir():
        raise UserError(f"{source}: expected a folder with one folder per class. Got none. Correct the path.")
    labels: dict[str, list[str]] = {}
    sides: dict[str, str] = {}
    left_out = []
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if not is_image_path(name) or path.is_dir():
            continue
        *above, _ = name.split("/")
        side = SIDES.get(above[0].casefold(), "") if above else ""
        classes = above[1:] if side else above
        if not classes:
            left_out.append(f"{name}: is in no folder of a class")
            continue
        labels[name] = ["/".join(classes)]
        sides[name] = side
    if not labels:
        raise UserError(f"{source}: expected image files in one folder per class. Got none.")
    return listed(labels, sides, left_out=left_out)

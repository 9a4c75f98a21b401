"""COCO, Pascal VOC and CVAT: formats of objects in images. A label is present where an object of it is."""

from pathlib import Path
from xml.etree import ElementTree

from posterity.errors import UserError
from posterity.importing.imported import SIDES, ImageNames, ImportedTable, item, listed, read_json, read_text, read_xml


def coco(source: Path) -> ImportedTable:
    """COCO's instances JSON: ``images``, ``annotations`` and ``categories`` (cocodataset.org, "Data format").

    An image without an annotation has no label.
    """
    content = read_json(source)
    names = {
        item(category, "id", int, f"{source}, categories[{number}]"): item(
            category, "name", str, f"{source}, categories[{number}]"
        )
        for number, category in enumerate(item(content, "categories", list, str(source)))
    }
    images: dict[int | str, str] = {}
    files = ImageNames(str(source))
    for number, image in enumerate(item(content, "images", list, str(source))):
        place = f"{source}, images[{number}]"
        id_ = item(image, "id", (int, str), place)
        if id_ in images:
            raise UserError(f"{place}: the id {id_!r} occurs twice. Every image needs an id of its own.")
        images[id_] = files.add(item(image, "file_name", str, place))
    labels: dict[str, list[str]] = {name: [] for name in images.values()}
    left_out = []
    for number, annotation in enumerate(item(content, "annotations", list, str(source))):
        place = f"{source}, annotations[{number}]"
        image_id, category_id = (
            item(annotation, "image_id", (int, str), place),
            item(annotation, "category_id", int, place),
        )
        if image_id not in images:
            left_out.append(f"annotations[{number}]: no image has the id {image_id!r}")
        elif category_id not in names:
            left_out.append(f"annotations[{number}]: no category has the id {category_id!r}")
        else:
            labels[images[image_id]].append(names[category_id])
    return listed(labels, notes=files.notes(), left_out=left_out)


def voc(source: Path) -> ImportedTable:
    """Pascal VOC: a folder ``Annotations`` with a file per image, and ``ImageSets/Main`` (VOC2012 development kit).

    ``train.txt``, ``val.txt`` and ``test.txt`` there give the sides.
    """
    folder = source / "Annotations" if (source / "Annotations").is_dir() else source
    files = sorted(folder.glob("*.xml"))
    if not files:
        raise UserError(f"{source}: expected a folder with Annotations/*.xml. Got no XML file. Correct the path.")
    labels: dict[str, list[str]] = {}
    stems: dict[str, str] = {}
    names = ImageNames(str(source))
    left_out = []
    for path in files:
        root = read_xml(path)
        if root.tag != "annotation":
            left_out.append(f"{path.name}: expected <annotation>, got <{root.tag}>")
            continue
        image = names.add((root.findtext("filename") or "").strip() or f"{path.stem}.jpg")
        labels[image] = [_text(found, path) for found in root.findall("object")]
        stems[path.stem] = image
    sides = {}
    for name, side in (("train", "train"), ("val", "validation"), ("test", "test")):
        listing = source / "ImageSets" / "Main" / f"{name}.txt"
        for line in read_text(listing).split("\n") if listing.is_file() else []:
            if line.split() and line.split()[0] in stems:
                sides[stems[line.split()[0]]] = side
    return listed(labels, sides, notes=names.notes(), left_out=left_out)


def cvat(source: Path) -> ImportedTable:
    """CVAT for images 1.1: tags and shapes of every image (docs.cvat.ai, "CVAT for images").

    The subset of a task gives the side, if it is called like one.
    """
    root = read_xml(source)
    found = root.findall("image")
    if root.tag != "annotations" or not found:
        raise UserError(
            f"{source}: expected <annotations> with <image> elements, as 'CVAT for images 1.1' has. Got <{root.tag}>. "
            f"Export the task in that format."
        )
    names = ImageNames(str(source))
    labels: dict[str, list[str]] = {}
    sides: dict[str, str] = {}
    for image in found:
        name = names.add(image.get("name", ""))
        labels[name] = [label for child in image if (label := child.get("label"))]
        sides[name] = SIDES.get(image.get("subset", "").casefold(), "")
    return listed(labels, sides, notes=names.notes())


def _text(element: ElementTree.Element, path: Path) -> str:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise UserError(f"{path}: expected a <name> in every <object>. Got none.")
    return name

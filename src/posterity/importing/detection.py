"""COCO, Pascal VOC and CVAT: formats of objects in images. A label is present where an object of it is."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

from posterity.dataset.csv_table import shown
from posterity.errors import UserError
from posterity.importing.imported import SIDES, ImageNames, ImportedTable, item, listed, read_json, read_text, read_xml
from posterity.text import printable


def coco(source: Path) -> ImportedTable:
    """COCO's instances JSON: ``images``, ``annotations`` and ``categories`` (cocodataset.org, "Data format").

    An image without an annotation has no label.
    """
    content = read_json(source)
    names: dict[int, str] = {}
    for number, category in enumerate(item(content, "categories", list, str(source))):
        place = f"{source}, categories[{number}]"
        id_ = item(category, "id", int, place)
        if id_ in names:
            raise UserError(f"{place}: the id {id_} occurs twice. Every category needs an id of its own.")
        names[id_] = item(category, "name", str, place)
    images: dict[int | str, str] = {}
    files = ImageNames(str(source))
    for number, image in enumerate(item(content, "images", list, str(source))):
        place = f"{source}, images[{number}]"
        id_ = item(image, "id", (int, str), place)
        if id_ in images:
            raise UserError(f"{place}: the id {id_!r} occurs twice. Every image needs an id of its own.")
        images[id_] = files.add_new(item(image, "file_name", str, place), f"images[{number}]")
    labels: dict[str, list[str]] = {name: [] for name in images.values()}
    left_out = []
    for number, annotation in enumerate(item(content, "annotations", list, str(source))):
        place = f"{source}, annotations[{number}]"
        image_id = item(annotation, "image_id", (int, str), place)
        category_id = item(annotation, "category_id", int, place)
        if category_id not in names:  # left out, the image would train as one without that object
            raise UserError(f"{place}: no category has the id {category_id}. Add it to 'categories', or export again.")
        if image_id not in images:
            left_out.append(f"annotations[{number}]: no image has the id {image_id!r}")
        else:
            labels[images[image_id]].append(names[category_id])
    notes = _of_no_image(names.values(), labels)
    return listed(labels, notes=files.notes() + notes, left_out=left_out)


def voc(source: Path) -> ImportedTable:
    """Pascal VOC: a folder ``Annotations`` with a file per image, and ``ImageSets/Main`` (VOC2012 development kit).

    ``train.txt``, ``val.txt`` and ``test.txt`` there give the sides; what is in ``trainval.txt`` alone trains. Objects
    marked as difficult count like the others.
    """
    folder = source / "Annotations" if (source / "Annotations").is_dir() else source
    files = sorted(path for path in folder.rglob("*.xml") if not path.name.startswith("."))
    if not files:
        raise UserError(f"{source}: expected a folder with Annotations/*.xml. Got no XML file. Correct the path.")
    labels: dict[str, list[str]] = {}
    stems: dict[str, str] = {}
    names = ImageNames(str(source))
    left_out = []
    for path in files:
        stem = path.relative_to(folder).with_suffix("").as_posix()
        root = read_xml(path)
        if root.tag != "annotation":
            left_out.append(f"{path.name}: expected <annotation>, got <{root.tag}>")
            continue
        image = names.add_new((root.findtext("filename") or "").strip() or f"{stem}.jpg", f"{stem}.xml")
        labels[image] = [_text(found, path) for found in root.findall("object")]
        stems[stem] = image
    sides = _voc_sides(source / "ImageSets" / "Main", stems, left_out)
    return listed(labels, sides, notes=names.notes(), left_out=left_out)


def _voc_sides(folder: Path, stems: Mapping[str, str], left_out: list[str]) -> dict[str, str]:
    """Sides by image. Images of the lists that have no annotation are added to ``left_out``."""
    sides: dict[str, str] = {}
    lists: dict[str, str] = {}
    for name, side in (("train", "train"), ("val", "validation"), ("test", "test"), ("trainval", "train")):
        listing = folder / f"{name}.txt"
        for line in read_text(listing).splitlines() if listing.is_file() else []:
            stem = line.split()[0] if line.split() else ""
            if name == "trainval" and stem in lists:
                if lists[stem] == "test":
                    raise UserError(f"{folder}: {stem!r} is in test.txt and in trainval.txt. Remove it from one.")
                continue
            if stem and stem in lists and lists[stem] != name:
                raise UserError(f"{folder}: {stem!r} is in {lists[stem]}.txt and in {name}.txt. Remove it from one.")
            if stem and stem not in lists and stem not in stems:
                left_out.append(f"{stem}: is in {name}.txt, but has no file in Annotations")
            if stem:
                lists[stem] = name
            if stem in stems:
                sides[stems[stem]] = side
    return sides


def cvat(source: Path) -> ImportedTable:
    """CVAT for images 1.1: tags and shapes of every image (docs.cvat.ai, "XML annotation format").

    The subset of an image, or of the task if it is the export of one, gives the side, if it is called like one.
    """
    root = read_xml(source)
    found = root.findall("image")
    if root.tag != "annotations" or not found:
        video = " with <track>, of a video" if root.find("track") is not None else ""
        raise UserError(
            f"{source}: expected <annotations> with <image> elements, as 'CVAT for images 1.1' has. Got "
            f"<{printable(root.tag)}>{video}. Export the task in that format."
        )
    of_task = (root.findtext("meta/task/subset") or "").strip()
    names = ImageNames(str(source))
    labels: dict[str, list[str]] = {}
    subsets: dict[str, str] = {}
    for image in found:
        place = f"image {image.get('id')}" + (f" of task {image.get('task_id')}" if image.get("task_id") else "")
        name = names.add_new(image.get("name", ""), place)
        labels[name] = [label for child in image if (label := child.get("label"))]
        subsets[name] = (image.get("subset") or of_task).strip()
    sides = {name: SIDES.get(subset.casefold(), "") for name, subset in subsets.items()}
    others = sorted({subset for subset in subsets.values() if subset and subset.casefold() not in SIDES})
    notes = [f"subsets that are called like no side: {', '.join(map(repr, others))}"] if others else []
    # A project has its labels, too, but under another element in each version of CVAT.
    offered = [element.text.strip() for element in root.findall("meta//labels/label/name") if element.text]
    notes += _of_no_image(offered, labels)
    return listed(labels, sides, notes=names.notes() + notes)


def _of_no_image(offered: Iterable[str], labels: Mapping[str, Iterable[str]]) -> list[str]:
    """A note on labels that no image has, which the table therefore does not know."""
    present = {label for names in labels.values() for label in names}
    absent = sorted(set(offered) - present)
    return [f"no image has {shown(absent, 5)}, so that the table does not know it"] if absent else []


def _text(element: ElementTree.Element, path: Path) -> str:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise UserError(f"{printable(path)}: expected a <name> in every <object>. Got none.")
    return name

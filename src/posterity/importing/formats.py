"""The formats by name."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from posterity.importing import detection, folders, label_studio, tabular, workbooks
from posterity.importing.imported import ImportedTable


class Format(NamedTuple):
    """A format: its reader, and what its source is."""

    read: Callable[[Path], ImportedTable]
    source: str


FORMATS = {
    "label-studio": Format(label_studio.label_studio, "JSON, JSON-MIN or CSV export of Label Studio"),
    "cvat": Format(detection.cvat, "XML of 'CVAT for images 1.1'"),
    "coco": Format(detection.coco, "JSON of COCO instances"),
    "voc": Format(detection.voc, "folder of Pascal VOC, with Annotations and ImageSets"),
    "roboflow": Format(tabular.roboflow, "folder of Roboflow's multi-class CSV, or one _classes.csv"),
    "open-images": Format(tabular.open_images, "CSV of Open Images' image-level labels"),
    "huggingface": Format(tabular.huggingface, "image folder with metadata.csv, .jsonl or .parquet"),
    "folders": Format(folders.folders, "folder with a folder per class, also below train, val and test"),
    "excel": Format(workbooks.excel, "workbook (.xlsx); needs pip install -e '.[import]'"),
    "parquet": Format(workbooks.parquet, "Parquet file; needs pip install -e '.[import]'"),
    "jsonl": Format(tabular.jsonl, "JSON lines"),
}

"""The images of the sample data set, drawn where they are missing.

Git holds what describes the sample: its labels and, in sample.json, how many images there are and their seed. The
images follow from these, so they are neither in Git nor in DVC's cache, and a project with data of its own has nothing
of them.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from posterity import reading
from posterity.errors import UserError
from posterity.files import replacing_folder
from posterity.synthetic.dataset import DESCRIPTION, IMAGES_HOLD, draw_images

KEYS = {"count": int, "seed": int}


def draw_missing(
    images: Path, *, workers: int | None = None, progress: Callable[[Iterable[int]], Iterable[int]] = iter
) -> int:
    """Draw the sample whose images belong into the folder ``images``, if there are none yet.

    Parameters
    ----------
    images : Path
        Any folder of images. If there is no sample.json beside it, or if it holds an image, nothing is done: an image
        that somebody has removed from the sample stays removed.
    workers : int, optional
        Threads that draw; one per core by default.
    progress : callable
        Wraps the indices of the images as they are finished, for instance ``tqdm``.

    Returns
    -------
    int
        Number of images drawn.

    Raises
    ------
    UserError
        If sample.json does not hold a count and a seed, or if the folder holds files of somebody's own.
    """
    description = images.parent / DESCRIPTION
    if not description.is_file() or any(images.glob("*.jpg")):
        return 0
    text = reading.raw_bytes(description)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = text[:100]
    if not isinstance(content, dict) or {name: type(value) for name, value in content.items()} != KEYS:
        raise UserError(
            f"{description}: expected the number of images and the seed of the sample, such as "
            '{"count": 1000, "seed": 7}. ' + f"Got {content!r}. Write these, or run `python src/sample.py`."
        )
    with replacing_folder(images, holds=IMAGES_HOLD) as temporary:
        draw_images(temporary, count=content["count"], seed=content["seed"], workers=workers, progress=progress)
    return int(content["count"])

"""What a server takes on: sizes, numbers and times, each with its one default."""

from dataclasses import dataclass

MEGABYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """What a server refuses, so that no request takes more than its share.

    Attributes
    ----------
    request_bytes : int
        Longest body of a request. What is longer is cut off while it is read.
    held_bytes : int
        Bytes of all bodies that are held at a time; beyond them, requests are asked to come again.
    images : int
        Most images of one request.
    pixels : int, optional
        Most pixels of an image, if fewer than the model allows (``image.max_pixels``).
    queue : int
        Images that may be under way at a time; beyond them, requests are asked to come again.
    read_s : float
        Seconds in which the header of a request, and then its body, must have come.
    answer_s : float
        Seconds from the end of the body to the answer.
    connections : int
        Open connections; beyond them, requests are asked to come again.
    """

    request_bytes: int = 32 * MEGABYTE
    held_bytes: int = 256 * MEGABYTE
    images: int = 64
    pixels: int | None = None
    queue: int = 256
    read_s: float = 30.0
    answer_s: float = 60.0
    connections: int = 512

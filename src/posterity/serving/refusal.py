"""Why a request or an image of it is not answered: a status of HTTP, a kind for programs, a reason for people."""

from collections.abc import Mapping

from posterity.pixels.decode import ImageProblem, read_header
from posterity.pixels.spec import Limits as ImageLimits

UNPROCESSABLE, UNSUPPORTED, TOO_LARGE = 422, 415, 413


class Refusal(Exception):  # noqa: N818 - an answer, which may be right
    """The answer to a request that is not done.

    Parameters
    ----------
    status : int
        Of HTTP, 400 or more.
    kind : str
        One word or a few, joined by underscores: the label of the metrics, and what a program can branch on.
    reason : str
        Whole sentences: what was expected, what came, what to do.
    headers : mapping, optional
        Of the answer, such as ``Retry-After``.

    Attributes
    ----------
    image : str or None
        The name of the image that it is about.
    """

    image: str | None = None

    def __init__(self, status: int, kind: str, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.kind, self.reason = status, kind, reason
        self.headers = dict(headers or {})


def come_again(kind: str, reason: str) -> Refusal:
    """The answer of a server that has too much to do now."""
    return Refusal(503, kind, reason, {"Retry-After": "1"})


def of_image(problem: ImageProblem, content: bytes, limits: ImageLimits) -> Refusal:
    """The refusal of an image that cannot be used.

    Its status is 413 if it is over a limit, 415 if it is of no format that is allowed, and 422 if it is damaged or
    empty.

    Examples
    --------
    >>> from posterity.pixels.spec import Limits
    >>> found = of_image(ImageProblem("unreadable_image", "is empty (0 bytes)"), b"", Limits())
    >>> found.status, found.kind, found.reason
    (422, 'damaged_image', 'The image is empty (0 bytes).')
    """
    detail = str(problem).rstrip(".")
    if problem.kind == "unreadable_image" and content and not _is_identified(content, limits):
        formats = "" if "image.formats" in detail else f" Formats that are read: {', '.join(limits.formats)}."
        return Refusal(UNSUPPORTED, "unsupported_type", f"The file {detail}.{formats}")
    # What Pillow says of a damaged header is no part of a sentence.
    subject = "The image" if detail.startswith(("is ", "has ", "cannot ", "its ")) else "The image:"
    if problem.kind == "oversized_image":
        return Refusal(TOO_LARGE, "oversized_image", f"{subject} {detail}.")
    return Refusal(UNPROCESSABLE, "damaged_image", f"{subject} {detail}.")


def _is_identified(content: bytes, limits: ImageLimits) -> bool:
    """Whether the first bytes are those of an allowed format."""
    try:
        read_header(content, limits)
    except ImageProblem as problem:
        return problem.kind == "oversized_image"
    return True

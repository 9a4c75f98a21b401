"""Reading the body of a request: within its limits of size and time, which are looked at while it comes."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import NamedTuple

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from posterity.serving.limits import MEGABYTE, Limits
from posterity.serving.refusal import TOO_LARGE, UNPROCESSABLE, UNSUPPORTED, Refusal, come_again
from posterity.serving.telemetry import Telemetry

LONGEST_NAME = 255
LONGEST_FIELD = 4096  # bytes of a label
RAW_NAME = "image"
HOW = (
    "Send one image as the body with its type (Content-Type: image/jpeg, for example), or several as files of a form "
    "(multipart/form-data)."
)


class Upload(NamedTuple):
    """One file of a request: the name that it was given, and its bytes."""

    name: str
    content: bytes


class Received(NamedTuple):
    """What a body held: files, and the fields of a form that are none."""

    uploads: list[Upload]
    fields: dict[str, str]


class Reader:
    """Reads bodies; knows how many bytes are held in all.

    Parameters
    ----------
    limits : Limits
        Of size, number and time.
    telemetry : Telemetry
        Shows how many bytes are held.
    """

    def __init__(self, limits: Limits, telemetry: Telemetry) -> None:
        self._limits, self._telemetry = limits, telemetry
        self._held = 0

    @contextlib.asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[Received]:
        """Read the images of a request, and count its bytes as held until the block ends.

        Raises
        ------
        Refusal
            413 for too many bytes or images, 408 if they do not come in time, 415 if they are no image by their type,
            422 if the form is damaged or empty, 503 if too many bytes are held.
        """
        with _Share(self) as share:
            try:
                async with asyncio.timeout(self._limits.read_s):
                    found = await self._read(request, share)
            except TimeoutError:
                reason = f"The body did not come within {self._limits.read_s:g} seconds."
                raise Refusal(408, "slow_request", reason) from None
            except ClientDisconnect:
                raise Refusal(400, "disconnected", "The client has closed the connection.") from None
            if not found.uploads:
                raise Refusal(UNPROCESSABLE, "no_image", f"There is no image in the request. {HOW}")
            yield found

    async def _read(self, request: Request, share: "_Share") -> Received:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._check_length(request)
        if kind == "multipart/form-data":
            return await self._form(request, share)
        if kind.startswith("image/") or kind == "application/octet-stream":
            content = b"".join([chunk async for chunk in self._chunks(request, share)])
            return Received([Upload(RAW_NAME, content)], {})
        got = f"Got the type {kind[:100]!r}." if kind else "Got no type."
        raise Refusal(UNSUPPORTED, "unsupported_type", f"{got} {HOW}")

    async def _form(self, request: Request, share: "_Share") -> Received:
        parser = MultiPartParser(
            request.headers, self._chunks(request, share), max_files=self._limits.images, max_fields=4,
            max_part_size=LONGEST_FIELD,
        )  # fmt: skip
        parser.spool_max_size = self._limits.request_bytes + 1  # in memory, never on a disk
        try:
            form = await parser.parse()
        except MultiPartException as error:
            if error.message.startswith("Too many files"):
                reason = f"There are more than {self._limits.images} images. Send them in several requests."
                raise Refusal(TOO_LARGE, "too_many_images", reason) from None
            reason = f"The form cannot be read: {error.message} {HOW}"
            raise Refusal(UNPROCESSABLE, "damaged_form", reason) from None
        uploads, fields = [], {}
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(form.close)
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    uploads.append(Upload(_shortened(value.filename or name), await value.read()))
                else:
                    fields[name] = value
        return Received(uploads, fields)

    async def _chunks(self, request: Request, share: "_Share") -> AsyncGenerator[bytes, None]:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > self._limits.request_bytes:
                raise self._too_large()
            share.take(len(chunk))
            yield chunk

    def _check_length(self, request: Request) -> None:
        """Refuse by what the header says, before anything is read."""
        length = request.headers.get("content-length", "")
        if length.isascii() and length.isdigit() and int(length) > self._limits.request_bytes:
            raise self._too_large()

    def _too_large(self) -> Refusal:
        reason = f"The request is larger than {self._limits.request_bytes / MEGABYTE:,.6g} MB, which is the limit."
        return Refusal(TOO_LARGE, "too_large", reason)

    def _take(self, number: int) -> None:
        if self._held + number > self._limits.held_bytes:
            raise come_again("busy", "Too many bytes are held for other requests. Send this one again.")
        self._held += number
        self._telemetry.held.set(self._held)

    def _give_back(self, number: int) -> None:
        self._held -= number
        self._telemetry.held.set(self._held)


class _Share:
    """What one request holds of the bytes of all."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._number = reader, 0

    def __enter__(self) -> "_Share":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader._give_back(self._number)

    def take(self, number: int) -> None:
        self._reader._take(number)
        self._number += number


def _shortened(name: str) -> str:
    """A name that is shown whole unless it is absurd; the middle of a long one is left out."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[-half:]}"

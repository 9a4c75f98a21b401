"""What stands before every request: whom it may come from, what every answer says, and what is counted."""

import asyncio
import contextlib
import json
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from posterity.serving.hosts import Hosts
from posterity.serving.refusal import Refusal
from posterity.serving.telemetry import Telemetry
from posterity.text import printable

METHODS = ("GET", "HEAD", "POST")
DISCARD_S = 2.0
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Middleware that refuses foreign names and foreign pages, and completes and counts every answer.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    hosts : Hosts
        The names that requests may be for.
    paths : collection of str
        The paths of the application: others are counted together.
    telemetry : Telemetry
        Counts requests.
    discarded_bytes : int
        What is read at most of a body that nobody wants, so that its client comes to read the answer.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Hosts, paths: Collection[str], telemetry: Telemetry, discarded_bytes: int
    ) -> None:
        self._app, self._hosts, self._paths, self._telemetry = app, hosts, paths, telemetry
        self._discarded_bytes = discarded_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        body = _Body(headers, receive)
        path = scope["path"] if scope["path"] in self._paths else "other"
        method = scope["method"] if scope["method"] in METHODS else "other"

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                if body.is_unread and message["status"] != 408:  # that one is about a client that does not send
                    await body.discard(self._discarded_bytes)
                answer = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in HEADERS.items():
                    answer.setdefault(name, value)
                if body.is_unread:  # what still comes is not the next request
                    answer["Connection"] = "close"
                self._telemetry.requests.labels(path, method, str(message["status"])).inc()
                self._telemetry.seconds.labels(path).observe(time.perf_counter() - started)
            await send(message)

        try:
            self._check(scope, headers)
        except Refusal as refusal:
            self._telemetry.errors.labels(refusal.kind).inc()
            await _answer(refusal, completed)
            return
        await self._app(scope, body.receive, completed)

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._hosts.allow(host):
            raise Refusal(
                421,
                "foreign_host",
                f"This server does not answer to the name {printable(host)[:100]!r}. Start it with --allow-host NAME "
                "if the name is right.",
            )
        origin = headers.get("origin")
        # A page of another site may send forms and images here without asking. It has no business here.
        if origin is not None and scope["method"] not in ("GET", "HEAD") and urlsplit(origin).netloc != host.lower():
            raise Refusal(403, "foreign_page", "Pages of other sites may not send images here.")


class _Body:
    """The body of a request, and whether it has come to its end."""

    def __init__(self, headers: Headers, receive: Receive) -> None:
        self._receive = receive
        self.is_unread = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        # Such a client waits to be asked before it sends.
        self._is_waiting = headers.get("expect", "").lower() == "100-continue"

    async def receive(self) -> Message:
        self._is_waiting = False
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self.is_unread = False
        return message

    async def discard(self, most: int) -> None:
        """Read on for a moment and forget it: a client that is still sending does not look for an answer."""
        left = 0 if self._is_waiting else most
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while self.is_unread and left > 0:
                    left -= len((await self.receive()).get("body", b""))


async def _answer(refusal: Refusal, send: Send) -> None:
    content = {"error": {"status": refusal.status, "kind": refusal.kind, "reason": refusal.reason}}
    body = json.dumps(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

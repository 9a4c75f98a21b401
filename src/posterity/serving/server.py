"""Running the application: the socket, the connections, and the end."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from posterity.errors import UserError
from posterity.serving.limits import Limits

SPARE_S = 10.0  # beyond what reading and answering may take


def bind(host: str, port: int) -> socket.socket:
    """Take an address without listening yet: what is wrong with it shows before the model is loaded.

    Raises
    ------
    UserError
        If there is no such host here, or if the port is in use or not for this user.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"--host {host}: expected an address or a name of this machine. Got: {error}. Give 127.0.0.1, for example."
        ) from None
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(0)  # two sockets may be bound to one port, but only one may listen
    except OSError as error:
        taken.close()
        raise UserError(
            f"--host {host} --port {port}: cannot be taken: {error.strerror or error}. Give another port (0 for any "
            "free one), or an address of this machine."
        ) from None
    return taken


def address_of(taken: socket.socket) -> str:
    """The address of a bound socket as a URL."""
    host, port = taken.getsockname()[:2]
    return f"http://{f'[{host}]' if ipaddress.ip_address(host).version == 6 else host}:{port}/"


class Server(uvicorn.Server):
    """Serves until SIGINT or SIGTERM, or until `should_exit` is set; then finishes what has been accepted.

    A second signal ends the process at once. `run` takes the sockets that `bind` made, and returns after a good end.
    uvicorn's own server would raise the signal again when it has finished.

    Parameters
    ----------
    app : ASGI application
        What answers.
    limits : Limits
        Of time and connections.
    ready : callable
        Called once requests are accepted.
    """

    def __init__(self, app: ASGIApp, limits: Limits, *, ready: Callable[[], None]) -> None:
        # Tracebacks and nothing else: a line for each broken request would be a gift to whoever sends them.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        config = uvicorn.Config(
            app,
            http=_protocol(limits),
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            limit_concurrency=limits.connections,
            timeout_graceful_shutdown=round(limits.read_s + limits.answer_s + SPARE_S),
        )
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, then say so."""
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals stop the server while the block runs; in a thread, nothing does."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # What a parent ignores stays ignored, as in posterity.script.
        numbers = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + number)
        self.should_exit = True
        under_way = len(self.server_state.tasks)
        requests = "1 request is" if under_way == 1 else f"{under_way} requests are"
        print(f"Stopping; {requests} finished first." if under_way else "Stopping.", file=sys.stderr)


def _protocol(limits: Limits) -> type[asyncio.Protocol]:
    """The protocol of a connection that ends when nothing comes of it."""
    idle_s, busy_s = limits.read_s, limits.read_s + limits.answer_s + SPARE_S

    class Protocol(H11Protocol):
        """A connection has `idle_s` for the header of a request, or for taking the answer, and `busy_s` in between.

        uvicorn itself waits for ever for a header that comes byte by byte, and for a client that takes no answer.
        """

        _timer: asyncio.TimerHandle | None = None
        _seen: Any = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)  # type: ignore[arg-type]
            self._end_after(idle_s)

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel()
            super().connection_lost(exc)

        def handle_events(self) -> None:
            super().handle_events()
            if self.cycle is not self._seen:  # a request has begun
                self._seen = self.cycle
                if not self.cycle.response_complete:
                    self._end_after(busy_s)

        def on_response_complete(self) -> None:
            self._end_after(idle_s)
            super().on_response_complete()

        def _end_after(self, seconds: float) -> None:
            self._cancel()
            self._timer = self.loop.call_later(seconds, self.transport.abort)

        def _cancel(self) -> None:
            if self._timer is not None:
                self._timer.cancel()

    return Protocol

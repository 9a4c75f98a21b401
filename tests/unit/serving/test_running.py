"""A server and its connections: what comes together, too much, too slowly, and its end."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")
httpx = pytest.importorskip("httpx", reason="needs the extra browser")

from posterity.errors import UserError  # noqa: E402
from posterity.serving import server  # noqa: E402
from posterity.serving.hosts import is_loopback  # noqa: E402
from small_server import LABELS, Means, png, running  # noqa: E402

JPEG = {"content-type": "image/jpeg"}


def post(url, content=None, **options):
    return httpx.post(f"{url}/predict", content=content or png(), headers=JPEG, timeout=20, **options)


def wait_for(condition):
    """Wait for what another thread is about to do; fail if it does not."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def figure(url, name):
    return next(
        float(line.split()[-1]) for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith(f"{name} ")
    )


def test_requests_that_come_together_are_computed_together_and_each_gets_its_own_answer():
    model = Means()
    colours = [(51 * number, 0, 255 - 51 * number) for number in range(6)]
    with running(model) as url, ThreadPoolExecutor(6) as pool:
        model.gate.clear()
        first = pool.submit(post, url, png((0, 0, 0)))
        assert model.started.wait(20)
        others = [pool.submit(post, url, png(colour)) for colour in colours[:5]]
        wait_for(lambda: figure(url, "posterity_queue_images") == 6)
        time.sleep(0.2)  # decoded, too
        model.gate.set()
        assert list(first.result().json()["images"][0]["scores"].values()) == [0, 0, 0]
        for colour, other in zip(colours, others, strict=False):
            expected = [round(value / 255, 6) for value in colour]
            assert list(other.result().json()["images"][0]["scores"].values()) == expected
    assert model.batches == [1, 4, 1]  # of 4 at most


def test_one_request_is_cut_into_batches_and_keeps_its_order():
    model = Means()
    shades = list(range(0, 90, 10))
    files = [("images", (f"{shade}.png", png((shade, 0, 0)))) for shade in shades]
    with running(model) as url:
        found = httpx.post(f"{url}/predict", files=files, timeout=20).json()["images"]
    assert [one["name"] for one in found] == [f"{shade}.png" for shade in shades]
    assert [one["scores"]["Red"] for one in found] == [round(shade / 255, 6) for shade in shades]
    assert model.batches == [4, 4, 1]


def test_when_the_queue_is_full_others_are_asked_to_come_again():
    model = Means()
    with running(model, queue=2, images=2) as url, ThreadPoolExecutor(2) as pool:
        model.gate.clear()
        taken = [pool.submit(post, url) for _ in range(2)]
        wait_for(lambda: figure(url, "posterity_queue_images") == 2)
        refused = post(url)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["error"]["kind"] == "busy"
        assert httpx.get(f"{url}/healthz").status_code == 200  # it is alive
        model.gate.set()
        assert [one.result().status_code for one in taken] == [200, 200]
        assert post(url).status_code == 200
        assert figure(url, "posterity_queue_images") == 0


def test_an_answer_that_takes_too_long_is_given_up_and_what_waited_is_not_computed():
    model = Means()
    with running(model, answer_s=0.3) as url, ThreadPoolExecutor(2) as pool:
        model.gate.clear()
        waiting = [pool.submit(post, url) for _ in range(2)]
        assert [one.result().status_code for one in waiting] == [503, 503]
        assert waiting[0].result().json()["error"]["kind"] == "too_slow"
        model.gate.set()
        assert post(url).status_code == 200
        assert figure(url, "posterity_queue_images") == 0
    assert sum(model.batches) <= 3


def test_bytes_that_are_held_for_all_requests_are_bounded():
    model = Means()
    content = png(size=(60, 60)) + bytes(3000)  # what follows the end of a PNG file is not looked at
    with running(model, held_bytes=4000) as url, ThreadPoolExecutor(1) as pool:
        model.gate.clear()
        first = pool.submit(post, url, content)
        assert model.started.wait(20)
        assert post(url, content).json()["error"]["kind"] == "busy"
        model.gate.set()
        assert first.result().status_code == 200
        assert post(url, content).status_code == 200


def test_a_body_that_is_too_large_is_cut_off_while_it_comes():
    sent = []

    def endless():
        while True:
            sent.append(65_536)
            yield bytes(65_536)

    with running(Means(), request_bytes=10**6) as url:
        try:
            answer = httpx.post(f"{url}/predict", content=endless(), headers=JPEG, timeout=20)
        except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
            pass  # it went on sending; the connection is closed
        else:
            assert answer.status_code == 413
        assert sum(sent) < 30 * 10**6  # the limit, what is read on, and what lies in buffers of the system
        assert figure(url, "posterity_held_bytes") == 0


def test_a_body_that_does_not_come_is_not_waited_for():
    with running(Means(), read_s=0.3) as url, connected(url) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n1"
        )
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"slow_request"' in answer
    assert b"connection: close" in answer


@pytest.mark.parametrize("sent", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_a_header_that_does_not_come_is_not_waited_for(sent):
    with running(Means(), read_s=0.2) as url, connected(url) as connection:
        for byte in sent:
            connection.sendall(bytes([byte]))
        assert everything(connection) == b""


def test_a_client_that_takes_no_answer_is_left(monkeypatch):
    monkeypatch.setattr(server, "SPARE_S", 0.1)
    with running(Means(), read_s=0.2, answer_s=0.2) as url, connected(url) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(1)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000)  # 40 MB of answers
        wait_for(lambda: is_refused(connection))


def test_what_is_accepted_is_answered_before_the_end():
    model = Means()
    with ThreadPoolExecutor(3) as pool:
        with running(model) as url:
            model.gate.clear()
            waiting = [pool.submit(post, url) for _ in range(3)]
            wait_for(lambda: figure(url, "posterity_queue_images") == 3)
            threading.Timer(0.5, model.gate.set).start()
        assert [one.result().json()["images"][0]["labels"] for one in waiting] == [list(LABELS[:2])] * 3
        with pytest.raises(httpx.ConnectError):
            post(url)


def test_a_port_in_use_and_a_host_of_another_machine():
    with running(Means()) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(UserError, match=rf"--port {port}: cannot be taken: Address already in use\. Give another"):
            server.bind("127.0.0.1", port)
    with pytest.raises(UserError, match=r"--host 192\.0\.2\.1 --port 0: cannot be taken: Cannot assign"):
        server.bind("192.0.2.1", 0)
    with pytest.raises(UserError, match=r"--host no such host: expected an address or a name of this machine"):
        server.bind("no such host", 0)


def test_addresses():
    with server.bind("localhost", 0) as taken:
        assert is_loopback(taken.getsockname()[0])
        assert server.address_of(taken).startswith("http://")


def is_refused(connection):
    """Whether the other side has given the connection up: what is sent there is not taken any more."""
    try:
        connection.send(b"x")
    except (BrokenPipeError, ConnectionResetError):
        return True
    except TimeoutError:
        return False
    return False


class connected(socket.socket):  # noqa: N801 - reads like a function
    def __init__(self, url):
        super().__init__()
        self.settimeout(20)
        self.connect(("127.0.0.1", int(url.rpartition(":")[2])))


def everything(connection):
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)

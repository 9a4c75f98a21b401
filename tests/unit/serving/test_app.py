"""The endpoints with a stand-in for the model, whose answers can be worked out: the means of red, green and blue."""

import contextlib

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")
httpx = pytest.importorskip("httpx", reason="needs the extra browser")

from small_project import png_header  # noqa: E402 - they need the extra, too
from small_server import LABELS, THRESHOLDS, Means, png, running  # noqa: E402

JPEG = {"content-type": "image/jpeg"}
SCORES = dict(zip(LABELS, (1.0, 0.4, 0.0), strict=True))


@pytest.fixture
def serve():
    """Make a client of a server with the given limits; the model is at ``client.model``."""
    with contextlib.ExitStack() as stack:

        def make(**options):
            model = Means()
            client = stack.enter_context(httpx.Client(base_url=stack.enter_context(running(model, **options))))
            client.model = model
            return client

        yield make


def files(*contents):
    return [("images", (f"{number}.png", content, "image/png")) for number, content in enumerate(contents)]


def figure(client, name):
    """A line of GET /metrics."""
    lines = client.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name), None)


def error(answer):
    found = answer.json()["error"]
    assert found["status"] == answer.status_code
    return answer.status_code, found["kind"], found["reason"]


def test_one_image_as_the_body(serve):
    answer = serve().post("/predict", content=png(), headers=JPEG)
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "images": [{"name": "image", "labels": list(LABELS[:2]), "scores": SCORES}],
            "thresholds": dict(zip(LABELS, THRESHOLDS, strict=True)),
            "exactly_one": False,
            "model": Means.digest,
        },
    )


def test_a_bad_image_among_others_is_answered_in_its_place(serve):
    client = serve()
    answer = client.post("/predict", files=files(png(), b"no image", png((0, 0, 255)), b"", png()[:45]))
    found = answer.json()["images"]
    assert answer.status_code == 200
    assert [one["name"] for one in found] == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    assert [one.get("labels") for one in found] == [list(LABELS[:2]), None, [LABELS[2]], None, None]
    assert [one.get("error", {}).get("status") for one in found] == [None, 415, None, 422, 422]
    assert figure(client, 'posterity_images_total{result="scored"}') == 2
    assert figure(client, 'posterity_images_total{result="refused"}') == 3
    assert figure(client, 'posterity_errors_total{kind="unsupported_type"}') == 1
    assert figure(client, 'posterity_errors_total{kind="damaged_image"}') == 2
    assert figure(client, 'posterity_requests_total{method="POST",path="/predict",status="200"}') == 1
    assert figure(client, "posterity_batch_images_sum") == 2
    assert figure(client, "posterity_queue_images") == 0
    assert figure(client, "posterity_held_bytes") == 0


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", (422, "damaged_image", "The image is empty (0 bytes).")),
        (
            b"%PDF-1.7",
            (415, "unsupported_type", "The file is a PDF file: it may hold many pages; image.formats allows"),
        ),
        (b"hello", (415, "unsupported_type", "The file is not an image that Pillow can read. Formats that are read:")),
        (png()[:45], (422, "damaged_image", "The image cannot be decoded: ")),
        (
            png_header(200, 100),
            (413, "oversized_image", "The image: 200 x 100 = 20,000 pixels, over image.max_pixels = 10,000."),
        ),
    ],
)
def test_a_bad_image_alone_has_its_status_and_reason(serve, content, expected):
    client = serve()
    answer = client.post("/predict", files=files(content))
    status, kind, reason = error(answer)
    assert (status, kind) == expected[:2]
    assert reason.startswith(expected[2])
    assert answer.json()["name"] == "0.png"
    assert figure(client, f'posterity_errors_total{{kind="{kind}"}}') == 1  # once, not twice
    in_its_place = client.post("/predict?per_image=true", files=files(content))
    assert in_its_place.status_code == 200
    assert in_its_place.json()["images"] == [{"name": "0.png", "error": answer.json()["error"]}]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"content": png()}, (415, "unsupported_type", "Got no type. Send one image")),
        ({"data": {"a": "b"}}, (415, "unsupported_type", "Got the type 'application/x-www-form-urlencoded'.")),
        (
            {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
            (422, "damaged_form", "The form cannot be read: Missing boundary in multipart."),
        ),
        (
            {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=y"}},
            (422, "damaged_form", "The form cannot be read: "),
        ),
        (
            {"files": files(png()), "data": {"extra\n": "1"}},
            (422, "unknown_field", r"The field 'extra%0A' of the form is not a file"),
        ),
        ({"files": files(*[png()] * 4)}, (413, "too_many_images", "There are more than 3 images.")),
        (
            {"content": b"x" * 5001, "headers": JPEG},
            (413, "too_large", "The request is larger than 0.00476837 MB, which is the limit."),
        ),
        (
            {"content": (b"x" * 1000 for _ in range(6)), "headers": JPEG},  # without a length
            (413, "too_large", "The request is larger than 0.00476837 MB"),
        ),
    ],
)
def test_a_bad_request(serve, request_, expected):
    status, kind, reason = error(serve(images=3, request_bytes=5000).post("/predict", **request_))
    assert (status, kind) == expected[:2]
    assert reason.startswith(expected[2])


def test_what_is_not_there(serve):
    client = serve()
    assert error(client.get("/nope%1B"))[:2] == (404, "not_found")
    assert error(client.get("/predict"))[:2] == (405, "wrong_method")
    assert error(client.post("/predict?per_image=maybe", files=files(png())))[:2] == (422, "wrong_parameter")
    assert (
        client.get("/docs").status_code == client.get("/redoc").status_code == 404
    )  # they load scripts from elsewhere
    assert figure(client, 'posterity_requests_total{method="GET",path="other",status="404"}') == 3


def test_explain(serve):
    client = serve()
    answer = client.post("/explain", files={"image": ("a.png", png())}, data={"label": LABELS[2]})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content == png((200, 200, 200))  # what the stand-in draws for the label with number 2
    raw = client.post("/explain", params={"label": LABELS[2]}, content=png(), headers=JPEG)
    assert raw.content == answer.content
    assert error(client.post("/explain", files={"image": ("a.png", png())}, data={"label": "\x1b[31m"})) == (
        422,
        "unknown_label",
        r"Expected one of the labels that GET /model lists. Got '\\x1b[31m'.",
    )
    assert error(client.post("/explain", content=b"x", headers=JPEG, params={"label": LABELS[0]}))[0] == 415
    assert error(client.post("/explain", files=files(png(), png()), data={"label": LABELS[0]}))[1] == "several_images"
    client.model.can_explain = False
    assert error(client.post("/explain", files={"image": png()}, data={"label": LABELS[0]}))[:2] == (
        501,
        "cannot_explain",
    )


def test_the_model_and_health(serve):
    client = serve()
    assert client.get("/healthz").json() == {"status": "ready"}
    found = client.get("/model").json()
    assert [label["name"] for label in found["labels"]] == list(LABELS)
    assert [label["threshold"] for label in found["labels"]] == list(THRESHOLDS)
    assert (found["image"]["height"], found["image"]["width"], found["image"]["max_pixels"]) == (8, 4, 10_000)
    assert found["digest"] == Means.digest
    assert serve(pixels=50).get("/model").json()["image"]["max_pixels"] == 50
    assert serve(pixels=50_000).get("/model").json()["image"]["max_pixels"] == 10_000  # the model's own still holds


def test_openapi_describes_the_endpoints(serve):
    found = serve().get("/openapi.json").json()
    assert set(found["paths"]) == {"/", "/predict", "/explain", "/model", "/healthz", "/metrics"}
    predict = found["paths"]["/predict"]["post"]
    assert set(predict["requestBody"]["content"]) == {"multipart/form-data", "image/*", "application/octet-stream"}
    assert {"200", "413", "415", "422", "503"} <= set(predict["responses"])
    assert predict["responses"]["415"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Refused"
    }
    assert "image/png" in found["paths"]["/explain"]["post"]["responses"]["200"]["content"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "", "10.0.0.1", "localhost.evil.example"])
def test_another_name_is_refused(serve, host):
    client = serve(names=["posters.example.org"])
    assert error(client.get("/model", headers={"host": host}))[:2] == (421, "foreign_host")
    for right in ("localhost:8000", "127.0.0.1", "[::1]:1", "POSTERS.example.org:443"):
        assert client.get("/model", headers={"host": right}).status_code == 200


def test_a_page_of_another_site_may_not_send(serve):
    client = serve()
    own = str(client.base_url).rstrip("/")
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        answer = client.post("/predict", content=png(), headers=JPEG | {"origin": origin})
        assert error(answer)[:2] == (403, "foreign_page")
        assert "access-control-allow-origin" not in answer.headers
    assert client.post("/predict", content=png(), headers=JPEG | {"origin": own}).is_success
    assert client.model.batches == [1]


def test_every_answer_has_the_headers_that_protect(serve):
    client = serve()
    for answer in (client.get("/"), client.get("/nope"), client.get("/", headers={"host": "x"}), client.get("/model")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]


def test_a_fault_of_the_model_is_a_500_without_details_and_the_next_request_is_answered(serve):
    client = serve()
    client.model.fails = True
    assert error(client.post("/predict", files=files(png(), png()))) == (
        500,
        "internal",
        "The server has a fault; its log says which.",
    )
    client.model.fails = False
    assert client.post("/predict", content=png(), headers=JPEG).status_code == 200
    assert figure(client, "posterity_queue_images") == 0


def test_a_name_is_given_back_as_it_came_unless_it_is_absurd(serve):
    client = serve()
    names = ['"><script>alert(1)</script>.png', "\u202egnp.exe", "é" * 300]
    answer = client.post("/predict", files=[("images", (name, png())) for name in names])
    found = [one["name"] for one in answer.json()["images"]]
    assert answer.headers["content-type"] == "application/json"
    assert found == [names[0].replace('"', "%22"), names[1], "é" * 127 + "…" + "é" * 127]  # as browsers write a quote

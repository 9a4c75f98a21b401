"""The application: which path does what, and what OpenAPI says of it."""

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from posterity import __version__
from posterity.serving import errors, page, schemas, telemetry
from posterity.serving.answers import answer_for
from posterity.serving.batching import Model
from posterity.serving.body import Reader
from posterity.serving.guard import Guard
from posterity.serving.hosts import Hosts
from posterity.serving.limits import Limits
from posterity.serving.refusal import UNPROCESSABLE, Refusal
from posterity.serving.service import Service
from posterity.text import printable

_IMAGE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_RAW = {"image/*": _IMAGE, "application/octet-stream": _IMAGE}
_FILE = {"type": "string", "format": "binary"}
_REASONS = {
    400: "the request is broken off",
    403: "it comes from a page of another site",
    408: "the body did not come in time",
    413: "too many bytes, images or pixels",
    415: "not an image, or of a format that the model does not take",
    421: "it is for a name that this server does not have",
    422: "the image is damaged or empty, or the form is",
    503: "too much to do: come again after the seconds of Retry-After",
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.Refused, "description": reason} for status, reason in _REASONS.items()
}


def create(
    model: Model,
    limits: Limits | None = None,
    *,
    bound: str = "127.0.0.1",
    names: Collection[str] = (),
    workers: int = 2,
) -> tuple[ASGIApp, Service]:
    """Make the application that serves ``model``.

    Parameters
    ----------
    model : Model
        What scores and explains.
    limits : Limits, optional
        What is refused.
    bound : str
        The address at which the server will listen.
    names : collection of str
        More names that requests may be for, see `posterity.serving.hosts.Hosts`.
    workers : int
        Threads that decode.

    Returns
    -------
    ASGI application
        Guarded, so that whatever runs it is safe.
    Service
        What has to be closed after it.
    """
    limits = limits or Limits()
    figures = telemetry.Telemetry()
    service = Service(model, limits, figures, workers=workers)
    app = FastAPI(
        title="posterity",
        version=__version__,
        description="Labels images with a trained model.",
        docs_url=None,  # the pages of FastAPI load scripts from another host
        redoc_url=None,
        redirect_slashes=False,  # a body would be sent twice
    )
    errors.add(app, figures)
    _add_pages(app, model, limits, service, figures)
    _add_endpoints(app, model, service, Reader(limits, figures))
    paths = {getattr(route, "path", "") for route in app.routes}
    guarded = Guard(
        app,
        hosts=Hosts(bound, names),
        paths=paths,
        telemetry=figures,
        discarded_bytes=limits.request_bytes,
    )
    return guarded, service


def _add_pages(app: FastAPI, model: Model, limits: Limits, service: Service, figures: telemetry.Telemetry) -> None:
    shown = page.read()

    @app.get("/", response_class=HTMLResponse, summary="The page: drop, choose or paste images")
    async def index() -> HTMLResponse:
        return HTMLResponse(shown.html, headers={"Content-Security-Policy": shown.policy})

    @app.get("/healthz", summary="Whether the server is ready")
    async def health() -> schemas.Health:
        return schemas.Health()

    @app.get("/metrics", response_class=Response, summary="Figures for Prometheus")
    async def metrics() -> Response:
        return Response(figures.text(), media_type=telemetry.MEDIA_TYPE)

    @app.get("/model", summary="Labels, thresholds, what images are read, and the digest of the model file")
    async def describe() -> schemas.ModelInfo:
        spec = service.spec
        return schemas.ModelInfo(
            labels=[
                schemas.LabelInfo(name=name, threshold=threshold)
                for name, threshold in zip(model.label_names, model.thresholds, strict=True)
            ],
            exactly_one=model.exactly_one,
            image=schemas.ImageInfo(
                height=spec.height,
                width=spec.width,
                resampling=spec.resampling,
                fit=spec.fit,
                formats=list(spec.formats),
                max_pixels=spec.max_pixels,
                max_side=spec.max_side,
            ),
            digest=model.digest,
            can_explain=model.can_explain,
            limits=schemas.LimitsInfo(request_bytes=limits.request_bytes, images=limits.images),
            version=__version__,
        )


def _add_endpoints(app: FastAPI, model: Model, service: Service, reader: Reader) -> None:
    @app.post(
        "/predict",
        summary="Label one or many images",
        description="Files of a form, or one image as the body. One image that cannot be used is answered with its own "
        "status (413, 415 or 422). Among several, it has an error in its place, the others are answered, and the "
        "status is 200; with per_image=true it is so for one image, too.",
        responses=_REFUSALS,
        response_model_exclude_none=True,
        openapi_extra=_body_of({"images": {"type": "array", "items": _FILE}}, ["images"]),
    )
    async def predict(request: Request, per_image: bool = False) -> schemas.Answer:
        service.check_room()
        async with reader.received(request) as received:
            _check_fields(received.fields, ())
            found = await service.predict([upload.content for upload in received.uploads])
            names = [upload.name for upload in received.uploads]
        if len(found) == 1 and isinstance(found[0], Refusal) and not per_image:
            raise errors.about(found[0], names[0])
        return schemas.Answer(
            images=[answer_for(model, name, one) for name, one in zip(names, found, strict=True)],
            thresholds=dict(zip(model.label_names, model.thresholds, strict=True)),
            exactly_one=model.exactly_one,
            model=model.digest,
        )

    @app.post(
        "/explain",
        summary="Show what speaks for a label",
        description="Answers the image as the network gets it, with what speaks for the label marked on it. The label "
        "is a field of the form or of the query.",
        response_class=Response,
        responses=_REFUSALS
        | {
            200: {"content": {"image/png": _IMAGE}, "description": "the image, marked"},
            501: {"model": schemas.Refused, "description": "this model cannot be explained"},
        },
        openapi_extra=_body_of({"image": _FILE, "label": {"type": "string"}}, ["image"])
        | {"parameters": [{"name": "label", "in": "query", "schema": {"type": "string"}}]},
    )
    async def explain(request: Request) -> Response:
        if not model.can_explain:
            raise Refusal(501, "cannot_explain", "Only a .keras model can show what speaks for a label.")
        service.check_room()
        async with reader.received(request) as received:
            _check_fields(received.fields, ("label",))
            label = received.fields.get("label", request.query_params.get("label"))
            if label not in model.label_names:
                got = "none" if label is None else repr(printable(label)[:100])
                raise Refusal(
                    UNPROCESSABLE, "unknown_label", f"Expected one of the labels that GET /model lists. Got {got}."
                )
            if len(received.uploads) > 1:
                raise Refusal(UNPROCESSABLE, "several_images", f"Expected one image. Got {len(received.uploads)}.")
            (upload,) = received.uploads
            try:
                png = await service.explain(upload.content, model.label_names.index(label))
            except Refusal as refusal:
                raise (refusal if refusal.status == 503 else errors.about(refusal, upload.name)) from None
        return Response(png, media_type="image/png")


def _check_fields(fields: dict[str, str], allowed: Collection[str]) -> None:
    if unknown := [name for name in fields if name not in allowed]:
        name = printable(unknown[0])[:100]
        reason = f"The field {name!r} of the form is not a file: give its part a file name."
        raise Refusal(UNPROCESSABLE, "unknown_field", reason)


def _body_of(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    form = {"schema": {"type": "object", "properties": properties, "required": required}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": form, **_RAW}}}

"""Every error as JSON of one form, and counted once."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from posterity.serving import schemas
from posterity.serving.refusal import UNPROCESSABLE, Refusal
from posterity.serving.telemetry import Telemetry
from posterity.text import printable

KINDS = {404: "not_found", 405: "wrong_method"}


def problem(refusal: Refusal) -> schemas.Problem:
    """A refusal as the answers show it."""
    return schemas.Problem(status=refusal.status, kind=refusal.kind, reason=refusal.reason)


def about(refusal: Refusal, name: str) -> Refusal:
    """The same refusal, which now says which image it is about."""
    refusal.image = name
    return refusal


def add(app: FastAPI, figures: Telemetry) -> None:
    """Let an application answer all errors in the form of `posterity.serving.schemas.Refused`."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refusal)
        if error.image is None:  # the service has counted what is about an image
            figures.errors.labels(error.kind).inc()
        content = schemas.Refused(error=problem(error), name=error.image)
        return JSONResponse(content.model_dump(exclude_none=True), error.status, error.headers)

    async def not_there(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        what = f"{printable(request.method)[:20]} {printable(request.url.path)[:200]}"
        reason = f"There is no {what} here. GET /openapi.json lists what there is."
        kind = KINDS.get(error.status_code, "other")
        return await refused(request, Refusal(error.status_code, kind, reason, error.headers))

    async def not_valid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        reasons = "; ".join(f"{printable(one['loc'][-1])[:100]}: {one['msg']}" for one in error.errors())
        return await refused(request, Refusal(UNPROCESSABLE, "wrong_parameter", f"{reasons}."))

    async def broken(request: Request, _: Exception) -> JSONResponse:  # its traceback goes to stderr
        reason = "The server has a fault; its log says which."
        return await refused(request, Refusal(500, "internal", reason, {"Connection": "close"}))  # as uvicorn does

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(HTTPException, not_there)
    app.add_exception_handler(RequestValidationError, not_valid)
    app.add_exception_handler(Exception, broken)

"""The answers of the endpoints, as OpenAPI shows them."""

from typing import Literal

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Why a request or an image is not answered."""

    status: int = Field(description="status of HTTP that it has, or would have if it were the only image")
    kind: str = Field(description="what a program can branch on", examples=["damaged_image"])
    reason: str = Field(description="what a person can act on, in whole sentences")


class Refused(BaseModel):
    """The answer to a request that is not done."""

    error: Problem
    name: str | None = Field(default=None, description="the image, if it is about one")


class ImageAnswer(BaseModel):
    """What the model says of one image: labels and scores, or an error."""

    name: str = Field(description="file name as it was sent")
    labels: list[str] | None = Field(default=None, description="labels that the model decides on, the likeliest first")
    scores: dict[str, float] | None = Field(default=None, description="probability of every label")
    error: Problem | None = None


class Answer(BaseModel):
    """What the model says of the images of a request, in their order."""

    images: list[ImageAnswer]
    thresholds: dict[str, float] = Field(description="probability from which on a label is decided on")
    exactly_one: bool = Field(description="the likeliest label is decided on, whatever the thresholds are")
    model: str = Field(description="sha256 of the model file")


class Health(BaseModel):
    """The server is ready: the model is loaded and has scored images."""

    status: Literal["ready"] = "ready"


class LabelInfo(BaseModel):
    """One label of the model."""

    name: str
    threshold: float


class ImageInfo(BaseModel):
    """What images are read, and what becomes of them."""

    height: int
    width: int
    resampling: str
    fit: str
    formats: list[str]
    max_pixels: int
    max_side: int


class LimitsInfo(BaseModel):
    """What a request may hold."""

    request_bytes: int
    images: int


class ModelInfo(BaseModel):
    """What is known of the model."""

    labels: list[LabelInfo]
    exactly_one: bool
    image: ImageInfo
    digest: str = Field(description="sha256 of the model file")
    can_explain: bool = Field(description="whether POST /explain is answered")
    limits: LimitsInfo
    version: str = Field(description="of posterity")

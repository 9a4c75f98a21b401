"""The page as one document: its style and its script stand inside it, and a policy allows these two and no others."""

import base64
import hashlib
from importlib import resources
from typing import NamedTuple

FOLDER = resources.files("posterity.serving") / "web"


class Page(NamedTuple):
    """A document of HTML, and the header Content-Security-Policy that it needs."""

    html: str
    policy: str


def read() -> Page:
    """Put the page together from its three files.

    The policy names style and script by their digests. Whatever else might come into the page by a mistake, such as a
    label with a script in it, is not run; and the page can send nothing to any other host.
    """
    html, style, script = ((FOLDER / name).read_text("utf-8") for name in ("page.html", "page.css", "page.js"))
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src {_source(style)}",
            f"script-src {_source(script)}",
            "img-src 'self' blob: data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ]
    )
    return Page(html.replace("/*style*/", style).replace("/*script*/", script), policy)


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

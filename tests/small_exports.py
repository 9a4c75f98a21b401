"""Exports of other tools, small enough to stand in a test."""

import json
from pathlib import Path


def write(path: str, content: object) -> Path:
    """Write a file below the working folder: text as it is, anything else as JSON."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return Path(path)

"""The name of an image file, made from the id of its row."""

import posixpath
import re
from urllib.parse import unquote, urlsplit

_PLACEHOLDER = re.compile(r"\{(id|name|stem)(?:/(\d))?(?::0(\d)d)?\}")
ANYWHERE, ANY_SUFFIX = "**/", ".*"


class Pattern:
    """The name of an image file, made from the id of its row.

    Parameters
    ----------
    text : str
        ``{id}`` stands for the id, ``{id:06d}`` for a number with zeros up to six digits, ``{name}`` for what follows
        the last slash of the id, ``{stem}`` for that without its suffix, ``{id/1}`` for the id without its first
        folder. ``**/`` at the beginning stands for any folder inside, none included, and ``.*`` at the end for the
        suffix of any image file.

    Raises
    ------
    ValueError
        If the text names no id, or holds other braces or stars.

    Examples
    --------
    >>> Pattern("{id:06d}.jpg").name_of("7"), Pattern("**/{stem}.*").name_of("train/7.png")
    ('000007.jpg', '7')
    """

    def __init__(self, text: str) -> None:
        inner = text.removeprefix(ANYWHERE).removesuffix(ANY_SUFFIX)
        rest = _PLACEHOLDER.sub("", inner)
        if rest == inner or set(rest) & set("{}*"):
            raise ValueError(
                f"must contain {{id}}, {{id:06d}}, {{name}} or {{stem}}, no other braces, and * only as **/ at the "
                f"beginning or .* at the end. Got {text!r}. For example '{{id}}.jpg'."
            )
        self.text = text
        self.is_anywhere = text.startswith(ANYWHERE)
        self.has_any_suffix = text.endswith(ANY_SUFFIX)
        self._inner = inner

    def name_of(self, id_: str) -> str:
        """The path that the pattern makes of an id, without its wildcards."""

        def value(match: re.Match[str]) -> str:
            text = id_
            if match[1] != "id":
                # An address may say how the image is to be sent, and escapes what its path holds.
                path = unquote(urlsplit(id_).path) if "://" in id_ else id_
                text = re.split(r"[/\\]", path)[-1]
            if match[1] == "stem":
                text = posixpath.splitext(text)[0]
            if match[2]:
                text = "/".join(re.split(r"[/\\]", text)[int(match[2]) :])
            return text.zfill(int(match[3])) if match[3] and text.isdecimal() else text

        return _PLACEHOLDER.sub(value, self._inner)

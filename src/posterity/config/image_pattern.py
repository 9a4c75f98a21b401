"""The name of an image file, made from the id of its row."""

import re

_PLACEHOLDER = re.compile(r"\{(id|name)(?::0(\d)d)?\}")
ANYWHERE, ANY_SUFFIX = "**/", ".*"


class Pattern:
    """The name of an image file, made from the id of its row.

    Parameters
    ----------
    text : str
        ``{id}`` stands for the id, ``{id:06d}`` for a number with zeros up to six digits, ``{name}`` for what follows
        the last slash of the id. ``**/`` at the beginning stands for any folder inside, none included, and ``.*`` at
        the end for the suffix of any image file.

    Raises
    ------
    ValueError
        If the text names no id, or holds other braces or stars.

    Examples
    --------
    >>> Pattern("{id:06d}.jpg").name_of("7"), Pattern("**/{name}").name_of("train/7.png")
    ('000007.jpg', '7.png')
    """

    def __init__(self, text: str) -> None:
        inner = text.removeprefix(ANYWHERE).removesuffix(ANY_SUFFIX)
        rest = _PLACEHOLDER.sub("", inner)
        if rest == inner or set(rest) & set("{}*"):
            raise ValueError(
                f"must contain {{id}}, or {{id:06d}} or {{name}}, no other braces, and * only as **/ at the beginning "
                f"or .* at the end. Got {text!r}. For example '{{id}}.jpg'."
            )
        self.text = text
        self.is_anywhere = text.startswith(ANYWHERE)
        self.has_any_suffix = text.endswith(ANY_SUFFIX)
        self._inner = inner

    def name_of(self, id_: str) -> str:
        """The path that the pattern makes of an id, without its wildcards."""

        def value(match: re.Match[str]) -> str:
            text = id_ if match[1] == "id" else re.split(r"[/\\]", id_)[-1]
            return text.zfill(int(match[2])) if match[2] and text.isdecimal() else text

        return _PLACEHOLDER.sub(value, self._inner)

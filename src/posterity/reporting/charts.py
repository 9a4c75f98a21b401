"""Charts as SVG: Vega-Lite, the language of DVC's plots, drawn by vl-convert without a browser and without a network.

Colours are variables of the page's style sheet (``var(--ink)``), so that one drawing serves light and dark pages.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import vl_convert
from markupsafe import Markup

Spec = dict[str, Any]
# Variables of template/report.css. The three marks are told apart by colour-blind readers, too (Okabe & Ito 2008).
INK, MUTED, LINE = "var(--ink)", "var(--muted)", "var(--line)"
FIRST, SECOND, THIRD = "var(--mark-1)", "var(--mark-2)", "var(--mark-3)"
FONT = "system-ui, sans-serif"

_ID = re.compile(r"""(\bid="|url\(#|\bhref="#)([^")]+)""")
# Roles that screen readers do not know, and that are not allowed where the library puts them.
_ROLE = re.compile(r""" (role|aria-roledescription)="(graphics-|group |\w+(-\w+)* mark )[^"]*\"""")
_CONFIG: Spec = {
    "background": None,
    # The names of labels were measured in another font than the reader's, which may be wider.
    "padding": {"left": 24, "right": 12, "top": 6, "bottom": 6},
    "font": FONT,
    "aria": False,  # the figure around it says what it shows; a description of every mark would be ten times its size
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "gridColor": LINE,
        "domainColor": LINE,
        "tickColor": LINE,
        "labelLimit": 220,
    },
    "legend": {
        "labelColor": INK,
        "titleColor": MUTED,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "orient": "top",
        "symbolStrokeWidth": 2,
    },
    "header": {"labelColor": INK, "titleColor": MUTED, "labelFontSize": 11},
    "title": {"color": INK, "fontSize": 12, "fontWeight": "normal", "anchor": "start", "subtitleColor": MUTED},
    "text": {"color": INK, "fontSize": 10},
}


def svg(name: str, spec: Mapping[str, Any]) -> Markup:
    """Draw a Vega-Lite specification.

    Parameters
    ----------
    name : str
        Of letters and hyphens, one of its own for each drawing of a page: ids inside the drawing begin with it.
    spec : mapping
        The specification, with its data. Texts in it may hold anything; in field names, no dot and no bracket.

    Returns
    -------
    Markup
        An ``svg`` element. The same specification gives the same text.
    """
    drawn = vl_convert.vegalite_to_svg({**spec, "config": _CONFIG | dict(spec.get("config", {}))})
    # The library numbers ids through all that a process draws: here they begin anew.
    numbers: dict[str, int] = {}

    def renamed(found: re.Match[str]) -> str:
        return f"{found[1]}{name}-{numbers.setdefault(found[2], len(numbers))}"

    drawn = re.sub("<[^<>]+>", lambda tag: _ID.sub(renamed, _ROLE.sub("", tag[0])), drawn)
    return Markup(drawn)


def records(**columns: Sequence[Any]) -> list[dict[str, Any]]:
    """Columns of one length as the rows that Vega-Lite takes.

    >>> records(x=[1, 2], y=["a", "b"])
    [{'x': 1, 'y': 'a'}, {'x': 2, 'y': 'b'}]
    """
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def axis(field: str, title: str | None, **options: Any) -> Spec:
    """Encode a number; ``options`` are those of Vega-Lite's encoding."""
    return {"field": field, "type": "quantitative", "title": title, **options}


def category(field: str, title: str | None = None, **options: Any) -> Spec:
    """Encode a name, in the order of the data."""
    return {"field": field, "type": "nominal", "title": title, "sort": None, **options}

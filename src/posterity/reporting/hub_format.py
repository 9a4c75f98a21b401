"""What the Hugging Face Hub reads of a model card: its front matter, and Markdown in which text stays text.

The fields are those of https://github.com/huggingface/hub-docs/blob/main/modelcard.md. Of them, ``license``,
``datasets`` and ``model-index`` are checked when a card is pushed: what the Hub would refuse is left out or worded so
that it does not.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from posterity.text import printable

# Of https://huggingface.co/docs/hub/repositories-licenses; any other licence is "other" with a name.
LICENSES = frozenset(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
    lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0
    postgresql ofl-1.1 ncsa unlicense zlib pddl unknown other
    """.split()  # noqa: SIM905 - a list of so many words would have a line for each
)
TASK = "image-classification"
ANY_IMAGES = "imagefolder"  # the type of a data set that is a folder of images on no hub
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
# What Markdown obeys inside a line, also of the Hub: $ begins a formula there.
_OBEYED = re.compile(r"([\\`*_\[\]|~$#!])")


def markdown(text: object) -> str:
    r"""``str(text)`` on one line as Markdown shows it, also in a cell of a table.

    Examples
    --------
    >>> print(markdown("a|b <script> `c` *d*\n---"))
    a\|b &lt;script&gt; \`c\` \*d\*\\n---
    """
    line = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _OBEYED.sub(r"\\\1", line).strip() or "(empty)"


def code(text: object) -> str:
    r"""``str(text)`` as code in a line, also in a cell of a table.

    Examples
    --------
    >>> print(code("a`b|c"), code(3))
    `` a`b\|c `` `3`
    """
    line = printable(text).replace("|", r"\|")
    longest = max((len(found) for found in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {line} {fence}" if longest else f"{fence}{line or ' '}{fence}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; all columns but the first are aligned to the right."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def front_matter(
    name: str,
    results: Mapping[str, Sequence[tuple[str, str, float]]],
    *,
    license: str | None,
    dataset_name: str | None,
    tags: Sequence[str],
) -> str:
    """The YAML at the head of a card, with the lines around it.

    Parameters
    ----------
    name : str
        Name of the model.
    results : mapping of str to sequence of (metric, name, value)
        Figures of each side, such as ``{"validation": [("f1", "macro F1", 0.7)]}``.
    license, dataset_name : str or None
        As stated by the user. A licence that the Hub does not know becomes ``other`` with a name; a data set is listed
        as one of the Hub only if it has the form of an id there, OWNER/NAME.
    tags : sequence of str
        What the model can be found by.
    """
    import yaml

    content: dict[str, Any] = {}
    if license is not None:
        known = license.strip().casefold()
        content["license"] = known if known in LICENSES else "other"
        if known not in LICENSES:
            content["license_name"] = re.sub(r"[^a-z0-9.]+", "-", printable(known)).strip("-") or "unnamed"
    content |= {"library_name": "keras", "pipeline_tag": TASK, "tags": list(tags)}
    on_hub = dataset_name is not None and _HUB_ID.fullmatch(dataset_name) is not None
    if on_hub:
        content["datasets"] = [dataset_name]
    content["metrics"] = list(dict.fromkeys(metric for found in results.values() for metric, _, _ in found))
    data = {
        "type": dataset_name if on_hub else ANY_IMAGES,
        "name": "images with labels" if dataset_name is None else printable(dataset_name),
    }
    content["model-index"] = [
        {
            "name": name,
            "results": [
                {
                    "task": {"type": TASK, "name": "multi-label image classification"},
                    "dataset": data | {"split": side},
                    "metrics": [{"type": type_, "name": title, "value": value} for type_, title, value in found],
                }
                for side, found in results.items()
            ],
        }
    ]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{text}---\n"

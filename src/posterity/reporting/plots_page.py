"""What the page of `dvc plots` needs to draw without a network."""

from pathlib import Path

from posterity import files

VEGA = Path(".dvc/tmp/vega.js")  # where .dvc/plots/page.html looks for it; Git ignores the folder
VERSION = "5.20"  # of Vega-Lite: the templates of .dvc/plots are for 5


def keep_vega() -> None:
    """Leave the libraries that draw `dvc plots` on this machine, unless they are there or this is no DVC project.

    It takes two seconds and 0.9 MB. It is no output of a stage: the page asks the network for what is not there.
    """
    if VEGA.is_file() or not VEGA.parent.parent.is_dir():
        return
    import vl_convert

    VEGA.parent.mkdir(exist_ok=True)
    files.write_text(VEGA, vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VERSION))

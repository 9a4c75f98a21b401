"""dvc.yaml says the truth: the deps of a stage are its import closure, its params are those that it reads."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"


def stages():
    found = {}
    for name in ("dvc.yaml", "data/dvc.yaml"):
        for stage, content in yaml.safe_load((ROOT / name).read_text())["stages"].items():
            found[stage] = content.get("do", content)
    return found


STAGES = stages()


def module_files(module):
    """The files that ``import module`` runs: its own and the __init__.py of every package above it."""
    parts = module.split(".")
    found = set()
    for depth in range(1, len(parts) + 1):
        base = SRC.joinpath(*parts[:depth])
        found |= {path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()}
    return found


def imported_files(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from package import name` imports a module if there is one of that name.
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for module in modules:
            if module.split(".")[0] == "posterity":
                found |= module_files(module)
    return found


def import_closure(script):
    closure, waiting = set(), {script}
    while waiting:
        path = waiting.pop()
        closure.add(path)
        waiting |= imported_files(path) - closure
    return {path.relative_to(ROOT).as_posix() for path in closure}


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_a_stage_depends_on_is_the_code_it_imports(stage):
    script = ROOT / STAGES[stage]["cmd"].split()[1]
    listed = {dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")}
    assert listed == import_closure(script)


def params_read(script):
    """Dotted keys that a script reads as ``params.section.key``; a section read whole counts as the section."""
    found = set()
    for node in ast.walk(ast.parse(script.read_text())):
        names = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name) and node.id == "params" and names:
            found.add(".".join(reversed(names)))
    # `params.data.images` is walked three times: as itself and as its own beginnings.
    return {key for key in found if not any(other.startswith(f"{key}.") for other in found)}


# Read, but of no influence on what the stage writes; or made into a path that is a dep already.
NOT_TRACKED = {
    "image.workers",
    "model_dump_json",
    "predict.images",
    "preprocess.engine",
    "preprocess.reuse",
    "ray.address",
}


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "sample"])
def test_the_params_of_a_stage_are_those_it_reads(stage):
    listed = STAGES[stage]["params"]
    read = {key.removesuffix(".model_dump") for key in params_read(ROOT / STAGES[stage]["cmd"].split()[1])}
    for key in read - NOT_TRACKED:
        assert any(key == entry or key.startswith(f"{entry}.") for entry in listed), f"{key} is read but not listed"
    for entry in listed:
        assert any(key == entry or key.startswith(f"{entry}.") for key in read), f"{entry} is listed but not read"


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_and_output_is_described(stage):
    content = STAGES[stage]
    assert content["desc"]
    assert all(isinstance(out, dict) and next(iter(out.values()))["desc"] for out in content["outs"])


def test_metrics_and_plots_lie_in_git():
    for content in STAGES.values():
        for out in [*content.get("metrics", []), *content.get("plots", [])]:
            assert next(iter(out.values()))["cache"] is False

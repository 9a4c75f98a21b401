"""dvc.yaml says the truth: the deps of a stage are its import closure, its params are those that it reads."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
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


def code_deps(stage):
    return [dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")]


def covers(dep, file):
    return file == dep or file.startswith(f"{dep}/")


def closure_of(stage):
    """The files whose edit can change what the stage does: an __init__.py that only says what is there cannot."""
    files = import_closure(ROOT / STAGES[stage]["cmd"].split()[1])
    return {file for file in files if not file.endswith("/__init__.py")}


@pytest.mark.parametrize("stage", STAGES)
def test_an_edit_of_what_a_stage_imports_runs_it_again(stage):
    missing = [file for file in closure_of(stage) if not any(covers(dep, file) for dep in code_deps(stage))]
    assert not missing


@pytest.mark.parametrize("stage", STAGES)
def test_no_dep_is_idle(stage):
    """A stage imports every file that it lists, and at least half of the modules of every folder."""
    files = closure_of(stage)
    for dep in code_deps(stage):
        used = [file for file in files if covers(dep, file)]
        there = [path for path in [ROOT / dep, *(ROOT / dep).rglob("*.py")] if path.suffix == ".py"]
        assert 2 * len(used) >= len([path for path in there if path.name != "__init__.py"]) > 0, dep


def test_packages_run_nothing_when_they_are_imported():
    for path in (SRC / "posterity").rglob("__init__.py"):
        for node in ast.parse(path.read_text()).body:
            is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            assert is_docstring or isinstance(node, ast.Assign | ast.FunctionDef | ast.If), (
                f"{path}: {ast.unparse(node)}"
            )


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

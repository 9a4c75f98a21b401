"""dvc.yaml says the truth: the deps of a stage are its import closure, its params are those that it reads."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"


def stages():
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    return {stage: facts.get("do", facts) for stage, facts in content["stages"].items()}


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
    found: set[Path] = set()
    if path.name == "__init__.py":
        return found  # it imports only what somebody asks it for, and no stage does
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None  # only a relative import names none
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
            from_typing = isinstance(node, ast.ImportFrom) and node.module == "typing"
            only_says = is_docstring or from_typing or isinstance(node, ast.Assign | ast.FunctionDef | ast.If)
            assert only_says, f"{path}: {ast.unparse(node)}"


def chain(node):
    """``("params", "data", "images")`` of the expression ``params.data.images``, or () if it is something else."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else ()


def params_read(script):
    """Dotted keys that a script reads as ``params.section.key``, also by another name for ``params.section``."""
    tree = ast.parse(script.read_text())
    names = {"params": ()}
    targets = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            pairs = [(node.targets[0], node.value)]
            if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(node.targets[0].elts, node.value.elts, strict=True))
            for target, value in pairs:
                if isinstance(target, ast.Name) and len(chain(value)) > 1 and chain(value)[0] == "params":
                    names[target.id] = chain(value)[1:]
                    targets.add(value)
    inner = {node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found = set()
    for node in ast.walk(tree):
        read = chain(node)
        if read and node not in inner and node not in targets and read[0] in names and not is_stored(node):
            found.add(".".join((*names[read[0]], *read[1:])))
    return {key.removesuffix(".model_dump") for key in found} - {"", "model_dump_json"}


def is_stored(node):
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


# Read, but of no influence on what the stage writes; or made into a path that is a dep already.
NOT_TRACKED = ("data.images", "machine.reuse_folder", "machine.workers", "predict.images")


def covered(key, entry):
    return key == entry or key.startswith(f"{entry}.")


@pytest.mark.parametrize("stage", STAGES)
def test_the_params_of_a_stage_are_those_it_reads(stage):
    listed = STAGES[stage]["params"]
    read = params_read(ROOT / STAGES[stage]["cmd"].split()[1])
    tracked = {key for key in read if not any(covered(key, entry) for entry in NOT_TRACKED)}
    for key in tracked:
        assert any(covered(key, entry) for entry in listed), f"{key} is read but not listed"
    for entry in listed:
        assert any(covered(key, entry) for key in tracked), f"{entry} is listed but not read"


def test_no_name_from_params_yaml_reaches_a_shell():
    """A command is words alone: DVC puts nothing into it, and a shell finds nothing to do in it but to run it."""
    for content in STAGES.values():
        assert re.fullmatch(r"python src/\w+\.py", content["cmd"])


def test_dvc_yaml_reads_in_one_look():
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 230


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_and_output_is_described(stage):
    content = STAGES[stage]
    assert content["desc"]
    assert content.get("outs") or content["metrics"]
    assert all(isinstance(out, dict) and next(iter(out.values()))["desc"] for out in content.get("outs", []))


def test_metrics_and_plots_lie_in_git_but_no_picture_of_an_image_does():
    for content in STAGES.values():
        for out in [*content.get("metrics", []), *content.get("plots", [])]:
            ((path, settings),) = out.items()
            assert settings.get("cache", True) is path.endswith(".png")

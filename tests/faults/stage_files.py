"""What each stage reads and writes, as dvc.yaml says it."""

from pathlib import Path

import yaml

from small_project import ROOT

MADE = ("data/", "models/", "metrics/", "report/")
PREDICT_ENTRY = "new"  # of predict.images
_STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
STAGES = tuple(_STAGES)
WITH_TENSORFLOW = ("features", "train", "final_test", "report", "predict")
WITHOUT_TENSORFLOW = tuple(stage for stage in STAGES if stage not in WITH_TENSORFLOW)


def reads(stage: str) -> list[str]:
    """Files and folders of other stages that ``stage`` reads."""
    return [path for path in _facts(stage)["deps"] if path.startswith(MADE)]


def writes(stage: str) -> list[str]:
    """Files and folders that ``stage`` makes, figures and plots included."""
    facts = _facts(stage)
    return [_path(entry) for key in ("outs", "metrics", "plots") for entry in facts.get(key, [])]


def arguments(stage: str) -> list[str]:
    """What the script of ``stage`` is given outside of DVC."""
    return [PREDICT_ENTRY] if stage == "predict" else []


def _facts(stage: str) -> dict[str, list[str]]:
    facts = _STAGES[stage].get("do", _STAGES[stage])
    return {key: facts[key] for key in ("deps", "outs", "metrics", "plots") if key in facts}


def _path(entry: str | dict[str, object]) -> str:
    path = entry if isinstance(entry, str) else next(iter(entry))
    return path.replace("${key}", PREDICT_ENTRY).replace("${predict.format}", "csv")


def files_of(root: Path, names: list[str]) -> list[str]:
    """The files that ``names`` stand for in ``root``, those of folders included, in order."""
    found = []
    for name in names:
        path = root / name
        inside = path.rglob("*") if path.is_dir() else [path]
        found += [file.relative_to(root).as_posix() for file in inside if file.is_file()]
    return sorted(found)

"""After `dvc repro` on a fresh clone: are the committed dvc.lock and metrics what this machine made, too?

On the CPU that made them (.ci/reference_cpu.txt) everything has to be equal byte for byte. Elsewhere TensorFlow's
kernels may round differently; then the data stages still have to agree in every byte, and the figures within a
tolerance. metrics/environment.json names the versions and the machine, so it differs elsewhere; that is printed and
decides nothing.
"""

import json
import subprocess
import sys
from pathlib import Path

import yaml

TOLERANCE = 0.1  # of scores and losses between 0 and 1: other rounding acts on the sample like another seed
EXACT = ["metrics/data.json", "metrics/split.json", "metrics/test.json", "data/.gitignore", "models/.gitignore"]
EXACT_STAGES = ["validate", "preprocess", "split", "features"]
COMPARED = ["metrics/evaluate.json", "metrics/train.json"]
ENVIRONMENT = "metrics/environment.json"
PAGE, FIGURES = "report/index.html", "metrics/evaluate.json"


def cpu() -> str:
    """Vendor, family, model and number of the cores of this machine."""
    lines = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
    values = {name.strip(): value.strip() for name, value in lines}
    cores = sum(name.strip() == "processor" for name, _ in lines)
    return f"{values.get('vendor_id')} family {values.get('cpu family')} model {values.get('model')}, {cores} cores"


def committed(path: str) -> str:
    return subprocess.run(["git", "show", f"HEAD:{path}"], check=True, capture_output=True, text=True).stdout


def differences() -> list[str]:
    """What differs more than it may on another CPU."""
    found = [path for path in EXACT if committed(path) != Path(path).read_text()]
    old, new = (yaml.safe_load(text)["stages"] for text in (committed("dvc.lock"), Path("dvc.lock").read_text()))
    found += [f"dvc.lock: {stage}" for stage in EXACT_STAGES if old[stage] != new[stage]]
    for path in COMPARED:
        before, after = json.loads(committed(path)), json.loads(Path(path).read_text())
        if before.keys() != after.keys():
            found.append(f"{path}: other keys")
        for key in before.keys() & after.keys():
            bound = TOLERANCE * max(1, abs(before[key]))
            if abs(before[key] - after[key]) > bound:
                found.append(f"{path}: {key} {before[key]} -> {after[key]}")
    return found


def is_page_without_history(status: str) -> bool:
    """Whether the page alone differs, in a clone that lacks the commit which the page compares its figures with."""
    log = subprocess.run(
        ["git", "log", "--format=%H", "--", FIGURES], check=True, capture_output=True, text=True
    ).stdout
    if status.split() != ["M", "dvc.lock"] or len(log.splitlines()) > 1:
        return False
    old, new = (yaml.safe_load(text)["stages"] for text in (committed("dvc.lock"), Path("dvc.lock").read_text()))
    for stages in (old, new):
        stages["report"]["outs"] = [out for out in stages["report"]["outs"] if out["path"] != PAGE]
    return bool(old == new)


def main() -> None:
    changed = subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True, text=True).stdout
    lines = changed.splitlines(keepends=True)
    status = "".join(line for line in lines if line[3:].strip() != ENVIRONMENT)
    dvc_status = subprocess.run(["dvc", "status"], check=True, capture_output=True, text=True).stdout
    if "up to date" not in dvc_status:
        sys.exit(f"dvc status is not clean:\n{dvc_status}")
    if status != changed:
        print("Another environment than that of the committed results:")
        subprocess.run(["git", "--no-pager", "diff", "--", ENVIRONMENT], check=True)
    if not status:
        print(f"Reproduced byte for byte on {cpu()}.")
        return
    if is_page_without_history(status):
        print(f"Reproduced byte for byte on {cpu()}, but for {PAGE}: it compares with a commit that is not here.")
        return
    reference = Path(".ci/reference_cpu.txt").read_text().strip()
    print(f"Not the committed bytes:\n{status}\nMade on {reference}; this is {cpu()}.")
    subprocess.run(["git", "--no-pager", "diff", "--", "dvc.lock", *EXACT, *COMPARED], check=True)
    if cpu() == reference:
        sys.exit("The same CPU has to give the same bytes.")
    if found := differences():
        sys.exit("More than rounding differs:\n" + "\n".join(found))
    print(f"The data stages agree byte for byte, the figures within {TOLERANCE}.")


if __name__ == "__main__":
    main()

"""Stage `validate`: check the images and their labels CSV, list every problem, write the manifest."""

from posterity import script

if __name__ == "__main__":
    script.begin()

import argparse
import functools
from pathlib import Path

from tqdm import tqdm

from posterity import errors, files
from posterity.cache import reuse, reuse_folder
from posterity.config import stage_arguments
from posterity.config.load import load_params
from posterity.dataset import manifest
from posterity.dataset.issues import apply_policies, count_by_kind, to_table
from posterity.dataset.options import Policies, Reading, TableForm
from posterity.synthetic.on_demand import draw_missing
from posterity.targets import is_present
from posterity.text import printable
from posterity.workers import ray_cluster


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    return stage_arguments.parser(
        __doc__,
        "What happens to each kind of problem (keep, drop, fail) is set in data.on_problem in params.yaml. If the run "
        "stops, the lists of problems are written all the same, the manifest is not. The tensors of the last run are "
        "only looked at, to keep them for reuse. If data.images is the folder of the sample and empty, it is drawn.",
        reads=["tensors"],
        writes=["manifest", "labels", "known-issues", "issues"],
    ).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    data, image, workers = params.data, params.image, params.machine.workers
    policies = Policies(data.on_problem.model_dump(), data.min_positives)
    kept = Path(params.machine.reuse_folder) if params.machine.reuse_folder else None
    if kept:
        used = {"data.images": Path(data.images), "data.labels": Path(data.labels), "--tensors": args.tensors}
        reuse_folder.check_folder(kept, used)

    bar = functools.partial(tqdm, desc="drawing the sample", unit=" images", mininterval=1)
    if drawn := draw_missing(Path(data.images), workers=workers.threads, progress=bar):
        print(f"{data.images}: {drawn:,} synthetic images drawn. Set data.images and data.labels to use your own.")

    form = TableForm(
        **data.model_dump(include=set(TableForm.__annotations__)),
        group_column=params.split.group_column,
        side_column=params.split.side_column,
    )
    with ray_cluster.open_mapper(workers.run_on, threads=workers.threads, address=workers.ray_address) as mapper:
        known = kept / "files.json" if kept else None
        reading = Reading(image.max_pixels, mapper, known, True, image.formats, image.max_side, image.max_scans)
        checked = manifest.build(data.labels, data.images, form, policies, reading)
    # Before the policies: the list is what the user needs to correct the data.
    for note in checked.notes:
        print(printable(f"{data.labels}: {note}."))
    files.write_csv(args.known_issues, to_table(checked.issues))
    try:
        apply_policies(
            checked.issues,
            policies.on_problem,
            num_rows=checked.num_rows,
            max_dropped_fraction=data.max_dropped_fraction,
            listing=str(args.issues),
            source=data.labels,
        )
        if not is_present(manifest.targets(checked.table, checked.vocabulary)).any():
            raise errors.UserError(
                f"{data.labels}: no label is left on the {len(checked.table)} rows that are kept. {args.issues} "
                f"lists what was dropped. Correct the rows or change data.on_problem in params.yaml."
            )
    except errors.UserError:
        # `preprocess`, which completes this list, will not run: an older one must not stand in its place.
        files.write_csv(args.issues, to_table(checked.issues))
        raise
    files.write_csv(args.manifest, checked.table)
    files.write_json(args.labels, checked.vocabulary)
    # The last moment: DVC deletes the tensors before it runs `preprocess`.
    if kept and (reason := reuse.hold(kept, args.tensors)):
        print(f"Nothing is kept of the last run: {printable(reason)}.")

    found = ", ".join(f"{kind} {number:,}" for kind, number in count_by_kind(checked.issues).items() if number)
    rows = f"{len(checked.table):,} of {checked.num_rows:,} rows kept, {len(checked.vocabulary)} labels"
    print(f"{rows}; {f'{found} (listed in {args.known_issues})' if found else 'no problem found'}.")


if __name__ == "__main__":
    script.run(main)

"""Stage `validate`: check the images and their labels CSV, list every problem, write the manifest."""

import argparse
from pathlib import Path

from posterity import errors, files
from posterity.cache import reuse
from posterity.config.load import load_params
from posterity.dataset import manifest
from posterity.dataset.issues import apply_policies, counts, to_table
from posterity.workers import ray_cluster


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="What happens to each kind of problem (keep, drop, fail) is set in data.on_problem in params.yaml. If "
        "the run stops, the list of problems is written all the same, the manifest is not.",
    )
    parser.add_argument("--params", type=Path, default="params.yaml", help="parameters (default: %(default)s)")
    parser.add_argument(
        "--manifest", type=Path, default="data/manifest.csv", help="CSV to write: one line per kept row"
    )
    parser.add_argument(
        "--labels", type=Path, default="data/labels.json", help="JSON to write: the label names in order"
    )
    parser.add_argument("--issues", type=Path, default="data/manifest_issues.csv", help="CSV to write: every problem")
    parser.add_argument("--tensors", type=Path, default="data/tensors", help="cache of the last run, to keep for reuse")
    parser.add_argument(
        "--all-issues", type=Path, default="data/issues.csv", help="written as well if a problem stops the run here"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    kept = Path(params.preprocess.reuse) if params.preprocess.reuse else None
    data, policies = params.data, params.data.on_problem.model_dump()

    with ray_cluster.engine(
        params.preprocess.engine, workers=params.image.workers, address=params.ray.address
    ) as mapper:
        checked = manifest.build(
            data.labels,
            data.images,
            policies,
            id_column=data.id_column,
            list_column=data.list_column,
            list_delimiter=data.list_delimiter,
            label_columns=data.label_columns,
            image_pattern=data.image_pattern,
            image_column=data.image_column,
            min_positives=data.min_positives,
            max_pixels=params.image.max_pixels,
            mapper=mapper,
            note=kept / "files.json" if kept else None,
            show_progress=True,
        )
    # Before the policies: the list is what the user needs to repair the data.
    files.write_csv(args.issues, to_table(checked.issues))
    try:
        apply_policies(
            checked.issues,
            policies,
            num_rows=checked.num_rows,
            max_dropped_fraction=data.max_dropped_fraction,
            listing=str(args.all_issues),
            source=data.labels,
        )
        if not manifest.targets(checked.table, checked.vocabulary).any():
            raise errors.UserError(
                f"{data.labels}: no label is left on the {len(checked.table)} rows that are kept. {args.all_issues} "
                f"lists what was dropped. Repair the rows or change data.on_problem in params.yaml."
            )
    except errors.UserError:
        # `preprocess`, which completes this list, will not run: an older one must not stand in its place.
        files.write_csv(args.all_issues, to_table(checked.issues))
        raise
    files.write_csv(args.manifest, checked.table)
    files.write_json(args.labels, checked.vocabulary)
    if kept:
        reuse.share(kept, args.tensors)  # the last moment: DVC deletes the tensors before it runs `preprocess`

    found = ", ".join(f"{kind} {number:,}" for kind, number in counts(checked.issues).items() if number)
    rows = f"{len(checked.table):,} of {checked.num_rows:,} rows kept, {len(checked.vocabulary)} labels"
    print(f"{rows}; {f'{found} (listed in {args.issues})' if found else 'no problem found'}.")


if __name__ == "__main__":
    errors.run(main)

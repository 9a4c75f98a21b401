"""Stage `preprocess`: decode every image of the manifest once, into the tensor cache."""

from posterity import script

if __name__ == "__main__":
    script.begin()

import argparse
from pathlib import Path

from posterity import errors, files
from posterity.cache import reuse, reuse_folder, rows, tensors
from posterity.config import stage_arguments
from posterity.config.load import load_params
from posterity.dataset import caching, manifest, near_duplicates
from posterity.dataset.checks import settle_rare_labels
from posterity.dataset.issues import apply_policies, dropped_lines, in_words, read_issues, to_table
from posterity.pixels.spec import ImageSpec
from posterity.targets import is_present
from posterity.text import printable
from posterity.workers import ray_cluster


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    return stage_arguments.parser(
        __doc__,
        "Size, resampling and fit are set in params.yaml, section image; what happens to damaged images in "
        "data.on_problem.",
        reads=["manifest", "labels", "known-issues"],
        writes=["tensors", "rows", "issues", "data-metrics"],
    ).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    data, image, workers = params.data, params.image, params.machine.workers
    policies = data.on_problem.model_dump()
    kept = Path(params.machine.reuse_folder) if params.machine.reuse_folder else None
    if kept:
        used = {"data.images": Path(data.images), "data.labels": Path(data.labels)}
        reuse_folder.check_folder(kept, used | {"--tensors": args.tensors, "--rows": args.rows})
    files.check_replaceable(args.rows, rows.HOLDS)
    table = manifest.read_manifest(args.manifest)
    label_names = manifest.read_label_names(args.labels, table, args.manifest)
    known = read_issues(args.known_issues)
    num_csv_rows, num_images = len(table) + len(dropped_lines(known, policies)), len(table)
    spec, length = ImageSpec(**image.model_dump(exclude={"rows_per_shard"})), image.rows_per_shard
    earlier = reuse.EarlierBuild(kept, spec)
    num_reused = int(table["sha256"].isin(earlier.digests).sum())

    with (
        files.replacing_folder(args.tensors, holds=tensors.HOLDS) as folder,
        ray_cluster.open_mapper(workers.run_on, threads=workers.threads, address=workers.ray_address) as mapper,
    ):
        built = caching.cache_images(table, folder, spec, length, earlier=earlier, mapper=mapper)
        issues = known + built.lost + built.odd
        cached = caching.decoded(table, issues)["line"]
        table, alike = near_duplicates.add_looks(
            table, folder, issues, min_similarity=data.near_duplicate_similarity, threads=workers.threads
        )
        issues, odd = issues + alike, built.odd + alike
        table = table[~table["line"].isin(dropped_lines(issues, policies))]
        # A damaged image may have been one of a label's last.
        settled = settle_rare_labels(
            manifest.targets(table, label_names),
            table["line"].tolist(),
            table["id"].tolist(),
            label_names,
            min_positives=data.min_positives,
            drop=policies["rare_label"] == "drop",
            known=issues,
        )
        issues += settled.issues
        files.write_csv(args.issues, to_table(issues))  # before the policies: a run that stops is explained
        dropped = apply_policies(
            issues,
            policies,
            num_rows=num_csv_rows,
            max_dropped_fraction=data.max_dropped_fraction,
            listing=str(args.issues),
            source=data.labels,
        )
        targets = manifest.targets(table, label_names)[:, ~settled.is_dropped]
        label_names = [name for name, gone in zip(label_names, settled.is_dropped, strict=True) if not gone]
        if not (left := ~table["line"].isin(dropped_lines(settled.issues, policies))).all():
            table, targets = table[left], targets[left]
        if not is_present(targets).any():
            raise errors.UserError(f"{data.labels}: no label is left. {args.issues} lists what was dropped.")
        caching.keep_rows(folder, cached.isin(table["line"]).to_numpy())

    rows.write(args.rows, table, targets, label_names)
    counts = caching.counts(targets, label_names, issues, in_csv=num_csv_rows, dropped=len(dropped))
    files.write_json(args.data_metrics, counts)
    if odd:
        print(f"Odd but sound: {in_words(odd)} (listed in {args.issues}).")
    if kept:
        note = f"; {printable(earlier.reason)}" if earlier.reason else ""
        print(f"{num_reused:,} rows reused, {num_images - num_reused:,} decoded{note}.")
        if reason := reuse.keep(kept, args.tensors, spec, table["sha256"].tolist(), length, built.remarks):
            print(f"Nothing is kept for the next run: {printable(reason)}.")
    print(f"{len(table):,} images cached as {spec.height} x {spec.width}, {len(dropped):,} rows left out.")


if __name__ == "__main__":
    script.run(main)

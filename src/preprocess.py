"""Stage `preprocess`: decode every image of the manifest once, into the tensor cache."""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from posterity import errors, files
from posterity.cache import reuse
from posterity.cache.tensor_writer import CacheWriter
from posterity.config.load import load_params
from posterity.dataset import manifest
from posterity.dataset.checks import newly_rare_labels
from posterity.dataset.issues import Issue, apply_policies, counts, dropped_rows, from_table, to_table
from posterity.pixels.decode import ImageProblem, ImageSpec, decode_all
from posterity.workers import ray_cluster
from posterity.workers.threads import Mapper


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Size, resampling and fit are set in params.yaml, section image; what happens to damaged images in "
        "data.on_problem.",
    )
    parser.add_argument("--params", type=Path, default="params.yaml", help="parameters (default: %(default)s)")
    parser.add_argument("--manifest", type=Path, default="data/manifest.csv", help="table of images to read")
    parser.add_argument("--labels", type=Path, default="data/labels.json", help="label names to read")
    parser.add_argument("--known-issues", type=Path, default="data/manifest_issues.csv", help="issues so far, to read")
    parser.add_argument("--tensors", type=Path, default="data/tensors", help="cache folder to write")
    parser.add_argument("--issues", type=Path, default="data/issues.csv", help="all issues, to write")
    parser.add_argument("--metrics", type=Path, default="metrics/data.json", help="counts, to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    policies = params.data.on_problem.model_dump()
    table = manifest.read_manifest(args.manifest)
    label_names: list[str] = files.read_json(args.labels)
    kept = Path(params.preprocess.reuse) if params.preprocess.reuse else None
    known = from_table(files.read_csv(args.known_issues))
    num_csv_rows = len(table) + len(dropped_rows(known, policies))
    spec = ImageSpec(
        height=params.image.height,
        width=params.image.width,
        resampling=params.image.resampling,
        fit=params.image.fit,
        max_pixels=params.image.max_pixels,
    )

    earlier = reuse.EarlierBuild(kept, spec)
    with files.replacing(args.tensors) as folder:
        writer = CacheWriter(folder, spec, params.image.rows_per_shard, len(table), earlier)
        is_known = table["sha256"].isin(earlier.digests).to_numpy()
        with ray_cluster.engine(
            params.preprocess.engine, workers=params.image.workers, address=params.ray.address
        ) as mapper:
            issues = known + fill(writer, table, is_known, mapper)
        is_cached = ~table["row"].isin(dropped_rows(issues, policies))
        targets = manifest.targets(table[is_cached], label_names)
        # A damaged image may have been one of a label's last.
        issues += newly_rare_labels(targets, label_names, params.data.min_positives, issues)
        files.write_csv(args.issues, to_table(issues))  # before the policies: a run that stops is explained
        dropped = apply_policies(
            issues,
            policies,
            num_rows=num_csv_rows,
            max_dropped_fraction=params.data.max_dropped_fraction,
            listing=str(args.issues),
            source=params.data.labels,
        )
        cached = table[is_cached]
        if policies["rare_label"] == "drop":
            rare = {issue.id for issue in issues if issue.kind == "rare_label"}
            targets = targets[:, [name not in rare for name in label_names]]
            label_names = [name for name in label_names if name not in rare]
        if not targets.any():
            raise errors.UserError(f"{params.data.labels}: no label is left. {args.issues} lists what was dropped.")
        writer.close(targets, cached, label_names)

    files.write_json(
        args.metrics,
        {
            "rows_in_csv": num_csv_rows,
            "rows_cached": len(cached),
            "rows_dropped": len(dropped),
            "labels": len(label_names),
            # Lists, which `dvc metrics show` leaves out: a column per label would push the figures off the screen.
            "positives": [
                {"label": name, "rows": int(rows)}
                for name, rows in zip(label_names, targets.sum(axis=0, dtype=int), strict=True)
            ],
            "rows_by_number_of_labels": np.bincount(targets.sum(axis=1, dtype=int)).tolist(),
            "issues": [{"kind": kind, "found": found} for kind, found in counts(issues).items()],
        },
    )
    if kept:
        note = f"; {earlier.reason}" if earlier.reason else ""
        print(f"{is_known.sum():,} rows reused, {(~is_known).sum():,} decoded{note}.")
        if reason := reuse.keep(kept, args.tensors, spec, cached["sha256"].tolist(), params.image.rows_per_shard):
            print(f"Nothing is kept for the next run: {reason}.")
    print(f"{len(cached):,} images cached as {spec.height} x {spec.width}, {len(dropped):,} rows left out.")


def fill(writer: CacheWriter, table: pd.DataFrame, is_known: npt.NDArray[np.bool_], mapper: Mapper) -> list[Issue]:
    """Append the images of the manifest ``table`` in order; return an issue for each that cannot be decoded.

    Those that ``is_known`` marks are taken from the earlier build of ``writer``, the others are decoded by ``mapper``.

    Raises
    ------
    UserError
        If the bytes of a file are not those of the manifest any more.
    """
    found: list[Issue] = []
    unknown = table[~is_known]
    decoded = decode_all(unknown["path"], writer.spec, mapper, digests=unknown["sha256"])
    rows = zip(table["row"], table["id"], table["path"], table["sha256"], is_known, strict=True)
    for row, id_, path, digest, known in tqdm(rows, "decode", len(table), unit=" images", mininterval=1):
        if known:
            writer.append_known(digest)
            continue
        image = next(decoded)
        if isinstance(image, ImageProblem):
            found.append(Issue(image.kind, int(row), id_, f"{path}: {image}"))
        else:
            writer.append(image)
    return found


if __name__ == "__main__":
    errors.run(main)

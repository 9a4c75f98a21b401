"""Stage `split`: assign every cached row to training or validation, without leaks."""

import argparse

from posterity import errors, files
from posterity.cache import rows as cached_rows
from posterity.config import stage_arguments
from posterity.config.load import load_params
from posterity.splitting import split_file
from posterity.splitting.assign import assign, label_counts
from posterity.splitting.groups import group_rows


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    return stage_arguments.parser(
        __doc__,
        "Rows that share an id or the bytes of an image, or whose images look alike, always land on the same side.",
        reads=["rows"],
        writes=["split", "split-metrics"],
    ).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    rows = cached_rows.read(args.rows)

    groups = group_rows(*(rows.index[key].tolist() for key in ("id", "sha256", cached_rows.LOOK) if key in rows.index))
    is_validation = assign(
        rows.index["id"].tolist(),
        groups,
        fraction=params.split.validation_fraction,
        seed=params.seed,
        labels=rows.targets if params.split.stratify else None,
    )

    split_file.write(args.split, rows.index, is_validation)
    sides = {"train": int((~is_validation).sum()), "validation": int(is_validation.sum())}
    # A list, which `dvc metrics show` leaves out: a table of every label twice would push the figures off the screen.
    labels = label_counts(rows.targets, is_validation, rows.label_names)
    files.write_json(args.split_metrics, {"rows": sides, "groups": int(groups.max()) + 1, "labels": labels})
    print(f"{sides['train']:,} rows for training, {sides['validation']:,} for validation.")


if __name__ == "__main__":
    errors.run(main)

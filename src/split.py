"""Stage `split`: assign every cached row to training or validation, without leaks."""

import argparse
from pathlib import Path

from posterity import errors, files
from posterity.cache.tensors import TensorCache
from posterity.config.load import load_params
from posterity.splitting import assign, split_file


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Rows that share an id or the very bytes of an image always land on the same side.",
    )
    parser.add_argument("--params", type=Path, default="params.yaml", help="parameters (default: %(default)s)")
    parser.add_argument("--tensors", type=Path, default="data/tensors", help="tensor cache to read")
    parser.add_argument("--split", type=Path, default="data/split.csv", help="CSV to write: row, id, side")
    parser.add_argument("--metrics", type=Path, default="metrics/split.json", help="JSON to write: rows per label")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    cache = TensorCache(args.tensors)

    groups = assign.group_rows(cache.index["id"].tolist(), cache.index["sha256"].tolist())
    is_validation = assign.assign(
        cache.index["id"].tolist(),
        groups,
        fraction=params.split.validation_fraction,
        seed=params.seed,
        labels=cache.targets if params.split.stratify else None,
    )

    split_file.write(args.split, cache.index, is_validation)
    rows = {"train": int((~is_validation).sum()), "validation": int(is_validation.sum())}
    # A list, which `dvc metrics show` leaves out: a table of every label twice would push the figures off the screen.
    labels = assign.label_counts(cache.targets, is_validation, cache.label_names)
    files.write_json(args.metrics, {"rows": rows, "groups": int(groups.max()) + 1, "labels": labels})
    print(f"{rows['train']:,} rows for training, {rows['validation']:,} for validation.")


if __name__ == "__main__":
    errors.run(main)

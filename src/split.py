"""Stage `split`: assign every cached row to training, validation or the test, without leaks."""

from posterity import script

if __name__ == "__main__":
    script.begin()

import argparse

from posterity import errors, files
from posterity.cache import rows as cached_rows
from posterity.config import stage_arguments
from posterity.config.load import load_params
from posterity.splitting import sides, split_file
from posterity.splitting.options import SplitOptions
from posterity.text import printable


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    return stage_arguments.parser(
        __doc__,
        "Rows that share an id, the bytes of an image or a group, or whose images look alike, always land on one side.",
        reads=["rows"],
        writes=["split", "split-metrics"],
    ).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    params = load_params(args.params)
    rows = cached_rows.read(args.rows)
    # DVC keeps the inputs up to date. Without it (`dvc repro -s split`), old ones could be used unnoticed.
    for key, name in (("group_column", "group"), ("side_column", "side")):
        if (getattr(params.split, key) is not None) != (name in rows.index.columns):
            raise errors.UserError(
                f"{args.rows}: expected a column {name!r} if split.{key} names one, and only then. "
                "Run `dvc repro split`."
            )

    options = SplitOptions(**params.split.model_dump(include=set(SplitOptions.__annotations__)))
    split = sides.divide(rows.index, options, seed=params.seed, labels=rows.targets if params.split.stratify else None)

    sides.check_known(split.sides, rows.targets)
    split_file.write(args.split, rows.index, split.sides)
    counts = sides.counts(split, rows.targets, rows.label_names)
    files.write_json(args.split_metrics, counts)
    for note in split.notes:
        print(printable(note))
    print(sides.in_words(counts["rows"]))


if __name__ == "__main__":
    script.run(main)

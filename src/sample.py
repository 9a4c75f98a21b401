"""Draw the sample data set: synthetic posters and their labels.

    python src/sample.py --output data/sample --count 1000 --seed 7

Writes OUTPUT/images/{Id}.jpg, OUTPUT/labels.csv (Id, Genre, then one 0/1 column per label),
OUTPUT/sample.json (count and seed) and OUTPUT/README.txt. For data/sample itself there is no need to run it: stage
`validate` draws the images where they are missing.
Image k depends on the seed and on k alone: a larger count adds images and leaves the first ones as they were.
The images are abstract and made up, so scores on them say nothing about real posters. To use images of your own,
point data.images and data.labels in params.yaml at them.
"""

from posterity import script

if __name__ == "__main__":
    script.begin()

import argparse
from collections.abc import Iterable

from posterity.config.stage_arguments import Parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output",
        default="data/sample",
        metavar="FOLDER",
        help="where to write (default: %(default)s); a sample "
        "that stands there is replaced, anything else is left alone and reported",
    )
    parser.add_argument("--count", type=int, default=1000, help="number of images, at least 1 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="another seed, other images (default: %(default)s)")
    parser.add_argument("--workers", type=int, help="threads that draw (default: one per core); same result")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    # After --help has had its chance to end here: pandas alone takes most of a second to import.
    from tqdm import tqdm

    from posterity.synthetic import dataset

    def progress(done: Iterable[int]) -> Iterable[int]:
        return tqdm(done, total=args.count, desc="drawing", unit=" images")

    dataset.write_sample(args.output, count=args.count, seed=args.seed, workers=args.workers, progress=progress)
    labels = len(dataset.NAMES)
    print(f"{args.output}: {args.count} synthetic posters in images/, their {labels} labels in labels.csv")


if __name__ == "__main__":
    script.run(main)

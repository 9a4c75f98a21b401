"""How often the intervals of skill and map_macro hold the truth, on simulated data: the table of docs/comparing.md.

Scores are normal, with mean `separation` where the label is present and 0 elsewhere, and a part that all labels of a
row share. The truth of map_macro is the mean of the labels' average precisions on endless data, over the labels that
are scored in the data set at hand. "Same size" is the mean of map_macro over all simulated data sets of the case.

    python benchmarks/coverage.py --repeats 400
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from sklearn.metrics import average_precision_score

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from posterity.evaluation import metrics
from posterity.evaluation.bootstrap import bootstrap_intervals

POSTERS = np.array([
    3619, 2900, 1343, 1200, 1100, 900, 800, 700, 600, 500, 450, 400, 350, 300, 250, 200, 150, 120, 100, 80, 50, 46, 21,
    10, 2,
]) / 7254  # fmt: skip
# Name, rows, frequencies of the labels, rows that are copies of each other.
CASES = [
    ("200 rows, 40 labels of 1 %", 200, np.full(40, 0.01), 1),
    ("200 rows, 40 labels of 0.5 to 5 %", 200, np.geomspace(0.005, 0.05, 40), 1),
    ("the same, each row twice", 400, np.geomspace(0.005, 0.05, 40), 2),
    ("725 rows, 25 labels like the posters'", 725, POSTERS, 1),
    ("150 rows, 3 labels of 20 to 40 %", 150, np.array([0.2, 0.3, 0.4]), 1),
    ("20 different rows, 25 labels of 30 %", 200, np.full(25, 0.3), 10),
    ("10 different rows, 25 labels of 30 %", 200, np.full(25, 0.3), 20),
    ("5 different rows, 25 labels of 30 %", 200, np.full(25, 0.3), 40),
]
SEPARATIONS = (0.0, 0.8, 2.0)

FloatArray = npt.NDArray[np.float64]


def average_precision(frequency: float, separation: float) -> float:
    """Average precision on endless data."""
    cut = np.linspace(-9, 9 + separation, 20001)
    found, false = frequency * norm.sf(cut - separation), (1 - frequency) * norm.sf(cut)
    return float(np.trapezoid(found / np.maximum(found + false, 1e-300) * norm.pdf(cut - separation), cut))


def draw(
    rng: np.random.Generator, num_rows: int, frequencies: FloatArray, separation: float, copies: int
) -> tuple[npt.NDArray[np.uint8], FloatArray, npt.NDArray[np.int64]]:
    """Labels, probabilities that are calibrated, and groups of copies."""
    shape = (num_rows // copies, len(frequencies))
    y_true = rng.random(shape) < frequencies
    raw = np.sqrt(0.8) * rng.normal(size=shape) + np.sqrt(0.2) * rng.normal(size=(shape[0], 1)) + separation * y_true
    log_odds = np.log(frequencies / (1 - frequencies)) + separation * raw - separation**2 / 2
    # Scores without information are still all different: they have an average precision.
    y_score = 1 / (1 + np.exp(-log_odds - (1e-6 * raw if separation == 0 else 0)))
    groups = np.repeat(np.arange(shape[0]), copies)
    return y_true[groups].astype(np.uint8), y_score[groups], groups


def endless_skill(frequencies: FloatArray, separation: float) -> float:
    """Skill on endless data, beside the true frequencies."""
    rng = np.random.default_rng(0)
    y_true, y_score, _ = draw(rng, 400_000 // len(frequencies) * 10, frequencies, separation, 1)
    prior = metrics.prior_scores(frequencies, len(y_true))
    loss = metrics.binary_cross_entropy(y_true, y_score)
    return 1 - loss / metrics.binary_cross_entropy(y_true, prior)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200, help="data sets a case (default: %(default)s)")
    parser.add_argument("--resamples", type=int, default=300, help="resamples a data set (default: %(default)s)")
    args = parser.parse_args()
    print("| data | separation | map_macro | truth | width | truth covered | same size covered | skill covered |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, num_rows, frequencies, copies in CASES:
        for separation in SEPARATIONS:
            rng = np.random.default_rng(1)
            of_label = np.array([average_precision(frequency, separation) for frequency in frequencies])
            skill = endless_skill(frequencies, separation)
            lines = []
            for repeat in range(args.repeats):
                y_true, y_score, groups = draw(rng, num_rows, frequencies, separation, copies)
                scored = y_true.any(axis=0) & ~y_true.all(axis=0)
                precisions = [
                    average_precision_score(y_true[:, label], y_score[:, label]) for label in np.flatnonzero(scored)
                ]
                figure = float(np.mean(precisions))
                ends = bootstrap_intervals(
                    y_true, y_score, frequencies, num_samples=args.resamples, seed=repeat, groups=groups
                )
                low, high = ends["map_macro_low"], ends["map_macro_high"]
                assert low <= figure <= high
                covers_skill = ends["skill_low"] <= skill <= ends["skill_high"]
                lines.append((figure, of_label[scored].mean(), low, high, covers_skill))
            estimate, truth, low, high, covers_skill = np.array(lines, dtype=float).T
            covers, same_size = (low <= truth) & (truth <= high), (low <= estimate.mean()) & (estimate.mean() <= high)
            shown = f"{estimate.mean():.3f} | {truth.mean():.3f} | {(high - low).mean():.3f}"
            shares = " | ".join(f"{100 * part.mean():.1f} %" for part in (covers, same_size))
            of_skill = f"{100 * covers_skill.mean():.1f} %" if separation else "-"
            print(f"| {name} | {separation} | {shown} | {shares} | {of_skill} |", flush=True)


if __name__ == "__main__":
    main()

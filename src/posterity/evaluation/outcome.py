"""What the person at the terminal learns of an evaluation: the main figures, a warning, and what to do next."""

import os
import sys


def print_outcome(
    figures: dict[str, float], metrics_file: str | os.PathLike[str], *, exactly_one: bool = False
) -> None:
    """Print the main figures and where to look next; warn on stderr about a model that has learned nothing.

    Parameters
    ----------
    figures : dict
        What `metrics.evaluate`, `cross_fitting.tuned_scores` and `bootstrap.bootstrap_intervals` return, together.
    metrics_file : path
        The file that holds all of them.
    exactly_one : bool
        Whether every image got exactly one label: then ``subset_accuracy_tuned`` is what is called accuracy.
    """
    print(f"\nValidation, {figures['rows_scored']:,} rows, beside always answering the label frequencies:")
    print(f"  binary cross-entropy {figures['bce']:.4f}   frequencies {figures['bce_prior']:.4f}")
    interval = ""  # where hardly a label of a few rows is known, no resample may have one
    if "skill_low" in figures:
        interval = f"   95 % interval {figures['skill_low']:.4f} to {figures['skill_high']:.4f}"
    print(f"  skill                {figures['skill']:.4f}{interval}")
    if "map_macro" in figures:
        print(f"  macro mAP            {figures['map_macro']:.4f}   frequencies {figures['map_macro_prior']:.4f}")
    if "f1_macro_tuned" in figures:
        tuned, prior = figures["f1_macro_tuned"], figures["f1_macro_tuned_prior"]
        how = "the likeliest label of each image" if exactly_one else "at the tuned thresholds"
        print(f"  macro F1             {tuned:.4f}   frequencies {prior:.4f}   ({how})")
    if exactly_one:
        accuracy, prior = figures["subset_accuracy_tuned"], figures["subset_accuracy_tuned_prior"]
        print(f"  accuracy             {accuracy:.4f}   frequencies {prior:.4f}   (the likeliest label of each image)")
    elif "recall_per_image_tuned" in figures:
        recall, number = figures["recall_per_image_tuned"], figures["labels_per_image_tuned"]
        print(f"  recall per image     {recall:.4f}   with {number:.2f} labels per image   (at the tuned thresholds)")
    if figures.get("skill_low", 1.0) <= 0:
        print(
            f"WARNING: skill is {figures['skill']:.4f}, and its 95 % interval includes or lies below 0: this model has "
            "learned nothing beyond the label frequencies.",
            file=sys.stderr,
        )
    print(
        f"Next: all figures are in {metrics_file}; `dvc repro` goes on to draw a page of them, report/index.html. "
        "Label new images with `posterity predict FILE_OR_FOLDER`.\nAfter a change to params.yaml, `dvc repro` runs "
        "the stages it affects; `dvc metrics diff` and `dvc plots diff` compare with the last commit."
    )

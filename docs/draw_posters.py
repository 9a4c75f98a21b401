"""Draw docs/posters.png, the picture of the README, from the histories of two runs on the posters in docs/posters/.

python docs/draw_posters.py        (needs matplotlib)
"""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

FOLDER = Path(__file__).parent
COLOURS = {"tutorial_cnn": "#c2571a", "compact_cnn": "#1f6f8b"}


def main() -> None:
    figure, axes = plt.subplots(figsize=(8, 3.8), dpi=150, layout="constrained")
    for name, colour in COLOURS.items():
        history = pd.read_csv(FOLDER / "posters" / f"{name}_history.csv")
        axes.plot(history["epoch"], history["val_loss"], "-o", color=colour, markersize=4, label=f"{name}, validation")
        axes.plot(history["epoch"], history["loss"], ":", color=colour, label=f"{name}, training (with dropout)")
    prior = history["val_loss_prior"].iloc[0]
    axes.axhline(prior, color="black", linestyle="--", linewidth=1)
    text = f"always answering the\nlabel frequencies: {prior:.4f}"
    axes.annotate(text, (10.3, prior), xytext=(0, 4), textcoords="offset points", va="bottom", fontsize=9)
    axes.set_xlim(0.5, 12.9)
    axes.set_ylim(top=0.275)  # the tutorial's first epoch starts at 0.37
    axes.set(xlabel="epoch", ylabel="binary cross-entropy", title="Movie genres from posters: what 0.24 is worth")
    axes.set_xticks(history["epoch"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower left")
    figure.savefig(FOLDER / "posters.png", metadata={"Software": None})


if __name__ == "__main__":
    main()

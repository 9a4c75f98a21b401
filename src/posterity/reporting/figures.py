"""What the figures of a run mean, in the words of everything that shows them."""

# Figure of metrics/evaluate.json, folds.json and test.json -> what it says.
MEANINGS = {
    "skill": "share of the baseline's loss that is saved; 1 = perfect",
    "bce": "binary cross-entropy (lower is better)",
    "map_macro": "average precision, mean over the labels",
    "roc_auc_macro": "area under the ROC curve, mean over the labels",
    "f1_macro_tuned": "F1 at the chosen thresholds, mean over the labels",
    "f1_micro_tuned": "F1 at the chosen thresholds, over all cells",
    "hit_at_1": "share of images whose likeliest label is right",
    "ece": "how far scores are from observed frequencies (lower is better)",
    "ece_calibrated": "the same of the calibrated probabilities",
    "subset_accuracy_tuned": "share of images of which every label is decided right",
}
KNOWN_PRIORS = {"skill": 0.0, "roc_auc_macro": 0.5}  # no file has them: they follow from the definition
FEW_ROWS = 10  # positive rows of a label below which its figures hang on single images

"""What the history of a training, metrics/plots/history.csv, says of the weights that were kept."""

import pandas as pd

from posterity import choices

LOSSES = ("loss", "bce", "val_bce", "val_bce_prior")


def kept_epochs(history: pd.DataFrame, keep_epoch: choices.KeptEpoch) -> pd.DataFrame:
    """The rows of a history for the epochs whose weights are in the model: one for each network.

    Parameters
    ----------
    history : DataFrame
        ``network`` and ``phase``, the ``epoch`` of that network, from 1 through all phases, and losses.
    keep_epoch : {"last", "best"}
        The last epoch, or that of the last phase with the lowest ``val_bce``.

    Examples
    --------
    >>> history = pd.DataFrame(
    ...     {
    ...         "network": [1, 1, 1],
    ...         "phase": ["head", "finetune", "finetune"],
    ...         "epoch": [1, 2, 3],
    ...         "val_bce": [0.1, 0.2, 0.3],
    ...     }
    ... )
    >>> kept_epochs(history, "best")["epoch"].tolist(), kept_epochs(history, "last")["epoch"].tolist()
    ([2], [3])
    """
    kept: list[pd.DataFrame] = []
    for _, epochs in history.groupby("network"):
        last_phase = epochs[epochs["phase"] == epochs["phase"].iloc[-1]]
        best = last_phase["val_bce"].astype(float).idxmin()
        kept.append(last_phase.loc[[best if keep_epoch == "best" else last_phase.index[-1]]])
    return pd.concat(kept)


def kept_figures(history: pd.DataFrame, keep_epoch: choices.KeptEpoch) -> dict[str, float]:
    """Means over the networks of the kept epoch and of its losses; the parameters are those of `kept_epochs`."""
    kept = kept_epochs(history, keep_epoch)
    epoch = float(kept["epoch"].astype(int).mean())
    losses = {name: float(kept[name].astype(float).mean()) for name in LOSSES if name in kept}
    return {"kept_epoch": int(epoch) if epoch.is_integer() else epoch} | losses

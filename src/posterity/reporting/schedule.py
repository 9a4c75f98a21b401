"""The learning rate of every epoch of a training that has run."""

from typing import Any

import pandas as pd

from posterity.config.schema import FinetuneParams, TrainParams


def learning_rates(
    history: pd.DataFrame, train: TrainParams, finetune: FinetuneParams, *, num_rows: int
) -> list[float]:
    """The learning rate in the middle of every epoch, as the optimizer's schedule has it.

    Parameters
    ----------
    history : DataFrame
        ``network``, ``phase``, ``epoch`` (numbered through all phases).
    train, finetune : TrainParams, FinetuneParams
        Sections ``train`` and ``model.finetune`` of params.yaml.
    num_rows : int
        Training rows of one network.

    Returns
    -------
    list of float
        One for each line of ``history``.
    """
    from posterity.nn.training import optimizers  # Keras

    steps = max(1, -(-num_rows // train.batch_size))

    def schedule(rate: float, epochs: int) -> Any:
        return optimizers.learning_rates(
            rate,
            schedule=train.schedule,
            warmup_epochs=train.warmup_epochs,
            epochs=epochs,
            steps_per_epoch=steps,
        )

    whole = schedule(train.learning_rate, train.epochs)
    # The backbone is trained by a schedule of its own; a phase of small images is part of the one schedule.
    last = schedule(finetune.learning_rate, finetune.epochs) if (history["phase"] == "finetune").any() else whole
    starts = history[history["phase"] == "finetune"].groupby("network")["epoch"].min()
    found = []
    for line in history.to_dict("records"):
        is_finetune = line["phase"] == "finetune"
        epoch = line["epoch"] - (starts[line["network"]] - 1 if is_finetune else 0)
        found.append(float((last if is_finetune else whole)(int((epoch - 0.5) * steps))))
    return found

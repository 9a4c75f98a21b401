"""Values of params.yaml that are right one by one and not together."""

from posterity.config.schema import Params


def found(params: Params) -> list[str]:
    """One line for each conflict, without the name of the file."""
    found = []
    if params.model.name == "tutorial_cnn":
        # Its four 5 x 5 convolutions do not pad, and leave nothing of a smaller image.
        for key, side in (("height", params.image.height), ("width", params.image.width)):
            if side < 76:
                found.append(f"image.{key} must be at least 76 for model.name: tutorial_cnn. Got {side}.")
    if params.train.half_size_epochs:
        if params.model.name != "compact_cnn":
            found.append(
                f"train.half_size_epochs must be 0 for model.name: {params.model.name}. "
                f"Got {params.train.half_size_epochs}. Change one of them."
            )
        if params.train.half_size_epochs >= params.train.epochs:
            found.append(
                f"train.half_size_epochs must be less than train.epochs, {params.train.epochs}. "
                f"Got {params.train.half_size_epochs}. Change one of them."
            )
    finetunes = params.model.name == "backbone" and params.model.mode == "finetune"
    for key, epochs in [("train", params.train.epochs), ("model.finetune", params.model.finetune.epochs)]:
        if params.train.warmup_epochs >= epochs and (key == "train" or finetunes):
            found.append(
                f"train.warmup_epochs must be less than {key}.epochs, {epochs}. "
                f"Got {params.train.warmup_epochs:g}. Change one of them."
            )
    if params.train.mixup and params.gpu.strategy == "mirrored":
        # It pairs rows of a whole batch, and each device has a part of it.
        found.append(
            f"train.mixup must be 0 for gpu.strategy: mirrored. Got {params.train.mixup:g}. Change one of them."
        )
    if params.gpu.cache_images and params.gpu.strategy == "mirrored":
        # A copy on each device: nobody has tried it.
        found.append("gpu.cache_images must be false for gpu.strategy: mirrored. Got true. Change one of them.")
    if params.train.optimizer == "adam" and params.train.weight_decay:
        found.append(
            f"train.weight_decay needs train.optimizer: adamw or muon. Got {params.train.weight_decay:g} with adam. "
            "Change one of them."
        )
    if params.gpu.xla and params.gpu.deterministic:
        # Keras would warn and train without XLA.
        found.append("gpu.xla: true needs gpu.deterministic: false. Got true for both. Change one of them.")
    return found

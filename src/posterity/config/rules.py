"""Values of params.yaml that are right one by one and not together."""

from posterity import choices
from posterity.config.schema import Params


def found(params: Params) -> list[str]:
    """One line for each conflict, without the name of the file."""
    found = []
    if params.data.rows == "label":
        if params.data.list_column is None:
            found.append("data.list_column must name the column with the label for data.rows: label. Got null.")
        if params.data.label_columns:
            found.append("data.label_columns must be null or [] for data.rows: label. Got names. Change one of them.")
    elif params.data.presence_column is not None:
        found.append(
            f"data.presence_column needs data.rows: label. Got {params.data.presence_column!r} with data.rows: image. "
            "Change one of them."
        )
    if params.split.validation_fraction + params.split.test_fraction >= 1:
        found.append(
            "split.test_fraction must leave something to train on beside split.validation_fraction, "
            f"{params.split.validation_fraction:g}. Got {params.split.test_fraction:g}. Lower one of them."
        )
    data, split = params.data, params.split
    roles = {"data.id_column": data.id_column, "data.list_column": data.list_column}
    roles |= {f"data.label_columns[{number}]": name for number, name in enumerate(data.label_columns or ())}
    for key, column in (("split.group_column", split.group_column), ("split.side_column", split.side_column)):
        if column is not None:
            same = [role for role, name in roles.items() if name == column]
            found += [f"{key} must name another column than {role}. Got {column!r} for both." for role in same]
            roles[key] = column
    smallest = choices.SMALLEST_SIDE.get(params.model.name, 1)
    for key, side in (("height", params.image.height), ("width", params.image.width)):
        if side < smallest:
            found.append(f"image.{key} must be at least {smallest} for model.name: {params.model.name}. Got {side}.")
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
    if finetunes and params.model.head.both_views:
        found.append("model.head.both_views must be false for model.mode: finetune. Got true. Change one of them.")
    for key, epochs in [("train", params.train.epochs), ("model.finetune", params.model.finetune.epochs)]:
        if params.train.warmup_epochs >= epochs and (key == "train" or finetunes):
            found.append(
                f"train.warmup_epochs must be less than {key}.epochs, {epochs}. "
                f"Got {params.train.warmup_epochs:g}. Change one of them."
            )
    if params.decide.exactly_one and params.decide.at_least_one:
        found.append(
            "decide.at_least_one must be false for decide.exactly_one: true, which gives every image its likeliest "
            "label. Got true for both. Change one of them."
        )
    if params.decide.exactly_one and params.decide.thresholds == "recall":
        found.append(
            "decide.thresholds must be f1 or precision for decide.exactly_one: true, by which no threshold decides. "
            "Got recall, which would promise what is not kept. Change one of them."
        )
    if params.train.mixup and params.machine.device.strategy == "mirrored":
        # It pairs rows of a whole batch, and each device has a part of it.
        found.append(
            f"train.mixup must be 0 for machine.device.strategy: mirrored. Got {params.train.mixup:g}. Change one "
            "of them."
        )
    if params.machine.device.cache_images and params.machine.device.strategy == "mirrored":
        # A copy on each device: nobody has tried it.
        found.append(
            "machine.device.cache_images must be false for machine.device.strategy: mirrored. Got true. Change "
            "one of them."
        )
    device = params.machine.device
    if device.inference_engine not in ("auto", *choices.PRECISION_ENGINES[device.inference_precision]):
        possible = " or ".join(("auto", *choices.PRECISION_ENGINES[device.inference_precision]))
        found.append(
            f"machine.device.inference_engine must be {possible} for machine.device.inference_precision: "
            f"{device.inference_precision}. Got {device.inference_engine}. Change one of them."
        )
    by_openvino = device.inference_engine == "openvino" or device.inference_precision == "bfloat16"
    allowed = choices.OPENVINO_ISAS.get(device.inference_precision)
    if by_openvino and allowed and device.cpu_isa is not None and device.cpu_isa not in allowed:
        # OpenVINO heeds it: bfloat16 then fails, and 8-bit sums overflow (features 46 % off, EfficientNet-Lite0).
        found.append(
            f"machine.device.cpu_isa must be null or one of {', '.join(allowed)} for machine.device."
            f"inference_precision: {device.inference_precision} by OpenVINO. Got {device.cpu_isa}. Set it to null."
        )
    if params.train.optimizer == "adam" and params.train.weight_decay:
        found.append(
            f"train.weight_decay needs train.optimizer: adamw or muon. Got {params.train.weight_decay:g} with adam. "
            "Change one of them."
        )
    if params.machine.device.xla and params.machine.device.deterministic:
        # Keras would warn and train without XLA.
        found.append(
            "machine.device.xla: true needs machine.device.deterministic: false. Got true for both. Change one of them."
        )
    return found

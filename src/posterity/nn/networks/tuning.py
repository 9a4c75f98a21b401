"""What of a backbone is trained: its last layers or transformer blocks, whole or by low-rank additions (LoRA)."""

from collections.abc import Iterator

import keras

from posterity.errors import UserError

# The layers of KerasHub that are a block of a transformer: attention, then a small network for each token.
BLOCKS = {
    "DINOV2Layer", "DINOV3Layer", "ViTEncoderBlock", "DeiTEncoderBlock", "CLIPEncoderLayer", "SigLIPEncoderLayer",
    "SwinTransformerBlock",
}  # fmt: skip
# The projections of attention that Hu et al. 2021 add to, by their names in Keras and in DINOv3.
QUERY_AND_VALUE = {"query", "value", "q_proj", "v_proj"}


def freeze(model: keras.Model, layers: int | None = None) -> int:
    """Make all layers of ``model`` trainable, or the last ones only; batch normalisation never is.

    A batch normalisation that is not trainable also runs in inference mode: it keeps the statistics of the
    pretraining, which small batches of other images would spoil, and its scale and offset.

    Parameters
    ----------
    model : keras.Model
        A backbone; models nested in it count by their layers.
    layers : int, optional
        Train this many layers, counted from the output, of those that have weights to train and are not batch
        normalisation. Of a transformer, a block counts as a layer and nothing else counts: what lies above the lowest
        block that trains, such as the last normalisation, trains as well. None, or more than there are, trains all of
        them; of a transformer also what lies below its blocks.

    Returns
    -------
    int
        Number of layers, or of blocks, that will train.
    """
    candidates = []
    for layer in _leaves(model):
        layer.trainable = True
        for part in _parts(layer):
            if isinstance(part, keras.layers.BatchNormalization):
                part.trainable = False
            if isinstance(token := getattr(part, "mask_token", None), keras.Variable):
                token.trainable = False  # it stands for patches that are hidden in pretraining: no gradient reaches it
        if layer.trainable_weights:
            candidates.append(layer)
    counted = [layer for layer in candidates if type(layer).__name__ in BLOCKS] or candidates
    if layers is None or layers > len(counted):
        return len(counted)
    lowest = candidates.index(counted[-layers]) if layers else len(candidates)
    for layer in candidates[:lowest]:
        layer.trainable = False
    return layers


def add_lora(model: keras.Model, rank: int, layers: int | None = None, *, seed: int) -> int:
    """Freeze ``model``, and add to the attention of its blocks what alone is trained (LoRA, Hu et al. 2021).

    The kernels W of the query and of the value become W + A B, where A has ``rank`` columns and B starts at 0: at first
    the model does what it did. `settle` turns the result into a plain network.

    Parameters
    ----------
    model : keras.Model
        A transformer.
    rank : int
        >= 1.
    layers : int, optional
        Of this many blocks, counted from the output; None, or more than there are, of all.
    seed : int
        Of the random numbers that A starts from (He's).

    Returns
    -------
    int
        Number of kernels that have been added to.

    Raises
    ------
    UserError
        If the model has no such attention.
    """
    freeze(model, 0)
    blocks = [layer for layer in _leaves(model, unfreeze=False) if type(layer).__name__ in BLOCKS]
    chosen = [
        part
        for block in blocks[-layers if layers else None :]
        for part in _parts(block)
        if part.name in QUERY_AND_VALUE and hasattr(part, "enable_lora")
    ]
    if not chosen:
        raise UserError(
            f"params.yaml: model.finetune.lora_rank needs a transformer whose attention has a query and a value. Got "
            f"none in {model.name} of model.backbone. Set it to null, or take another backbone."
        )
    for number, part in enumerate(chosen):
        part.trainable = True  # or what is added would be frozen as well
        # From seeds of their own: what is drawn must not depend on what was drawn before.
        part.enable_lora(rank, a_initializer=keras.initializers.HeUniform(seed=seed + number))
        if part.bias is not None:
            part.bias.trainable = False
    return len(chosen)


def settle(model: keras.Model) -> None:
    """Turn what was trained into the weights that a file of the network holds.

    The additions of `add_lora` go into the kernels, which rounds differently. DINOv2 saves the positions that it was
    made with: they become those that were trained. (KerasHub 0.32 does that itself only if the sum of the changes is
    positive.)
    """
    for part in _parts(model):
        if getattr(part, "lora_enabled", False):
            part._kernel.assign(part.kernel)
            for name in ("lora_kernel_a", "lora_kernel_b"):
                part._untrack_variable(getattr(part, name))  # as `quantize` of Keras does
                setattr(part, name, None)
            part.lora_enabled, part.lora_rank = False, None
        if hasattr(part, "interpolated_position_embeddings"):
            trained = part.interpolated_position_embeddings
            if trained.shape == part.position_embeddings.shape:
                part.position_embeddings.assign(trained)


def _leaves(model: keras.Model, *, unfreeze: bool = True) -> Iterator[keras.layers.Layer]:
    """The layers inside ``model``, the models nested in it and its stacks of blocks, from input to output.

    With ``unfreeze``, none of these is left frozen itself: it would hide what is inside.
    """
    if unfreeze:
        model.trainable = True
    for layer in model.layers if isinstance(model, keras.Model) else model._layers:
        if isinstance(layer, keras.Model) or _is_stack(layer):
            yield from _leaves(layer, unfreeze=unfreeze)
        else:
            yield layer


def _is_stack(layer: keras.layers.Layer) -> bool:
    """Whether ``layer`` is no block itself and has blocks in it, as the encoder of a transformer."""
    names = [type(part).__name__ for part in _parts(layer)]
    return names[0] not in BLOCKS and any(name in BLOCKS for name in names)


def _parts(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """``layer`` and all layers inside it. Keras has no public way to list those of a layer; KerasHub uses this, too."""
    return list(layer._flatten_layers())

"""The networks: from scratch or on pretrained backbones, augmentation, and the summary of a model."""

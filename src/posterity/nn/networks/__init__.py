"""The networks: from scratch, pretrained backbones, and the head on top of them."""

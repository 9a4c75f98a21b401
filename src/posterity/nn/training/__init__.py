"""Training: batches, losses, optimizers, and the ways from a network to a trained model."""

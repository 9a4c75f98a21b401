"""Training: batches, losses, optimizers, training from scratch, and transfer learning."""

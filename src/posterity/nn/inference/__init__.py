"""Networks at work: features of images and predictions for files."""

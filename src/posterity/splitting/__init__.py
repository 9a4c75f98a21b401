"""Which rows train and which validate, so that no copy of an image is on both sides."""

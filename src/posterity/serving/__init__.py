"""A page and an endpoint that label images with a trained model, for `posterity serve`."""

"""The input and the outputs of an exported graph."""

INPUT = "images"  # uint8 (n, height, width, 3), RGB
OUTPUTS = ("probabilities", "decisions")  # float32 (n, num_labels), calibrated; bool (n, num_labels)
JPEG_INPUT = "jpeg"  # SavedModel alone: the content of JPEG files, strings (n,)
JPEG_SIGNATURE = "serve_jpeg"
SIGNATURE = "serving_default"

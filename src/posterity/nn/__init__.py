"""Neural networks: the only package that imports Keras and TensorFlow."""

"""A folder of images and a table of labels as a checked manifest, with a list of every problem."""

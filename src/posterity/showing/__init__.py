"""What `posterity show` prints: the data, the figures, one label, one image."""

"""The drawn sample data set, so that a fresh clone runs without a download."""

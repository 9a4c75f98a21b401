"""Annotations of other tools as a table that the pipeline reads: one reader for each format."""

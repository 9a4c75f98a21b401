"""Pixels and features on disk, and what is kept of them from one run to the next."""

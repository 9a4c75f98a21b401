"""Trying values of parameters, for `posterity search`."""

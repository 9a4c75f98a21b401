"""Whether the files of a finished run are what DVC recorded, and how its figures compare with those of another run."""

"""Where work on many items runs: in threads of this machine or on a Ray cluster."""

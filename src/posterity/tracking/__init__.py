"""Experiment trackers, to which a training also logs: MLflow and DVCLive behind one small interface."""

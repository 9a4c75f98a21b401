"""From scores to figures and decisions: metrics, intervals, calibration, thresholds."""

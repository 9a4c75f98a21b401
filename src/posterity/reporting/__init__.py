"""What a run tells people who look rather than read: the report and the model card."""

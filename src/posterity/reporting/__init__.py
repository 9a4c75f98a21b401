"""What people look at after a run: the report, its pictures, the model card."""

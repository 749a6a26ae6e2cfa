"""Training: runs, checkpoints, resume."""

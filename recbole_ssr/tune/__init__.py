"""Search over settings, selected on validation."""

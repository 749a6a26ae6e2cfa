"""Recommendation models, one file each."""

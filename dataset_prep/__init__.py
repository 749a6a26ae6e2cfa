"""Preparation of datasets: raw files in, `.inter` and item features out."""

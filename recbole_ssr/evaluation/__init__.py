"""Evaluation on top of RecBole's metrics."""

"""Graphs of users and items, and of items alone: operators, neighbours, samples, closed forms."""

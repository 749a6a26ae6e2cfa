"""Building blocks of models and losses; nothing here knows a dataset."""

"""Item features, the dataset that aligns them, and the embedded ml-100k."""

"""What a dataset is like: record, checks, tables, picture."""

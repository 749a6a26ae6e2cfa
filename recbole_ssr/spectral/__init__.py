"""Spectral bands on the user-item graph: filters, masking, fusion, alignment."""

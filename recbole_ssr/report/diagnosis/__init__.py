"""What a trained SSR does with its bands: record, claims, tables, pictures."""

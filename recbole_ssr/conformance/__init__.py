"""What of RecBole a run honours, tried item by item: `python -m recbole_ssr.conformance`."""

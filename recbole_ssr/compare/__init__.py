"""Side-by-side comparison: runs in processes of their own, and what they found together."""

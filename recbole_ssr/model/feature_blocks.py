"""Item features as part of a cache key, without holding them."""

from __future__ import annotations

from recbole_ssr.cache import InBlocks


def in_blocks(features, modality: str) -> InBlocks:
    """Return the matrix of a modality, which a key has read some rows at a time."""
    shape = len(features.has_feature(modality)), features.dim(modality)
    return InBlocks("float32", shape, (rows.numpy() for rows in features.blocks(modality)))

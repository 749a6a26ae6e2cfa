"""Spectral contrastive alignment of modalities (SSR, stage 4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


def cross_modal_infonce(
    a: Tensor, b: Tensor, counts: Tensor, temperature: float, block: int = 2048
) -> Tensor:
    r"""InfoNCE between two modalities, band by band, both directions averaged.

    The vector of node n and band m in modality a has the same node and band in b as its positive;
    its denominator runs over every vector of both modalities, itself included, as the released
    code does. Nodes that occur several times in a batch are given once with their `counts`:
    each then weighs, as anchor and in the denominators, as if it were repeated.

    Memory is linear in the number of vectors: similarities are computed `block` anchors at a time
    and again in the backward.

    Shapes: a, b (B, M, d); counts (B,); result ().
    """
    bands = a.shape[1]
    a, b = (F.normalize(v.reshape(-1, v.shape[-1]), dim=1) for v in (a, b))
    weight = counts.to(a).repeat_interleave(bands)
    log_weight = weight.log().repeat(2)
    positive = (a * b).sum(1) / temperature
    keys = torch.cat([a, b])
    total = positive.new_zeros(())
    for anchors, weights in zip(keys.split(block), weight.repeat(2).split(block)):
        total = total + checkpoint(
            _weighted_log_denominator, anchors, keys, weights, log_weight, temperature,
            use_reentrant=False,
        )
    return total / (2 * weight.sum()) - (weight * positive).sum() / weight.sum()


def sample_rows(counts: Tensor, most: int, generator: torch.Generator) -> Tensor | None:
    """Draw `most` distinct row numbers, or None where that is all rows (or `most` is 0).

    Shapes: counts (B,), read for its length and device; result (most,).
    """
    if not 0 < most < len(counts):
        return None
    return torch.randperm(len(counts), generator=generator)[:most].to(counts.device)


def _weighted_log_denominator(anchors, keys, weights, log_weight, temperature):
    similarity = torch.addmm(log_weight, anchors, keys.T, alpha=1 / temperature)
    return (weights * torch.logsumexp(similarity, dim=1)).sum()

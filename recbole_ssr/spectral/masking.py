"""Spectral band masking: whole bands dropped at random in training (SSR, stage 2)."""

from __future__ import annotations

import torch
from torch import Tensor


def band_mask(bands: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Draw inverted-dropout factors per node and band, shared by all modalities.

    A band survives with probability 1 - rate and is then scaled by 1 / (1 - rate). A node that
    lost every band keeps the first.

    Shapes: bands (M, B, D); result (B, M), on the device and in the dtype of `bands`.
    Raises ValueError unless 0 <= rate < 1.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"mask_rate is {rate}; it is a probability in [0, 1)")
    shape = bands.shape[1], bands.shape[0]
    keep = torch.rand(shape, generator=generator, device=generator.device) >= rate
    keep[:, 0] |= ~keep.any(dim=1)
    return keep.to(bands) / (1 - rate)

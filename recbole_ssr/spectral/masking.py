"""Spectral band masking: whole bands dropped at random in training (SSR, stage 2)."""

from __future__ import annotations

import torch
from torch import Tensor


def band_mask(bands: Tensor, rate: float, generator: torch.Generator, scope: str = "node"
              ) -> Tensor:
    """Draw inverted-dropout factors per node and band, shared by all modalities.

    A band survives with probability 1 - rate and is then scaled by 1 / (1 - rate). A node that
    lost every band keeps the first. With `scope` "global" all nodes lose the same bands.

    Shapes: bands (M, B, D); result (B, M), or (1, M) if global, on the device and in the dtype of
    `bands`. Raises ValueError unless 0 <= rate < 1.

    >>> mask = band_mask(torch.ones(3, 500, 1), rate=0.5, generator=torch.Generator())
    >>> mask.shape, mask.unique()
    (torch.Size([500, 3]), tensor([0., 2.]))
    """
    if not 0 <= rate < 1:
        raise ValueError(f"mask_rate is {rate}; it is a probability in [0, 1)")
    shape = bands.shape[1] if scope == "node" else 1, bands.shape[0]
    keep = torch.rand(shape, generator=generator, device=generator.device) >= rate
    keep[:, 0] |= ~keep.any(dim=1)
    return keep.to(bands) / (1 - rate)


def modality_mask(slots: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Drop, with probability `rate` per node, one modality drawn at random in all its bands.

    What is left is not scaled up: the node looks as it will where the modality is missing.

    Shapes: slots (M, C, B, d); result (B, 1, C) of 0 and 1; all 1 if there is one modality only.
    Raises ValueError unless 0 <= rate <= 1.

    >>> modality_mask(torch.ones(1, 2, 1, 1), rate=1, generator=torch.Generator()).sum()
    tensor(1.)
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"modality_dropout is {rate}; it is a probability in [0, 1]")
    C, B = slots.shape[1:3]
    drop = torch.rand(B, generator=generator, device=generator.device) < rate
    which = torch.randint(C, (B,), generator=generator, device=generator.device)
    lost = drop[:, None] & (which[:, None] == torch.arange(C, device=which.device))
    return (~lost | (C == 1)).to(slots).unsqueeze(1)

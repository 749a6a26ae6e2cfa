"""Spectral band masking: whole bands dropped at random in training (SSR, stage 2)."""

from __future__ import annotations

import torch
from torch import Tensor


def band_mask(n_nodes: int, n_bands: int, rate: float, generator: torch.Generator) -> Tensor:
    """Draw inverted-dropout factors per node and band, shared by all modalities.

    A band survives with probability 1 - rate and is then scaled by 1 / (1 - rate). A node that
    lost every band keeps the first.

    Shapes: result (B, M), on the generator's device. Raises ValueError unless 0 <= rate < 1.

    >>> mask = band_mask(500, n_bands=3, rate=0.5, generator=torch.Generator())
    >>> mask.shape, mask.unique()
    (torch.Size([500, 3]), tensor([0., 2.]))
    """
    if not 0 <= rate < 1:
        raise ValueError(f"mask_rate is {rate}; it is a probability in [0, 1)")
    keep = torch.rand((n_nodes, n_bands), generator=generator, device=generator.device) >= rate
    keep[:, 0] |= ~keep.any(dim=1)
    return keep.float() / (1 - rate)


def modality_mask(
    n_nodes: int, n_modalities: int, rate: float, generator: torch.Generator
) -> Tensor:
    """Drop, with probability `rate` per node, one modality drawn at random in all its bands.

    What is left is not scaled up: the node looks as it will where the modality is missing.

    Shapes: result (B, 1, C) of 0 and 1, on the generator's device; all 1 if there is one modality
    only. Raises ValueError unless 0 <= rate <= 1.

    >>> modality_mask(1, n_modalities=2, rate=1, generator=torch.Generator()).sum()
    tensor(1.)
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"modality_dropout is {rate}; it is a probability in [0, 1]")
    drop = torch.rand(n_nodes, generator=generator, device=generator.device) < rate
    which = torch.randint(n_modalities, (n_nodes,), generator=generator, device=generator.device)
    lost = drop[:, None] & (which[:, None] == torch.arange(n_modalities, device=which.device))
    return (~lost | (n_modalities == 1)).float().unsqueeze(1)

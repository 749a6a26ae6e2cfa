"""Dropout of channels from a generator of the caller's."""

from __future__ import annotations

import torch
from torch import Tensor


def dropout(x: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """Zero every entry with probability p and divide the rest by 1 - p.

    As nn.Dropout, but drawn from `generator` on its own device, so that a run resumes exactly and
    does not depend on what else draws. Without dropout nothing is drawn.

    Shapes: x and result alike.

    >>> x = dropout(torch.ones(1000), 0.5, torch.Generator().manual_seed(0))
    >>> x.unique()
    tensor([0., 2.])
    """
    if not p:
        return x
    kept = torch.rand(x.shape, generator=generator, device=generator.device) >= p
    return x * kept.to(x.device).to(x.dtype).mul_(1 / (1 - p))

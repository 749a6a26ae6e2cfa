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
    return x * kept(x.shape, p, generator).to(x.device, x.dtype) if p else x


def kept(shape: tuple[int, ...], p: float, generator: torch.Generator) -> Tensor:
    """Return what dropout multiplies by, on the generator's device. Shapes: result as given.

    >>> kept((1000,), 0.75, torch.Generator().manual_seed(0)).unique()
    tensor([0., 4.])
    """
    drawn = torch.rand(shape, generator=generator, device=generator.device)
    return (drawn >= p).float().mul_(1 / (1 - p))

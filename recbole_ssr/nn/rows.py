"""Rows of a matrix, and how often a batch names them."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_ssr.nn.fixed_shapes import occurrences


def select(x: Tensor, rows: Tensor | None) -> Tensor:
    """Return some rows of x, or x itself.

    >>> select(torch.eye(3), torch.tensor([2]))
    tensor([[0., 0., 1.]])
    """
    return x if rows is None else x.index_select(0, rows)


def counts(positions: Tensor, distinct: Tensor) -> Tensor:
    """How often each distinct node occurs. Shapes: positions (B,); result like `distinct`.

    >>> counts(torch.tensor([0, 0, 1]), distinct=torch.tensor([7, 9]))
    tensor([2., 1.])
    """
    return occurrences(positions, len(distinct))


def places(ids: Tensor, n: int) -> Tensor:
    """Return the place of every id below n among `ids`, -1 where it has none. Shapes: result (n,).

    >>> places(torch.tensor([2, 0]), n=4)
    tensor([ 1, -1,  0, -1])
    """
    out = torch.full((n,), -1, device=ids.device)
    out[ids] = torch.arange(len(ids), device=ids.device)
    return out

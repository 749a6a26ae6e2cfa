"""Ranking losses and regularisers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def bce_ranking(positive: Tensor, negative: Tensor) -> Tensor:
    r"""Binary cross-entropy of one positive and one sampled negative per interaction.

    .. math:: \tfrac{1}{2B} \sum_b \big[-\log\sigma(s^+_b) - \log(1 - \sigma(s^-_b))\big]

    Shapes: positive, negative (B,) scores; result ().

    >>> bce_ranking(torch.zeros(4), torch.zeros(4))  # log 2
    tensor(0.6931)
    """
    return (F.softplus(-positive).mean() + F.softplus(negative).mean()) / 2


def weighted_mse(x: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """Mean squared error over rows that stand for `counts` equal rows each.

    Shapes: x, target (B, D); counts (B,); result ().

    >>> weighted_mse(torch.tensor([[1.0], [0]]), torch.zeros(2, 1), torch.tensor([3.0, 1]))
    tensor(0.7500)
    """
    return (counts * (x - target).square().mean(1)).sum() / counts.sum()


def frobenius(batch_size: int, *rows: Tensor) -> Tensor:
    r"""The regulariser of the MMRec toolkit: norms of whole batches, not squared.

    .. math:: \tfrac{1}{B} \sum_k \| E_k \|_F

    Shapes: rows: matrices of embeddings, one row an occurrence; result ().

    >>> frobenius(2, torch.tensor([[3.0, 4.0]]))
    tensor(2.5000)
    """
    return sum(torch.linalg.vector_norm(E) for E in rows) / batch_size


def half_squares(divisor: float, *rows: Tensor) -> Tensor:
    r"""Half the squared norms of embeddings: :math:`\tfrac{1}{2n} \sum_k \| E_k \|_F^2`.

    Shapes: rows: matrices of embeddings, one row an occurrence; result ().

    >>> half_squares(2, torch.tensor([[3.0, 4.0]]))
    tensor(6.2500)
    """
    return sum(E.square().sum() for E in rows) / (2 * divisor)


def one_minus_cosine(x: Tensor, target: Tensor) -> Tensor:
    """Mean of 1 - cos over rows. Shapes: x, target (B, D); result ().

    >>> one_minus_cosine(torch.tensor([[1.0, 0]]), torch.tensor([[0, 2.0]]))
    tensor(1.)
    """
    return 1 - F.cosine_similarity(x, target, dim=1).mean()

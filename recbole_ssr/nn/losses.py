"""Ranking objectives."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def bce_ranking(positive: Tensor, negative: Tensor) -> Tensor:
    r"""Binary cross-entropy of one positive and one sampled negative per interaction.

    .. math:: \tfrac{1}{2B} \sum_b \big[-\log\sigma(s^+_b) - \log(1 - \sigma(s^-_b))\big]

    Shapes: positive, negative (B,) scores; result ().
    """
    return (F.softplus(-positive).mean() + F.softplus(negative).mean()) / 2


def weighted_mse(x: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """Mean squared error over rows that stand for `counts` equal rows each.

    Shapes: x, target (B, D); counts (B,); result ().
    """
    return (counts * (x - target).square().mean(1)).sum() / counts.sum()

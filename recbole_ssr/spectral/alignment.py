"""Spectral contrastive alignment of modalities (SSR, stage 4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from recbole_ssr.distributed.sharing import own_part, summed

_LOWEST_EXPONENT = -80.0  # exp of less is no normal float32


def cross_modal_infonce(
    a: Tensor, b: Tensor, counts: Tensor, temperature: float, block: int = 2048,
    exclude_self: bool = False,
) -> Tensor:
    r"""InfoNCE between two modalities, band by band, both directions averaged.

    The vector of node n and band m in modality a has the same node and band in b as its positive;
    its denominator runs over every vector of both modalities: other nodes and other bands are
    negatives. The released code counts the vector itself among them; `exclude_self` does not.
    Nodes that occur several times in a batch are given once with their `counts`: each then weighs,
    as anchor and in the denominators, as if it were repeated.

    Memory is linear in the number of vectors: similarities exist `block` anchors at a time.
    Several processes share the anchors.

    Shapes: a, b (M, B, d); counts (B,); result ().
    """
    bands = len(a)
    a, b = (F.normalize(v.reshape(-1, v.shape[-1]), dim=1) for v in (a, b))
    weight = counts.to(a).repeat(bands)
    positive = (weight * (a * b).sum(1)).sum() / temperature
    denominators = summed(_LogDenominators.apply(
        torch.cat([a, b]), weight.repeat(2), temperature, block, exclude_self,
        own_part(2 * len(a)),
    ))
    return (denominators / 2 - positive) / weight.sum()


class _LogDenominators(Function):
    r"""sum_x w_x log sum_y w_y exp(<x, y> / tau) over unit vectors x, y (V, d), maybe y not x.

    The anchors x are those of `own`, y runs over all.

    The gradient is computed along with the value, so that the exponentials are taken once and
    nothing of size V x V survives a block. Unit vectors bound the similarities by 1 / tau, which
    serves as the shift that log-sum-exp needs; where tau is so small that all of a row could vanish
    below it, the shift is the row's maximum. With e the exponentials and Z the denominators, the
    gradient of x is :math:`\sum_y w_x w_y e_{xy} (1 / Z_x + 1 / Z_y)\, y / \tau`: one product where
    all denominators and one shift are known, else two.
    """

    @staticmethod
    def forward(ctx, x, weight, temperature, block, exclude_self, own):
        by_row = -2 / temperature < _LOWEST_EXPONENT
        shift = 0.0 if by_row else 1 / temperature
        offset = (weight.log() - shift).expand(min(block, len(x)), -1)
        total, gradient = x.new_zeros(()), None
        for start in range(own.start, own.stop, block):
            rows = slice(start, min(start + block, own.stop))
            anchors, w = x[rows], weight[rows]
            E = torch.addmm(offset[: len(anchors)], anchors, x.T, alpha=1 / temperature)
            if exclude_self:
                E.diagonal(start).fill_(-torch.inf)
            if by_row:
                shift = E.amax(1)
                F.threshold_(E.sub_(shift[:, None]), _LOWEST_EXPONENT, -torch.inf)
            Z = E.exp_().sum(1)
            total += (w * (Z.log() + shift)).sum()
            if len(anchors) == len(x) and not by_row:
                # E holds w_y e_xy already; both factors at once: w_x (1 / Z_x + 1 / Z_y).
                inverse = Z.reciprocal()
                gradient = (E.mul_(inverse[:, None] + inverse) @ x).mul_((w / temperature)[:, None])
            else:
                gradient = torch.zeros_like(x) if gradient is None else gradient
                share = (w / Z)[:, None] / temperature
                gradient[rows].addcmul_(share, E @ x)
                gradient.addmm_(E.T, share * anchors)
        ctx.save_for_backward(torch.zeros_like(x) if gradient is None else gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None, None, None, None, None


def sample_rows(counts: Tensor, most: int, generator: torch.Generator) -> Tensor | None:
    """Draw `most` distinct row numbers, or None where that is all rows (or `most` is 0).

    Shapes: counts (B,), read for its length and device; result (most,).
    """
    if not 0 < most < len(counts):
        return None
    return torch.randperm(len(counts), generator=generator)[:most].to(counts.device)

"""Weighted sums over the bands of every node."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def band_sums(bands: Tensor, weights: Tensor) -> Tensor:
    r"""Return :math:`\sum_m w_{bm} B_{mb}` for several sets of weights.

    Shapes: bands (M, B, D); weights (W, B, M); result (W, B, D).

    >>> band_sums(torch.ones(2, 1, 3), torch.tensor([[[0.5, 2.0]]]))
    tensor([[[2.5000, 2.5000, 2.5000]]])
    """
    return batched_sums(bands, weights) if bands.is_cuda else _BandSums.apply(bands, weights)


def batched_sums(bands: Tensor, weights: Tensor) -> Tensor:
    """:func:`band_sums` as one batched product: on a GPU the number of kernels is what costs."""
    return torch.einsum("mbd,wbm->wbd", bands, weights)


class _BandSums(Function):
    """Elementwise passes over contiguous (B, D) blocks; on a CPU a batched product of such thin
    matrices costs several times as much."""

    @staticmethod
    def forward(ctx, bands, weights):
        ctx.save_for_backward(bands, weights)
        out = bands.new_empty(len(weights), *bands.shape[1:])
        for total, w in zip(out, weights):
            torch.mul(bands[0], w[:, :1], out=total)
            for m in range(1, len(bands)):
                total.addcmul_(bands[m], w[:, m : m + 1])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        bands, weights = ctx.saved_tensors
        grad_bands, grad_weights = torch.empty_like(bands), torch.empty_like(weights)
        for m, (band, out) in enumerate(zip(bands, grad_bands)):
            torch.mul(grad[0], weights[0, :, m : m + 1], out=out)
            for g, w in zip(grad[1:], weights[1:]):
                out.addcmul_(g, w[:, m : m + 1])
            for g, out_w in zip(grad, grad_weights):
                out_w[:, m] = torch.linalg.vecdot(g, band)
        return grad_bands, grad_weights

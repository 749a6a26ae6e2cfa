r"""Low-rank fusion of bands and modalities, and the gate over them (SSR, stage 3).

A node has M x C slots: its band m of modality c, each of d channels. One side of the graph is

.. math::
    F_{mck} &= B_{mck} + \sum_{\rho=1}^{r} a_{m\rho}\, u_{c\rho}\, p_{k\rho}
               \sum_{n,c'} b_{n\rho}\, e_{c'\rho}\, B_{nc'k} \\
    g_{mc} &= \gamma_m + \nu\, w_{mc} + \tanh \mathrm{MLP}([\hat q; z])_{mc}, \qquad
        q = \sum_{m,c} B_{mc} \\
    agg &= \sum_{m,c} g_{mc}\, F_{mc}

a CP operator of rank r over band x modality x channel with a residual, and a gate that sees the
direction of the unfiltered signal q and facts z about the node (its degree, its modalities). The
gains :math:`\gamma` of the bands at the start are settings. The factor :math:`\nu` lets Adam, whose
steps have one size for all parameters, move the gate's common part that many times faster than
embeddings: an epoch of a small dataset has few steps. Without hidden channels the MLP is left out:
the same gains at every node.

The operator's columns are not normalised and the gate is not rescaled by the norm of the ungated
sum: either would cancel the decomposition, as it does in the authors' release (operator.py). F is
never built, because :math:`\sum_{mc} g_{mc} F_{mc} = \sum_{mc} g_{mc} B_{mc} + \sum_\rho
(g^\top A)_\rho\, p_\rho \odot Z_\rho` with :math:`A_{mc,\rho} = a_{m\rho} u_{c\rho}` and
:math:`Z_\rho = \sum_{nc} b_{n\rho} e_{c\rho} B_{nc}`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from recbole_ssr.constants import Constants
from recbole_ssr.spectral.band_sums import band_sums

_CP_STD = 0.5  # of the four small factors: the operator starts as the identity plus about 0.1
_GATE_STD = 0.01  # the gate starts as its gains at every node, to about 1 %


class SpectralFusion(nn.Module):
    """CP operator and gate for one side of the graph.

    Shapes: B nodes, M bands, C modalities, d channels, r rank, Z facts; slots (M, C, B, d); facts
    (B, Z); keep (B, M, C) or None; result (B, d).
    """

    def __init__(self, n_bands: int, n_modalities: int, width: int, rank: int, hidden: int,
                 n_facts: int, gains: Sequence[float] = (1.0,), speed: float = 1.0):
        super().__init__()
        self.speed = speed
        self.constants = Constants(gains=band_gains(gains, n_bands))
        M, C = n_bands, n_modalities
        self.a, self.b = (nn.Parameter(_CP_STD * torch.randn(M, rank)) for _ in range(2))
        self.u, self.e = (nn.Parameter(_CP_STD * torch.randn(C, rank)) for _ in range(2))
        self.p = nn.Parameter(torch.ones(rank, width))
        self.w = nn.Parameter(torch.zeros(M, C))
        self.mlp = None
        if hidden:
            self.mlp = nn.Sequential(
                nn.Linear(width + n_facts, hidden), nn.ReLU(), nn.Linear(hidden, M * C)
            )
            nn.init.normal_(self.mlp[2].weight, std=_GATE_STD)
            nn.init.zeros_(self.mlp[2].bias)

    def forward(self, slots: Tensor, facts: Tensor, keep: Tensor | None = None) -> Tensor:
        """Fuse the slots of some nodes; a slot whose `keep` is 0 takes part in nothing."""
        M, C, B, d = slots.shape
        X = slots.reshape(M * C, B, d)
        if keep is not None:
            X = X * keep.reshape(B, M * C).T.unsqueeze(2)
        A, beta = self.factors()
        X, sums = _SlotSums.apply(X, torch.cat([beta.new_ones(M * C, 1), beta], dim=1))
        q, Z = sums[0], sums[1:]
        g = self.gate(q, facts)
        residual = band_sums(X, g[None])[0]
        if not len(Z):  # rank 0: no interaction
            return residual
        return residual + band_sums(Z * self.p[:, None], (g @ A)[None])[0]

    def coefficients(self, slots: Tensor, facts: Tensor, keep: Tensor | None = None) -> Tensor:
        """Return what every channel of every slot is multiplied with, the gate held fixed.

        The sum over slots of coefficients x slots is what :meth:`forward` returns.
        Shapes: result (M, C, B, d).
        """
        M, C, B, d = slots.shape
        kept = slots.new_ones(B, M, C) if keep is None else keep.expand(B, M, C)
        kept = kept.reshape(B, M * C)
        q = torch.einsum("sbd,bs->bd", slots.reshape(M * C, B, d), kept)
        g = self.gate(q, facts)
        A, beta = self.factors()
        mixed = torch.einsum("br,sr,rd->sbd", g @ A, beta, self.p)
        return ((g.T[:, :, None] + mixed) * kept.T[:, :, None]).view(M, C, B, d)

    def coefficients_of_all(self) -> Tensor:
        """Return the coefficients of a fusion without hidden channels, the same at every node.

        Shapes: result (M, C, d).
        """
        A, beta = self.factors()
        common = self.common_gate()
        mixed = (beta * (common @ A)) @ self.p  # (M * C, d)
        return (common.unsqueeze(1) + mixed).view(*self.w.shape, -1)

    def common_gate(self) -> Tensor:
        """Return the part of g that all nodes share. Shapes: result (M * C,), band-major."""
        return (self.constants["gains"][:, None] + self.speed * self.w).flatten()

    def gate(self, q: Tensor, facts: Tensor) -> Tensor:
        """Return g of every node. Shapes: q (B, d), result (B, M * C), band-major."""
        common = self.common_gate()
        if self.mlp is None:
            return common.expand(len(q), -1)
        direction = nn.functional.normalize(q, dim=1)
        return common + torch.tanh(self.mlp(torch.cat([direction, facts], dim=1)))

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return A and beta, the CP factors of a slot as output and as input (M * C, r)."""
        return ((self.a[:, None] * self.u).flatten(0, 1), (self.b[:, None] * self.e).flatten(0, 1))

    def mixing(self) -> Tensor:
        """Return how much of every slot reaches every other, the channels' gains averaged.

        Shapes: result (M, C, M, C), output slot first.
        """
        A, beta = self.factors()
        M, C = self.w.shape
        kernel = torch.eye(M * C, device=A.device) + (A * self.p.mean(1)) @ beta.T
        return kernel.view(M, C, M, C)


def band_gains(gains: Sequence[float], n_bands: int) -> Tensor:
    """Interpolate gains given from the lowest to the highest band to any number of bands.

    Shapes: result (M,).

    >>> band_gains([1, 2], n_bands=3)
    tensor([1.0000, 1.5000, 2.0000])
    """
    at = np.linspace(0, 1, n_bands) if n_bands > 1 else [0.5]
    return torch.tensor(np.interp(at, np.linspace(0, 1, len(gains)), gains)).float()


class _SlotSums(Function):
    """X and W'X: sums over slots with the same weights at every node.

    X is returned so that the gradient of what is computed from it later comes here, where adding
    the other one to it takes a pass over memory less than autograd's own sum would.

    Shapes: X (S, B, d); W (S, R); result (S, B, d), (R, B, d).
    """

    @staticmethod
    def forward(ctx, X, W):
        ctx.save_for_backward(X, W)
        return X.view_as(X), (W.T @ X.reshape(len(X), -1)).view(-1, *X.shape[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_X, grad_sums):
        X, W = ctx.saved_tensors
        flat = grad_sums.reshape(len(grad_sums), -1)
        total = torch.addmm(grad_X.reshape(len(X), -1), W, flat)
        return total.view_as(X), X.reshape(len(X), -1) @ flat.T

r"""Band operator and gate of SSR's released code (stage 3), as weighted sums over bands.

Per side (users, items) with context q and bands B_m, all of width D = C d:

.. math::
    \kappa_{mn} = \tfrac{1}{\sqrt r} \sum_\rho Wq_{m\rho} Wk_{n\rho},\quad
    K = \mathrm{softmax}_m(\kappa),\quad
    v = \sum_\rho \mathrm{softmax}(\rho)_\rho \exp(0.1 \tanh g_\rho)

    F_m = s(q) \odot v \odot \sum_n K_{mn} B_n,\quad
    w_m = 1 + \gamma \tanh a_m(q, \bar F),\quad
    agg = \eta \sum_m w_m F_m,\quad
    \eta = \frac{\|\sum_m F_m\| + \epsilon}{\|\sum_m w_m F_m\| + \epsilon}

Neither F (B, M, D) nor anything of size rank x B x M x D is built, because
:math:`\sum_m w_m F_m = s v \odot \sum_n (wK)_n B_n` and, the columns of K summing to 1,
:math:`\sum_m F_m = s v \odot \sum_n B_n`. The second identity says that at :math:`\gamma = 0` the
result does not depend on the decomposition at all.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

_EPSILON = 1e-6  # guards the scale of nodes whose bands cancel
_GAIN_RANGE = 0.1  # log of the largest channel gain exp(0.1 tanh g)
_REDUCTION = 4  # hidden width of both small networks is D / 4
_GATE_INIT_STD = 1e-3


class Context(NamedTuple):
    """What the operator reads of a node besides its bands: gain s(q) * v (B, D) and q (B, D)."""

    gain: Tensor
    q: Tensor


class BandOperator(nn.Module):
    """Low-rank band kernel, channel gains and node-dependent gate for one side of the graph.

    Shapes: B nodes, M bands, D width; bands (B, M, D), q (B, D), result (B, D).
    """

    def __init__(self, n_bands: int, width: int, rank: int, gate_scale: float):
        super().__init__()
        hidden = max(width // _REDUCTION, 1)
        self.Wq = nn.Parameter(torch.empty(n_bands, rank))
        self.Wk = nn.Parameter(torch.empty(n_bands, rank))
        nn.init.xavier_normal_(self.Wq)
        nn.init.xavier_normal_(self.Wk)
        self.g = nn.Parameter(torch.randn(rank, width))
        self.rho = nn.Parameter(torch.zeros(rank))
        self.s = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width), nn.Sigmoid()
        )
        self.a = nn.Sequential(
            nn.Linear(2 * width, hidden), nn.ReLU(), nn.Linear(hidden, n_bands)
        )
        nn.init.normal_(self.a[2].weight, std=_GATE_INIT_STD)
        nn.init.zeros_(self.a[2].bias)
        self.gamma = nn.Parameter(torch.tensor(float(gate_scale)))

    def kappa(self) -> Tensor:
        """Return the raw kernel (M, M)."""
        return self.Wq @ self.Wk.T / self.Wq.shape[1] ** 0.5

    def regulariser(self) -> Tensor:
        """Return mean(kappa^2) + mean(g^2)."""
        return self.kappa().square().mean() + self.g.square().mean()

    def context(self, q: Tensor) -> Context:
        """Compute once per node what the clean and the masked branch share."""
        v = self.rho.softmax(0) @ torch.exp(_GAIN_RANGE * torch.tanh(self.g))
        return Context(self.s(q) * v, q)

    def forward(self, bands: Tensor, context: Context) -> Tensor:
        gain, q = context
        plain = gain * bands.sum(1)
        a = self.a(torch.cat([q, plain / bands.shape[1]], dim=1))
        w = 1 + self.gamma * torch.tanh(a)
        K = self.kappa().softmax(dim=0)
        mixed = gain * torch.einsum("bm,bmd->bd", w @ K, bands)
        eta = (_norm(plain) + _EPSILON) / (_norm(mixed) + _EPSILON)
        return eta * mixed


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=1, keepdim=True)

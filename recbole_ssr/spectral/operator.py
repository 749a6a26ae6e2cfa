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

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_ssr.spectral.band_sums import band_sums

_EPSILON = 1e-6  # guards the scale of nodes whose bands cancel
_GAIN_RANGE = 0.1  # log of the largest channel gain exp(0.1 tanh g)
_REDUCTION = 4  # hidden width of both small networks is D / 4
_GATE_INIT_STD = 1e-3


class BandOperator(nn.Module):
    """Low-rank band kernel, channel gains and node-dependent gate for one side of the graph.

    Shapes: B nodes, M bands, D width, W branches; bands (M, B, D); q (B, D); masks (W, B, M);
    result (W, B, D).
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

    def forward(self, bands: Tensor, q: Tensor, masks: Tensor) -> Tensor:
        """Fuse the bands once per branch, each with its own factors on the bands."""
        M, D = bands.shape[0], bands.shape[2]
        v = self.rho.softmax(0) @ torch.exp(_GAIN_RANGE * torch.tanh(self.g))
        gain = self.s(q) * v
        plain = gain * band_sums(bands, masks)
        # The first layer of a reads [q; mean_m F_m]; its q half is the same for every branch.
        first, last = self.a[0], self.a[2]
        hidden = F.linear(q, first.weight[:, :D], first.bias) + F.linear(
            plain, first.weight[:, D:] / M
        )
        w = 1 + self.gamma * torch.tanh(last(hidden.relu()))
        K = self.kappa().softmax(dim=0)
        mixed = gain * band_sums(bands, masks * (w @ K))
        return (_norm(plain) + _EPSILON) / (_norm(mixed) + _EPSILON) * mixed


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True)

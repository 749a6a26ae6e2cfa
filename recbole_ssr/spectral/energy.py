r"""How the energy of a signal is spread over the spectrum, from products with the graph alone.

With x = lambda - 1 in [-1, 1], :math:`\theta = \arccos x` and the spectral measure p of a signal Q
(mass 1), the Chebyshev moments are :math:`\mu_k = \int T_k\,dp = \langle Q, T_k(S) Q\rangle/|Q|^2`.
Damped by Jackson's factors g they give a cumulative energy that never falls:

.. math::
    F(x) = 1 - \frac{\theta}{\pi} - \frac{2}{\pi} \sum_{k=1}^{K} g_k \mu_k \frac{\sin k\theta}{k}

Everything after the moments happens in float64 on the CPU: it is small, and the same everywhere.

Shapes: U users, I items, D width, K highest moment, E cells of the grid, M bands.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_ssr.nodes import Nodes
from recbole_ssr.spectral.chebyshev import chebyshev_terms

CELLS = 2048  # of the theta grid
# A +-1 sketch to this many columns moves the distribution by at most .0015.
SKETCH_COLUMNS = 8
_SKETCH_SEED = 0  # the same signs at every fit, so that a resumed run fits the same bank
# Borders with |x| below the first would cut the degenerate eigenspace of lambda = 1, which
# Jackson's damping smears to about that width; they move to the emptiest x of the second range.
_ATOM = 0.1
_GAP = (0.15, 0.25)


class EnergyDistribution(NamedTuple):
    """Cumulative energy on a grid of x that is uniform in theta; x and energy ascend.

    Shapes: theta, cumulative (E + 1,), float64; theta falls from pi to 0, cumulative rises from 0
    to 1.
    """

    theta: Tensor
    cumulative: Tensor

    @property
    def cells(self) -> Tensor:
        """Energy of every cell (E,), at least 0."""
        return self.cumulative.diff().clamp(min=0)


def sketch(signal: Nodes, columns: int = SKETCH_COLUMNS) -> Nodes:
    """Mix the columns at random signs into fewer; of the energies only the expectation is kept.

    Shapes: signal (U, D), (I, D); result (U, C), (I, C) with C = min(D, columns).
    """
    width = signal[0].shape[1]
    if width <= columns:
        return signal
    signs = random_signs(width, columns, _SKETCH_SEED).to(signal[0])
    return tuple(part @ signs for part in signal)


def random_signs(rows: int, columns: int, seed: int) -> Tensor:
    """Return +1 and -1 at random, from a generator of its own. Shapes: result (rows, columns).

    >>> random_signs(100, 8, seed=0).unique()
    tensor([-1.,  1.])
    """
    generator = torch.Generator().manual_seed(seed)
    return 2.0 * torch.randint(2, (rows, columns), generator=generator) - 1.0


def moments(graph, signal: Nodes, products: int) -> Tensor:
    r"""Return mu_0 .. mu_2K of a signal from K products, because
    :math:`T_a T_b = (T_{a+b} + T_{|a-b|}) / 2`.

    Shapes: signal (U, D), (I, D); result (2 K + 1,), float64 on the CPU. Raises ValueError for a
    signal without energy.
    """
    inner, before, sign_before = [], None, 1
    q = tuple(part.clone(memory_format=torch.contiguous_format) for part in signal)
    for sign, t in chebyshev_terms(graph, q, products):
        if before is not None:
            inner.append(sign * sign_before * _dot(before, t))
        inner.append(_dot(t, t))
        before, sign_before = t, sign
    inner = torch.stack(inner).cpu()
    check_energy(inner[0])
    mu = 2 * inner / inner[0]
    mu[0::2] -= 1
    mu[1::2] -= inner[1:2] / inner[0]
    return mu


def check_energy(total: Tensor) -> None:
    """Raise ValueError unless the energy of a signal is positive and finite."""
    if not 0 < total < math.inf:
        raise ValueError(
            f"the signal to fit a filter bank to has energy {total.item():g}; give one with finite "
            "entries that are not all zero"
        )


def jackson(order: int) -> Tensor:
    """Return Jackson's damping factors g_0 .. g_K, g_0 = 1. Shapes: result (K + 1,), float64.

    >>> jackson(2)
    tensor([1.0000, 0.7071, 0.2500], dtype=torch.float64)
    """
    k, step = torch.arange(order + 1, dtype=torch.float64), math.pi / (order + 2)
    return ((order + 2 - k) * torch.cos(k * step) + torch.sin(k * step) / math.tan(step)) / (
        order + 2
    )


def energy_distribution(mu: Tensor, cells: int = CELLS) -> EnergyDistribution:
    """Return the cumulative energy F on a grid. Shapes: mu (K + 1,)."""
    theta = torch.linspace(math.pi, 0, cells + 1, dtype=torch.float64)
    k = torch.arange(1, len(mu), dtype=torch.float64)
    waves = torch.sin(theta[:, None] * k) @ (jackson(len(mu) - 1)[1:] * mu[1:] / k)
    F = 1 - theta / math.pi - 2 / math.pi * waves
    return EnergyDistribution(theta, F.cummax(0).values)  # rounding may let F fall by 1e-16


def equal_energy_borders(distribution: EnergyDistribution, n_bands: int) -> Tensor:
    """Return theta where the cumulative energy is m / M, m = 1 .. M - 1, clear of the atom.

    The eigenspace of lambda = 1 (x = 0) cannot be split. A border that falls into it moves to the
    side of it on which the cumulative energy is nearer to m / M.

    Shapes: result (M - 1,), descending, that is ascending in x.
    """
    theta, F = distribution
    targets = torch.arange(1, n_bands, dtype=torch.float64) / n_bands
    right = torch.searchsorted(F, targets).clamp(1, len(F) - 1)
    share = (targets - F[right - 1]) / (F[right] - F[right - 1])
    borders = torch.lerp(theta[right - 1], theta[right], share)
    sides = torch.tensor([_emptiest(distribution, sign) for sign in (-1, 1)])
    nearer = sides[(F[sides] - targets[:, None]).abs().argmin(1)]
    borders = torch.where(borders.cos().abs() < _ATOM, theta[nearer], borders)
    # A border that moved may have passed one that did not have to.
    return borders.sort(descending=True).values


def _emptiest(distribution: EnergyDistribution, sign: int) -> int:
    """Return the grid point of least energy around it, in the gap on one side of the atom."""
    x, low_high = sign * distribution.theta.cos(), _GAP
    cells = distribution.cells
    around = torch.full_like(x, math.inf)
    around[1:-1] = cells[1:] + cells[:-1]
    outside = (x < low_high[0]) | (x > low_high[1])
    return around.masked_fill(outside, math.inf).argmin().item()


def _dot(a: Nodes, b: Nodes) -> Tensor:
    return sum((x * y).sum(dtype=torch.float64) for x, y in zip(a, b))
